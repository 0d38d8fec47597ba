package jobs

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/unnoise/unnoise/lab"
)

// How long things take at most.
const (
	ackWait    = 5 * time.Second  // until a worker or a queue's owner of whom nothing is heard is taken for dead
	askWait    = 10 * time.Second // for an answer of the server
	keptEnds   = 24 * time.Hour
	mostEnds   = 10_000
	mostParts  = 4096
	mostResult = 4 << 30 // bytes of all results together
)

// streams are the connection and what was set up in it.
type streams struct {
	nc      *nats.Conn
	js      jetstream.JetStream
	jobs    jetstream.Stream
	parts   jetstream.Stream
	ends    jetstream.Stream
	results jetstream.Stream
}

// Limits of messages: a job's request, and a part of a result, which other servers than that of a studio take too.
const (
	mostBytes  = 8 << 20
	chunkBytes = 512 << 10
)

// openStreams sets the streams up, or finds them. most is how many jobs wait or are drawn; 0: as it was set up before.
func openStreams(nc *nats.Conn, most int) (*streams, error) {
	js, err := jetstream.New(nc, jetstream.WithDefaultTimeout(askWait))
	if err != nil {
		return nil, err
	}
	ctx, stop := context.WithTimeout(context.Background(), 3*askWait)
	defer stop()
	s := &streams{nc: nc, js: js}
	for _, c := range []struct {
		to   *jetstream.Stream
		most int
		jetstream.StreamConfig
	}{
		{&s.jobs, most, jetstream.StreamConfig{Name: "UNNOISE_JOBS", Subjects: []string{"unnoise.jobs.>"},
			Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew, MaxMsgs: int64(most)}},
		{&s.parts, mostParts, jetstream.StreamConfig{Name: "UNNOISE_PARTS", Subjects: []string{"unnoise.parts.>"},
			Retention: jetstream.WorkQueuePolicy, Discard: jetstream.DiscardNew, MaxMsgs: mostParts, MaxAge: keptEnds}},
		{&s.ends, mostEnds, jetstream.StreamConfig{Name: "UNNOISE_ENDS",
			Subjects: []string{"unnoise.ends.>", "unnoise.partends.>"}, MaxMsgs: mostEnds, MaxAge: keptEnds}},
		{&s.results, mostResult, jetstream.StreamConfig{Name: "UNNOISE_RESULTS", Subjects: []string{"unnoise.results.>"},
			Discard: jetstream.DiscardNew, MaxBytes: mostResult, MaxAge: keptEnds}},
	} {
		c.AllowDirect = true
		if c.most == 0 { // a worker's: whose queue it is says how long it may be
			if *c.to, err = js.Stream(ctx, c.Name); errors.Is(err, jetstream.ErrStreamNotFound) {
				return nil, fmt.Errorf("there is no queue at %s yet: start a studio with it first", nc.ConnectedUrl())
			}
		} else {
			*c.to, err = js.CreateOrUpdateStream(ctx, c.StreamConfig)
		}
		if err != nil {
			return nil, fmt.Errorf("the stream %s: %w", c.Name, err)
		}
	}
	return s, nil
}

// lane is the part of a subject that says what a worker must have: a model, and one that enlarges.
func lane(model, upscaler string) string {
	sum := sha256.Sum256([]byte(model + "\x00" + upscaler))
	return hex.EncodeToString(sum[:8])
}

func laneOf(r lab.Request) string {
	if r.Upscale != nil {
		return lane(r.Model, r.Upscale.Model)
	}
	return lane(r.Model, "")
}

// The subjects.
func (j Job) subject() string {
	if j.Parent != "" {
		return "unnoise.parts." + laneOf(j.Request) + "." + j.Owner + "." + j.ID
	}
	return "unnoise.jobs." + laneOf(j.Request) + "." + j.Owner + "." + j.ID
}

func (j Job) endSubject() string {
	if j.Parent != "" {
		return "unnoise.partends." + j.Owner + "." + j.ID
	}
	return "unnoise.ends." + j.Owner + "." + j.ID
}

// events is where what happens to a job is told, a part's as its job's.
func (j Job) events() string { return "unnoise.events." + j.Owner + "." + j.root() }

// cancels is where a job that is drawn is cancelled, or a part of one.
func (j Job) cancels() string { return "unnoise.cancel." + j.Owner + "." + j.ID }

func (j Job) root() string {
	if j.Parent != "" {
		return j.Parent
	}
	return j.ID
}

// part is a part of a job: the n-th share of some work.
func (j Job) part(work, n int) Job {
	return Job{ID: fmt.Sprintf("%s_%d_%d", j.ID, work, n), Owner: j.Owner, Parent: j.ID, Request: j.Request}
}

const (
	wakeSubject    = "unnoise.wake"
	workersSubject = "unnoise.workers"
)

// ended returns a job's end, if it has one.
func (s *streams) ended(ctx context.Context, j Job) (End, bool, error) {
	var e End
	m, err := s.ends.GetLastMsgForSubject(ctx, j.endSubject())
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return e, false, nil
	}
	if err != nil {
		return e, false, err
	}
	err = json.Unmarshal(m.Data, &e)
	return e, err == nil, err
}

// end writes a job's end, unless it has one: first reports whether it had none.
func (s *streams) end(ctx context.Context, j Job, e End) (first bool, err error) {
	data, err := json.Marshal(e)
	if err != nil {
		return false, err
	}
	_, err = s.js.Publish(ctx, j.endSubject(), data, jetstream.WithExpectLastSequencePerSubject(0))
	var api *jetstream.APIError
	if errors.As(err, &api) && (api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence ||
		api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant) {
		return false, nil
	}
	return err == nil, err
}

// Stored is where a result lies, in pieces. Each time that a job is drawn its result has a place of its own, so that
// the one which an end names is whole and stays as it is.
type Stored struct {
	Place  string `json:"place"`
	Pieces int    `json:"pieces"`
}

// place is the subject that all of a job's results, or one of them, are under: its parts' too.
func (j Job) place(of ...string) string {
	at := []string{"unnoise.results", j.Owner, j.root()}
	if j.Parent != "" {
		at = append(at, j.ID)
	}
	return strings.Join(append(at, of...), ".")
}

// store writes a result.
func (s *streams) store(ctx context.Context, j Job, data []byte) (Stored, error) {
	at := Stored{Place: nuid.Next()}
	for piece := range slices.Chunk(data, min(chunkBytes, int(s.nc.MaxPayload())/2)) {
		if _, err := s.js.Publish(ctx, j.place(at.Place, strconv.Itoa(at.Pieces)), piece); err != nil {
			return at, fmt.Errorf("the result can't be stored: %w", err)
		}
		at.Pieces++
	}
	return at, nil
}

// load reads a result. It fails with ErrGone where there is none any more.
func (s *streams) load(ctx context.Context, j Job, at Stored) (data []byte, err error) {
	if at.Pieces == 0 {
		return nil, ErrGone
	}
	for n := range at.Pieces {
		m, err := s.results.GetLastMsgForSubject(ctx, j.place(at.Place, strconv.Itoa(n)))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil, ErrGone
		}
		if err != nil {
			return nil, err
		}
		data = append(data, m.Data...)
	}
	return data, nil
}

// drop deletes a result at some place, or all of a job's.
func (s *streams) drop(ctx context.Context, j Job, place ...string) error {
	return s.results.Purge(ctx, jetstream.WithPurgeSubject(j.place(append(place, ">")...)))
}

// recall takes a part out of its stream, and stops who is at it.
func (s *streams) recall(ctx context.Context, p Job) error {
	if err := s.parts.Purge(ctx, jetstream.WithPurgeSubject(p.subject())); err != nil {
		return err
	}
	return s.nc.Publish(p.cancels(), nil)
}

// put puts a job into its stream.
func (s *streams) put(ctx context.Context, j Job) (seq uint64, err error) {
	data, err := json.Marshal(j)
	if err != nil {
		return 0, err
	}
	if int64(len(data)) > s.nc.MaxPayload() {
		return 0, fmt.Errorf("the request has %d bytes, and the queue takes messages of %d at most", len(data),
			s.nc.MaxPayload())
	}
	ack, err := s.js.Publish(ctx, j.subject(), data, jetstream.WithMsgID(j.ID),
		jetstream.WithExpectLastSequencePerSubject(0))
	var api *jetstream.APIError
	switch {
	case errors.As(err, &api) && api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence:
		return 0, nil // it is there already
	case errors.As(err, &api) && api.Description == "maximum messages exceeded":
		return 0, ErrFull
	case err != nil:
		return 0, err
	}
	return ack.Sequence, s.nc.Publish(wakeSubject, nil)
}
