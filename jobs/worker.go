package jobs

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nuid"

	"github.com/unnoise/unnoise/lab"
)

// Worker takes jobs out of the queue, one at a time, and draws them.
type Worker struct {
	s    *streams
	work Work
	able func() []Able
	log  *slog.Logger

	wake      chan struct{}
	consumers map[string]jetstream.Consumer
	current   string // the lane of the last job: its model is in memory
	row       int    // jobs of it in a row

	mu  sync.Mutex
	own Presence
}

// Presence is what a worker says of itself.
type Presence struct {
	ID      string   `json:"id"`
	Host    string   `json:"host"`
	Models  []string `json:"models" doc:"that it draws with"`
	Lanes   []string `json:"lanes" doc:"of the queue that it takes jobs from"`
	Model   string   `json:"model,omitempty" doc:"that it draws with now, or has in memory"`
	Job     string   `json:"job,omitempty" doc:"that it draws now"`
	Loading string   `json:"loading,omitempty" doc:"the part of the model that it loads"`
	Done    int      `json:"done,omitempty" doc:"bytes of it that are read"`
	Total   int      `json:"total,omitempty"`
	Drawn   int      `json:"drawn" doc:"jobs since it was started"`
	Gone    bool     `json:"gone,omitempty"`

	seen time.Time
}

const (
	presence = 2 * time.Second // between two messages of a worker
	poll     = time.Second / 2 // between two looks at lanes, besides those when something was put in
	inARow   = 8               // jobs of one model before another one's turn
	retries  = 25              // times that a job is begun; it may be what its workers die of
)

// NewWorker makes a worker that draws by work with the models that able lists at the time.
func NewWorker(nc *nats.Conn, able func() []Able, work Work, log *slog.Logger) (*Worker, error) {
	s, err := openStreams(nc, 0)
	if err != nil {
		return nil, err
	}
	host, err := os.Hostname()
	if err != nil {
		return nil, err
	}
	w := &Worker{s: s, work: work, able: able, log: log, wake: make(chan struct{}, 1),
		consumers: map[string]jetstream.Consumer{}, own: Presence{ID: nuid.Next(), Host: host}}
	return w, nil
}

// Hire connects a worker to the server at an address.
func Hire(url string, able []Able, work Work, log *slog.Logger) (*Worker, error) {
	nc, err := Connect(url)
	if err != nil {
		return nil, err
	}
	w, err := NewWorker(nc, func() []Able { return able }, work, log)
	if err != nil {
		nc.Close()
	}
	return w, err
}

// Close closes the worker's connection.
func (w *Worker) Close() { w.s.nc.Close() }

// lanes are those that the worker can serve, the current one first unless it is another's turn.
func (w *Worker) lanes() (lanes []string) {
	all := w.able()
	var models []string
	for _, m := range all {
		if m.Upscales {
			continue
		}
		models, lanes = append(models, m.Model), append(lanes, lane(m.Model, ""))
		for _, u := range all {
			if u.Upscales {
				lanes = append(lanes, lane(m.Model, u.Model))
			}
		}
	}
	w.mu.Lock()
	w.own.Models, w.own.Lanes = models, slices.Clone(lanes)
	w.mu.Unlock()
	if i := slices.Index(lanes, w.current); i >= 0 {
		if w.row >= inARow {
			i++ // the others first, and this one last
		}
		lanes = slices.Concat(lanes[i:], lanes[:i])
	}
	return lanes
}

// Run takes jobs until ctx ends. A job that is drawn then goes back into the queue.
func (w *Worker) Run(ctx context.Context) error {
	sub, err := w.s.nc.Subscribe(wakeSubject, func(*nats.Msg) {
		select {
		case w.wake <- struct{}{}:
		default:
		}
	})
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	told := make(chan struct{})
	go func() { defer close(told); w.tellPresence(ctx) }()
	defer func() { <-told }()
	for ctx.Err() == nil {
		took, err := w.next(ctx)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			w.log.Warn("the queue does not answer", "error", err)
			pause(ctx, poll)
		case !took:
			select {
			case <-w.wake:
			case <-time.After(poll):
			case <-ctx.Done():
			}
		}
	}
	return nil
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// next takes one job and draws it. took reports whether there was one. What was begun by others is finished first.
func (w *Worker) next(ctx context.Context) (took bool, err error) {
	lanes := w.lanes()
	for _, stream := range []struct {
		jetstream.Stream
		name string
	}{{w.s.parts, "parts"}, {w.s.jobs, "jobs"}} {
		for _, lane := range lanes {
			m, err := w.fetch(ctx, stream.Stream, stream.name, lane)
			if err != nil {
				return false, err
			}
			if m != nil {
				return w.take(ctx, lane, m), nil
			}
		}
	}
	return false, nil
}

// fetch takes a message from a lane, if there is one.
func (w *Worker) fetch(ctx context.Context, s jetstream.Stream, name, lane string) (jetstream.Msg, error) {
	key := name + "-" + lane
	c := w.consumers[key]
	if c == nil {
		var err error
		ask, stop := context.WithTimeout(ctx, askWait)
		defer stop()
		c, err = s.CreateOrUpdateConsumer(ask, jetstream.ConsumerConfig{Durable: key,
			FilterSubject: "unnoise." + name + "." + lane + ".>", AckPolicy: jetstream.AckExplicitPolicy,
			AckWait: ackWait, MaxDeliver: -1, MaxAckPending: -1})
		if err != nil {
			return nil, err
		}
		w.consumers[key] = c
	}
	batch, err := c.FetchNoWait(1)
	if err != nil {
		delete(w.consumers, key)
		return nil, err
	}
	m := <-batch.Messages()
	if err := batch.Error(); err != nil && m == nil {
		delete(w.consumers, key) // it may be gone
		return nil, err
	}
	return m, nil
}

// take draws a job. It reports whether something was done, so that there may be more.
func (w *Worker) take(ctx context.Context, lane string, m jetstream.Msg) bool {
	var j Job
	if err := json.Unmarshal(m.Data(), &j); err != nil {
		w.log.Warn("a job can't be read", "subject", m.Subject(), "error", err)
		_ = m.Term()
		return true
	}
	if lane == w.current {
		w.row++
	} else {
		w.current, w.row = lane, 1
	}
	w.say(func(p *Presence) { p.Job, p.Model = j.root(), j.Request.Model })
	defer w.say(func(p *Presence) { p.Job, p.Loading, p.Drawn = "", "", p.Drawn+1 })
	work, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	defer context.AfterFunc(ctx, func() { cancel(errStops) })()
	var err error
	for _, one := range []Job{j, {ID: j.root(), Owner: j.Owner}} {
		var sub *nats.Subscription
		if sub, err = w.s.nc.Subscribe(one.cancels(), func(*nats.Msg) { cancel(ErrCancelled) }); err != nil {
			break
		}
		defer func() { _ = sub.Unsubscribe() }()
	}
	if err == nil {
		err = w.s.nc.Flush() // a cancellation from now on is heard, one of before is seen
	}
	beat := make(chan struct{})
	defer close(beat)
	go func() {
		for {
			select {
			case <-beat:
				return
			case <-time.After(ackWait / 4):
				_ = m.InProgress()
			}
		}
	}()
	if err == nil {
		err = w.draw(work, j, m)
	}
	if err != nil { // nobody is to blame but this worker
		if !errors.Is(err, errStops) {
			w.log.Warn("a job goes back into the queue", "job", j.ID, "error", err)
		}
		_ = m.NakWithDelay(cmp.Or(nakDelay(err), time.Second))
		return true
	}
	ack, stop := context.WithTimeout(context.Background(), askWait)
	defer stop()
	if err := m.DoubleAck(ack); err != nil {
		w.log.Warn("a job may be taken again, to no effect", "job", j.ID, "error", err)
	}
	return true
}

// nakDelay lets another worker have a job at once that this one only stops with.
func nakDelay(err error) time.Duration {
	if errors.Is(err, errStops) {
		return time.Millisecond
	}
	return 0
}

// draw draws a job and writes its end.
func (w *Worker) draw(ctx context.Context, j Job, m jetstream.Msg) error {
	ask, stop := context.WithTimeout(context.Background(), 3*askWait)
	defer stop()
	for _, one := range []Job{j, {ID: j.root(), Owner: j.Owner}} {
		if _, ok, err := w.s.ended(ask, one); err != nil || ok {
			return err // nil: there is nothing to do any more
		}
	}
	if meta, err := m.Metadata(); err == nil && meta.NumDelivered > retries {
		_, err := w.s.end(ask, j, End{ID: j.ID, Draft: j.Draft, Request: j.Request,
			Fault: &Fault{Message: fmt.Sprintf("it was begun %d times, and no worker came to its end", retries)}})
		return err
	}
	result, e, err := w.result(ctx, j)
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, ErrCancelled):
		return nil // who cancelled it knows
	case errors.Is(cause, errStops):
		return errStops
	case errors.Is(err, ErrGone):
		return nil // the job that this is a part of has ended
	case err != nil:
		e.Fault = FaultOf(err)
	}
	write, stopWriting := context.WithTimeout(context.Background(), time.Minute)
	defer stopWriting()
	if err == nil {
		data, err := json.Marshal(result)
		if err != nil {
			return err
		}
		if e.Result, err = w.s.store(write, j, data); err != nil {
			return errors.Join(err, w.s.drop(write, j, e.Result.Place))
		}
	}
	first, err := w.s.end(write, j, e)
	if err == nil && !first && e.Result.Pieces > 0 { // another worker was quicker
		err = w.s.drop(write, j, e.Result.Place)
	}
	return err
}

// result draws a job, or does its part of one.
func (w *Worker) result(ctx context.Context, j Job) (result any, e End, err error) {
	e = End{ID: j.ID, Draft: j.Draft, Request: j.Request}
	if j.Parent != "" {
		shared, err := w.help(ctx, j)
		return shared, End{ID: j.ID}, err
	}
	w.tell(j, event{Begun: true})
	var spread lab.Spread
	if j.Shared {
		spread = w.spread(j)
	}
	d, err := safely(func() (Drawn, error) {
		return w.work.Draw(ctx, j.Request, spread, func(u Update) {
			w.tell(j, event{Update: u})
			w.say(func(p *Presence) { p.Loading, p.Done, p.Total = u.Part, 0, 0 })
			if u.Part != "" {
				w.say(func(p *Presence) { p.Done, p.Total = u.Done, u.Total })
			}
		})
	})
	if err == nil {
		e.Request, e.Seconds, e.Pictures = d.Request, d.Seconds, len(d.Pictures)
	}
	return d, e, err
}

// safely lets a job's fault not end the others.
func safely[T any](do func() (T, error)) (result T, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("internal error: %v\n%s", p, debug.Stack())
		}
	}()
	return do()
}

// tell tells what happens to a job.
func (w *Worker) tell(j Job, e event) {
	data, err := json.Marshal(e)
	if err == nil && int64(len(data)) <= w.s.nc.MaxPayload() {
		err = w.s.nc.Publish(j.events(), data)
	}
	if err != nil {
		w.log.Debug("an event is lost", "job", j.ID, "error", err)
	}
}

// say changes what the worker says of itself.
func (w *Worker) say(change func(*Presence)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(&w.own)
}

// tellPresence says every now and then what the worker is at.
func (w *Worker) tellPresence(ctx context.Context) {
	tell := func() {
		w.mu.Lock()
		data, err := json.Marshal(w.own)
		w.mu.Unlock()
		if err == nil {
			_ = w.s.nc.Publish(workersSubject, data)
		}
	}
	for {
		tell()
		select {
		case <-time.After(presence):
		case <-ctx.Done():
			w.say(func(p *Presence) { p.Gone = true })
			tell()
			return
		}
	}
}
