package studio

import (
	"context"
	"errors"
	"slices"
	"sync"
	"testing"
	"time"
)

// diary writes down what a queue reports.
type diary struct {
	mu    sync.Mutex
	ended []string
	errs  map[string]error
	place map[string]int
	end   chan string
}

func newDiary() *diary {
	return &diary{errs: map[string]error{}, place: map[string]int{}, end: make(chan string, 100)}
}

func (d *diary) Placed(id string, place int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.place[id] = place
}
func (d *diary) Updated(string, Update) {}
func (d *diary) Ended(id string, _ Drawn, err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.ended, d.errs[id] = append(d.ended, id), err
	d.end <- id
}

// held is work that waits until it is let go, or cancelled.
func held(started chan<- string, let <-chan bool) Work {
	return func(ctx context.Context, j Job, _ func(Update)) (Drawn, error) {
		started <- j.ID
		select {
		case <-let:
			return Drawn{}, nil
		case <-ctx.Done():
			return Drawn{}, errors.New("interrupted")
		}
	}
}

func TestLocalQueue(t *testing.T) {
	d, started, let := newDiary(), make(chan string, 10), make(chan bool)
	q := newLocal(2, held(started, let), d)
	put := func(id string) error { return q.Put(Job{ID: id}) }
	if err := put("a"); err != nil {
		t.Fatal(err)
	}
	<-started
	for _, id := range []string{"b", "c"} {
		if err := put(id); err != nil {
			t.Fatal(err)
		}
	}
	if err := put("d"); !errors.Is(err, ErrFull) {
		t.Errorf("a job too many: %v", err)
	}
	d.mu.Lock()
	if d.place["a"] != 0 || d.place["b"] != 1 || d.place["c"] != 2 {
		t.Errorf("the places are %v", d.place)
	}
	d.mu.Unlock()
	q.Cancel("b")
	if id := <-d.end; id != "b" || !errors.Is(d.errs["b"], errCancelled) {
		t.Errorf("%s ended, %v", id, d.errs[id])
	}
	q.Cancel("a")
	if id := <-d.end; id != "a" || !errors.Is(d.errs["a"], errCancelled) {
		t.Errorf("%s ended, %v", id, d.errs[id])
	}
	if id := <-started; id != "c" {
		t.Errorf("then %s began", id)
	}
	if err := put("e"); err != nil {
		t.Fatal(err)
	}

	// What waits is drawn before the queue is closed.
	closed := make(chan error)
	go func() { closed <- q.Close(t.Context()) }()
	let <- true
	<-started
	let <- true
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := put("f"); !errors.Is(err, ErrClosed) {
		t.Errorf("a job for a closed queue: %v", err)
	}
	if want := []string{"b", "a", "c", "e"}; !slices.Equal(d.ended, want) || d.errs["e"] != nil {
		t.Errorf("%v ended, expected %v", d.ended, want)
	}
}

func TestLocalQueueIsClosedInTime(t *testing.T) {
	d, started := newDiary(), make(chan string, 10)
	q := newLocal(2, held(started, nil), d)
	for _, id := range []string{"a", "b"} {
		if err := q.Put(Job{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	<-started
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Millisecond)
	defer cancel()
	if err := q.Close(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("it closed with %v", err)
	}
	if !errors.Is(d.errs["a"], ErrClosed) || !errors.Is(d.errs["b"], ErrClosed) {
		t.Errorf("the jobs ended with %v", d.errs)
	}
}
