package studio

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"time"

	"github.com/unnoise/unnoise/jobs"
	"github.com/unnoise/unnoise/lab"
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
	Waits    string      `json:"waits,omitempty" doc:"what it waits for besides its turn: no worker has its model"`
	Stage    lab.Stage   `json:"stage,omitempty" doc:"encode, draw, judge or upscale"`
	Done     int         `json:"done" doc:"steps of the stage that are made, bytes of a model that are loaded, or evaluations"`
	Total    int         `json:"total"`
	Loading  string      `json:"loading,omitempty" doc:"the part of the model that is being loaded"`
	Warnings []string    `json:"warnings,omitempty"`
	Error    *jobs.Fault `json:"error,omitempty"`
	Images   []string    `json:"images,omitempty" doc:"addresses of the pictures"`
	Seconds  float64     `json:"seconds,omitempty" doc:"that the drawing took"`
	Request  lab.Request `json:"request" doc:"completed: the recipe"`
}

// board holds what is known of jobs: those that wait and run, and the last ones that ended. More of these are in files.
type board struct {
	gallery *Gallery
	kept    *endings
	lacks   func(lab.Request) string // says that no worker has a request's model
	metrics *metrics
	log     *slog.Logger

	mu      sync.Mutex
	records map[string]*record
	ended   []string      // the oldest first
	stirred chan struct{} // closed, and replaced, when a job has ended
}

// record is one job's.
type record struct {
	status   Status
	frames   jobs.Film // of the last path
	sheet    *jobs.Sheet
	pictures []jobs.Picture
	changed  chan struct{} // closed, and replaced, when something changes
}

// mostEnded is how many ended jobs are listed, and held in memory.
const mostEnded = 32

func newBoard(g *Gallery, kept *endings, lacks func(lab.Request) string, m *metrics, log *slog.Logger) *board {
	b := &board{gallery: g, kept: kept, lacks: lacks, metrics: m, log: log, records: map[string]*record{},
		stirred: make(chan struct{})}
	for _, id := range kept.last(mostEnded) {
		if r := b.reread(id); r != nil {
			b.records[id], b.ended = r, append(b.ended, id)
		}
	}
	return b
}

// reread returns the record of a job that ended before, or nil.
func (b *board) reread(id string) *record {
	e, ok := b.kept.read(id)
	if !ok {
		return nil
	}
	return &record{status: e.Status, frames: e.Film, sheet: e.Sheet, pictures: e.Pictures, changed: make(chan struct{})}
}

// see calls do with what is known of a job. It reports whether there is anything.
func (b *board) see(id string, do func(*record)) bool {
	b.mu.Lock()
	r := b.records[id]
	if r != nil {
		do(r)
	}
	b.mu.Unlock()
	if r == nil {
		if r = b.reread(id); r != nil {
			do(r)
		}
	}
	return r != nil
}

// newID returns a job's name: when it was asked for, to the microsecond, and chance. Later ones sort behind.
func newID() string {
	var chance [2]byte
	rand.Read(chance[:])
	now := time.Now().UTC()
	micros := now.Nanosecond() / int(time.Microsecond)
	return fmt.Sprintf("%s-%05x%03x", now.Format("20060102-150405"), micros, binary.NativeEndian.Uint16(chance[:])>>4)
}

// Found implements [jobs.Reports]: a job is about to be put into the queue, or is there.
func (b *board) Found(j jobs.Job) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.records[j.ID] = &record{status: Status{ID: j.ID, State: Queued, Draft: j.Draft, Request: j.Request},
		changed: make(chan struct{})}
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
	if r == nil || r.status.State.Ended() {
		return
	}
	do(r)
	close(r.changed)
	r.changed = make(chan struct{})
}

// Placed implements [jobs.Reports].
func (b *board) Placed(id string, place int) {
	b.change(id, func(r *record) {
		if r.status.Place = place; place == 0 {
			r.status.State, r.status.Waits = Running, ""
		}
	})
}

// Stranded implements [jobs.Reports].
func (b *board) Stranded(id string, is bool) {
	b.change(id, func(r *record) {
		if r.status.Waits = ""; is {
			r.status.Waits = b.lacks(r.status.Request)
		}
	})
}

// Updated implements [jobs.Reports].
func (b *board) Updated(id string, u jobs.Update) {
	b.change(id, func(r *record) {
		s := &r.status
		s.Stage, s.Loading = u.Stage, u.Part
		if u.Warning != "" {
			s.Warnings = append(s.Warnings, u.Warning)
			return
		}
		s.Done, s.Total = u.Done, u.Total
		r.frames, r.sheet = r.frames.With(u.Frame), r.sheet.With(u.Sheet)
	})
}

// Ended implements [jobs.Reports]. Pictures that are no draft's come into the gallery, by the job's name: what is told
// again, also after a restart, changes nothing.
func (b *board) Ended(id string, draft bool, d jobs.Drawn, err error) error {
	if s, ok := b.Status(id); ok && s.State.Ended() {
		return nil
	}
	s := Status{ID: id, Draft: draft, Request: d.Request, Seconds: d.Seconds}
	switch {
	case errors.Is(err, jobs.ErrCancelled):
		s.State = Cancelled
	case errors.Is(err, jobs.ErrGone) && len(b.gallery.Of(id)) > 0:
		s.State, s.Images = Done, b.gallery.Of(id)
	case err != nil:
		s.State, s.Error = Failed, jobs.FaultOf(err)
	case draft:
		s.State = Done
		for i := range d.Pictures {
			s.Images = append(s.Images, fmt.Sprintf("/api/jobs/%s/images/%d", id, i+1))
		}
	default:
		s.State = Done
		var full error
		if s.Images, full = b.gallery.Add(id, d); full != nil {
			return full
		}
	}
	b.log.Info("job", "id", id, "state", s.State, "model", s.Request.Model, "images", len(s.Images), "seconds",
		s.Seconds, "error", err)
	b.metrics.ended.WithLabelValues(string(s.State)).Inc()
	if s.State == Done {
		b.metrics.seconds.Observe(s.Seconds)
	}
	r := &record{}
	b.see(id, func(now *record) { *r = *now })
	s.Warnings, s.Stage, s.Done, s.Total = r.status.Warnings, r.status.Stage, r.status.Done, r.status.Total
	r.status, r.pictures, r.sheet = s, d.Pictures, r.sheet.With(d.Sheet)
	if len(d.Film) > 0 {
		r.frames = d.Film
	}
	b.keep(r)
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := b.records[id]; now != nil { // else it was put in before the program began
		close(now.changed)
		now.status, now.pictures, now.sheet, now.frames = r.status, r.pictures, r.sheet, r.frames
		r = now
	}
	r.changed = make(chan struct{})
	b.records[id] = r
	close(b.stirred)
	b.stirred = make(chan struct{})
	b.ended = append(b.ended, id)
	for len(b.ended) > mostEnded {
		delete(b.records, b.ended[0])
		b.ended = b.ended[1:]
	}
	return nil
}

// keep writes what is known of a job that has ended.
func (b *board) keep(r *record) {
	err := b.kept.write(ending{Status: r.status, Film: r.frames, Sheet: r.sheet, Pictures: r.pictures})
	if err != nil {
		b.log.Warn("a job will be forgotten with the program's end", "id", r.status.ID, "error", err)
	}
}

// List returns all jobs that are remembered, the newest first.
func (b *board) List() []Status {
	b.mu.Lock()
	defer b.mu.Unlock()
	all := []Status{}
	for _, r := range b.records {
		all = append(all, r.status)
	}
	slices.SortFunc(all, func(x, y Status) int { return cmp.Compare(y.ID, x.ID) })
	return all
}

// Status returns a job's.
func (b *board) Status(id string) (s Status, ok bool) {
	ok = b.see(id, func(r *record) { s = r.status })
	return s, ok
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
func (b *board) Current() (s Status, frame *jobs.Frame, ok bool) {
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
func (b *board) Film(id string) (f jobs.Film, ok bool) {
	ok = b.see(id, func(r *record) { f = slices.Clone(r.frames) })
	return f, ok
}

// Sheet returns what is known of a job's candidates.
func (b *board) Sheet(id string) (sheet *jobs.Sheet, ok bool) {
	b.see(id, func(r *record) { sheet = r.sheet })
	return sheet, sheet != nil
}

// Picture returns the n-th picture of a job that is done, from 1.
func (b *board) Picture(id string, n int) (data []byte, ok bool) {
	b.see(id, func(r *record) {
		if n <= len(r.pictures) {
			data = r.pictures[n-1].Data
		}
	})
	if data == nil {
		data, _, _ = b.gallery.Read(nameOf(id, n)) // of a program before this one
	}
	return data, data != nil
}

// Keep puts a draft's pictures into the gallery.
func (b *board) Keep(id string) error {
	var r record
	if !b.see(id, func(now *record) { r = *now }) || r.status.State != Done || !r.status.Draft {
		return nil
	}
	images, err := b.gallery.Add(id, jobs.Drawn{Request: r.status.Request, Pictures: r.pictures})
	if err != nil {
		return err
	}
	r.status.Draft, r.status.Images = false, images
	b.keep(&r)
	b.mu.Lock()
	defer b.mu.Unlock()
	if now := b.records[id]; now != nil {
		now.status = r.status
	}
	return nil
}

// sight is what there is to see of a job: its status and, where they are new, the newest frame and the sheet.
type sight struct {
	Status
	frame    *jobs.Frame
	sheet    *jobs.Sheet
	pictures []jobs.Picture // once it has ended
}

// Watch calls each with what there is to see of a job, now and whenever something has changed, until the job has ended.
// Who is slow misses what was in between: nothing is kept for him.
func (b *board) Watch(ctx context.Context, id string, each func(sight) error) error {
	seen := -1
	var sheet *jobs.Sheet
	b.mu.Lock()
	r := b.records[id]
	b.mu.Unlock()
	if r == nil {
		r = b.reread(id)
	}
	for r != nil {
		b.mu.Lock()
		s, changed := sight{Status: r.status, pictures: r.pictures}, r.changed
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
	return nil
}
