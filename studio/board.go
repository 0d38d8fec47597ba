package studio

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/model"
)

// State is how far a job is.
type State string

// The states. The last three are final.
const (
	Queued    State = "queued"
	Running   State = "running"
	Done      State = "done"
	Failed    State = "failed"
	Cancelled State = "cancelled"
)

// Ended reports whether a job stays in this state.
func (s State) Ended() bool { return s == Done || s == Failed || s == Cancelled }

// Status is what there is to say of a job.
type Status struct {
	ID       string      `json:"id"`
	State    State       `json:"state" enum:"queued,running,done,failed,cancelled"`
	Draft    bool        `json:"draft" doc:"its pictures are not in the gallery"`
	Place    int         `json:"place,omitempty" doc:"in the queue: 1 is next"`
	Stage    lab.Stage   `json:"stage,omitempty" doc:"encode, draw, judge or upscale"`
	Done     int         `json:"done" doc:"steps of the stage that are made, bytes of a model that are loaded, or evaluations"`
	Total    int         `json:"total"`
	Loading  string      `json:"loading,omitempty" doc:"the part of the model that is being loaded"`
	Warnings []string    `json:"warnings,omitempty"`
	Error    *Fault      `json:"error,omitempty"`
	Images   []string    `json:"images,omitempty" doc:"addresses of the pictures"`
	Seconds  float64     `json:"seconds,omitempty" doc:"that the drawing took"`
	Request  lab.Request `json:"request" doc:"completed: the recipe"`
}

// Fault is why a job failed.
type Fault struct {
	Field   string `json:"field,omitempty" doc:"of the request that is to blame"`
	Message string `json:"message"`
}

// faultOf tells people what an error says.
func faultOf(err error) *Fault {
	var field *model.FieldError
	if errors.As(err, &field) {
		return &Fault{field.Field, field.Err.Error()}
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return &Fault{Message: text}
}

// err is the fault as an error again.
func (f *Fault) err() error {
	if f.Field != "" {
		return model.Errorf(f.Field, "%s", f.Message)
	}
	return errors.New(f.Message)
}

// board holds what is known of jobs: those that wait and run, and the last ones that ended.
type board struct {
	gallery *Gallery
	log     *slog.Logger

	mu      sync.Mutex
	records map[string]*record
	ended   []string      // the oldest first
	stirred chan struct{} // closed, and replaced, when a job has ended
}

// record is one job's.
type record struct {
	status   Status
	frames   []Frame // of the last path
	sheet    *Sheet
	pictures []Picture
	started  time.Time
	changed  chan struct{} // closed, and replaced, when something changes
}

// mostEnded is how many ended jobs are remembered.
const mostEnded = 32

func newBoard(g *Gallery, log *slog.Logger) *board {
	return &board{gallery: g, log: log, records: map[string]*record{}, stirred: make(chan struct{})}
}

// newID returns a job's name: when it was asked for, and chance.
func newID() string {
	var chance [4]byte
	rand.Read(chance[:])
	return time.Now().UTC().Format("20060102-150405") + "-" + hex.EncodeToString(chance[:])
}

// add makes a record of a job that is about to be put into the queue.
func (b *board) add(r lab.Request, draft bool) Job {
	j := Job{newID(), r}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.records[j.ID] = &record{status: Status{ID: j.ID, State: Queued, Draft: draft, Request: r},
		changed: make(chan struct{})}
	return j
}

// drop forgets a job that the queue did not take.
func (b *board) drop(id string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.records, id)
}

// change changes a record and wakes who watches it.
func (b *board) change(id string, do func(*record)) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.records[id]
	if r == nil {
		return
	}
	do(r)
	close(r.changed)
	r.changed = make(chan struct{})
}

// Placed implements [Reports].
func (b *board) Placed(id string, place int) {
	b.change(id, func(r *record) {
		if r.status.Place = place; place == 0 {
			r.status.State, r.started = Running, time.Now()
		}
	})
}

// Updated implements [Reports].
func (b *board) Updated(id string, u Update) {
	b.change(id, func(r *record) {
		s := &r.status
		s.Stage, s.Loading = u.Stage, u.Part
		if u.Warning != "" {
			s.Warnings = append(s.Warnings, u.Warning)
			return
		}
		s.Done, s.Total = u.Done, u.Total
		if u.Frame != nil {
			if n := len(r.frames); n > 0 && r.frames[n-1].Index >= u.Frame.Index {
				r.frames = nil // another path begins
			}
			r.frames = append(r.frames, *u.Frame)
		}
		if u.Sheet != nil {
			r.sheet = r.sheet.with(u.Sheet)
		}
	})
}

// Ended implements [Reports].
func (b *board) Ended(id string, d Drawn, err error) {
	var images []string
	keep := err == nil && !b.isDraft(id)
	if keep {
		images, err = b.gallery.Add(id, d)
	}
	b.change(id, func(r *record) {
		s := &r.status
		s.Place = 0
		switch {
		case errors.Is(err, errCancelled):
			s.State = Cancelled
		case err != nil:
			s.State, s.Error = Failed, faultOf(err)
		default:
			s.State, s.Request, s.Seconds, r.pictures = Done, d.Request, d.Seconds, d.Pictures
			s.Images = images
			for i := range d.Pictures {
				if !keep {
					s.Images = append(s.Images, fmt.Sprintf("/api/jobs/%s/images/%d", id, i+1))
				}
			}
		}
		b.log.Info("job", "id", id, "state", s.State, "model", s.Request.Model, "images", len(s.Images), "seconds",
			s.Seconds, "error", err)
	})
	b.mu.Lock()
	defer b.mu.Unlock()
	close(b.stirred)
	b.stirred = make(chan struct{})
	b.ended = append(b.ended, id)
	for len(b.ended) > mostEnded {
		delete(b.records, b.ended[0])
		b.ended = b.ended[1:]
	}
}

func (b *board) isDraft(id string) bool {
	s, ok := b.Status(id)
	return ok && s.Draft
}

// Status returns a job's.
func (b *board) Status(id string) (Status, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.records[id]
	if r == nil {
		return Status{}, false
	}
	return r.status, true
}

// Busy reports whether jobs wait or are at work. changed is closed when one of them has ended.
func (b *board) Busy() (busy bool, changed <-chan struct{}) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.records {
		busy = busy || !r.status.State.Ended()
	}
	return busy, b.stirred
}

// Current returns the job that is at work, if there is one.
func (b *board) Current() (s Status, frame *Frame, ok bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, r := range b.records {
		if r.status.State == Running {
			if n := len(r.frames); n > 0 {
				frame = &r.frames[n-1]
			}
			return r.status, frame, true
		}
	}
	return s, nil, false
}

// Film returns the moments of a job's drawing that are kept.
func (b *board) Film(id string) ([]Frame, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	r := b.records[id]
	if r == nil {
		return nil, false
	}
	return slices.Clone(r.frames), true
}

// Sheet returns what is known of a job's candidates.
func (b *board) Sheet(id string) (*Sheet, bool) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.records[id]; r != nil && r.sheet != nil {
		return r.sheet, true
	}
	return nil, false
}

// Pictures returns those of a job that is done.
func (b *board) Pictures(id string) []Picture {
	b.mu.Lock()
	defer b.mu.Unlock()
	if r := b.records[id]; r != nil {
		return r.pictures
	}
	return nil
}

// Keep puts a draft's pictures into the gallery.
func (b *board) Keep(id string) (Status, error) {
	s, ok := b.Status(id)
	if !ok || s.State != Done || !s.Draft {
		return s, nil
	}
	images, err := b.gallery.Add(id, Drawn{Request: s.Request, Pictures: b.Pictures(id)})
	if err != nil {
		return s, err
	}
	b.change(id, func(r *record) { r.status.Draft, r.status.Images = false, images })
	s, _ = b.Status(id)
	return s, nil
}

// sight is what there is to see of a job: its status and, where they are new, the newest frame and the sheet.
type sight struct {
	Status
	frame *Frame
	sheet *Sheet
}

// Watch calls each with what there is to see of a job, now and whenever something has changed, until the job has ended.
// Who is slow misses what was in between: nothing is kept for him.
func (b *board) Watch(ctx context.Context, id string, each func(sight) error) error {
	seen := -1
	var sheet *Sheet
	for {
		b.mu.Lock()
		r := b.records[id]
		if r == nil {
			b.mu.Unlock()
			return nil
		}
		s, changed := sight{Status: r.status}, r.changed
		if n := len(r.frames); n > 0 && r.frames[n-1].Index != seen {
			s.frame = &r.frames[n-1]
			seen = s.frame.Index
		}
		if r.sheet != sheet {
			s.sheet, sheet = r.sheet, r.sheet
		}
		b.mu.Unlock()
		if err := each(s); err != nil {
			return err
		}
		if s.State.Ended() {
			return nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
