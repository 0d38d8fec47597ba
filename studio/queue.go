package studio

import (
	"context"
	"errors"
	"slices"
	"sync"

	"github.com/unnoise/unnoise/lab"
)

// Job is a drawing that was asked for.
type Job struct {
	ID      string
	Request lab.Request // completed
}

// Queue brings jobs to who draws them, and what is told of them back.
type Queue interface {
	// Put adds a job. It fails with ErrFull or ErrClosed.
	Put(Job) error
	// Cancel stops a job, waiting or at work. A job that has ended is not heeded.
	Cancel(id string)
	// Close takes no more jobs and waits for those that it has; when ctx ends they are cancelled.
	Close(ctx context.Context) error
}

// Why a job is not taken.
var (
	ErrFull   = errors.New("the queue is full: try again when a job has ended")
	ErrClosed = errors.New("the studio is shutting down")
)

// errCancelled is the cause of a drawing that somebody cancelled.
var errCancelled = errors.New("a cancellation")

// Work draws a job, and tells what happens meanwhile.
type Work func(ctx context.Context, j Job, tell func(Update)) (Drawn, error)

// Reports is told of a queue's jobs. Its methods are called one at a time for each job.
type Reports interface {
	Placed(id string, place int) // waiting jobs, the next one is 1; 0: it is at work
	Updated(id string, u Update)
	Ended(id string, d Drawn, err error)
}

// local is a queue in this process: one job at a time, the others wait in their order.
type local struct {
	work    Work
	reports Reports
	most    int // waiting jobs

	mu      sync.Mutex
	waiting []Job
	closed  bool
	current string
	cancel  context.CancelCauseFunc // of the current job
	more    chan struct{}           // holds one token when there may be something to do
	done    chan struct{}           // closed when the last job has ended
}

// newLocal starts a queue of at most so many waiting jobs.
func newLocal(most int, work Work, reports Reports) *local {
	q := &local{work: work, reports: reports, most: most, more: make(chan struct{}, 1), done: make(chan struct{})}
	go q.run()
	return q
}

func (q *local) wake() {
	select {
	case q.more <- struct{}{}:
	default:
	}
}

func (q *local) Put(j Job) error {
	q.mu.Lock()
	defer q.mu.Unlock()
	switch {
	case q.closed:
		return ErrClosed
	case len(q.waiting) >= q.most:
		return ErrFull
	}
	q.waiting = append(q.waiting, j)
	q.place()
	q.wake()
	return nil
}

// place tells the waiting jobs where they stand.
func (q *local) place() {
	for i, j := range q.waiting {
		q.reports.Placed(j.ID, i+1)
	}
}

func (q *local) Cancel(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.current == id {
		q.cancel(errCancelled)
		return
	}
	if i := slices.IndexFunc(q.waiting, func(j Job) bool { return j.ID == id }); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
		q.reports.Ended(id, Drawn{}, errCancelled)
		q.place()
	}
}

// next takes the first waiting job. more is false when the queue was closed and is empty.
func (q *local) next() (j Job, ctx context.Context, some, more bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.waiting) == 0 {
		return j, nil, false, !q.closed
	}
	j = q.waiting[0]
	q.waiting = slices.Delete(q.waiting, 0, 1)
	q.current = j.ID
	ctx, q.cancel = context.WithCancelCause(context.Background())
	q.reports.Placed(j.ID, 0)
	q.place()
	return j, ctx, true, true
}

func (q *local) run() {
	defer close(q.done)
	for {
		j, ctx, some, more := q.next()
		if !some {
			if !more {
				return
			}
			<-q.more
			continue
		}
		d, err := q.work(ctx, j, func(u Update) { q.reports.Updated(j.ID, u) })
		if err != nil && context.Cause(ctx) != nil {
			err = context.Cause(ctx)
		}
		q.mu.Lock()
		q.cancel(nil)
		q.current = ""
		q.mu.Unlock()
		q.reports.Ended(j.ID, d, err)
	}
}

func (q *local) Close(ctx context.Context) error {
	q.mu.Lock()
	q.closed = true
	q.wake()
	q.mu.Unlock()
	select {
	case <-q.done:
		return nil
	case <-ctx.Done():
	}
	q.mu.Lock()
	for _, j := range q.waiting {
		q.reports.Ended(j.ID, Drawn{}, ErrClosed)
	}
	q.waiting = nil
	if q.current != "" {
		q.cancel(ErrClosed)
	}
	q.mu.Unlock()
	<-q.done
	return ctx.Err()
}
