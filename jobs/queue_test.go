package jobs

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/unnoise/unnoise/lab"
)

// diary writes down what a queue reports.
type diary struct {
	mu       sync.Mutex
	found    []string
	ended    []string
	errs     map[string]error
	drawn    map[string]Drawn
	place    map[string]int
	told     map[string]int
	end      chan string
	stranded map[string]bool
	fail     int // reports of ends that fail first
}

func newDiary() *diary {
	return &diary{errs: map[string]error{}, drawn: map[string]Drawn{}, place: map[string]int{}, told: map[string]int{},
		stranded: map[string]bool{}, end: make(chan string, 100)}
}

func (d *diary) Found(j Job) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.found = append(d.found, j.ID)
}

func (d *diary) Placed(id string, place int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.place[id] = place
}

func (d *diary) Stranded(id string, is bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.stranded[id] = is
}

func (d *diary) Updated(id string, _ Update) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.told[id]++
}

func (d *diary) Ended(id string, _ bool, drawn Drawn, err error) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.fail--; d.fail >= 0 {
		return errors.New("the disk is full")
	}
	if !slices.Contains(d.ended, id) {
		d.ended, d.errs[id], d.drawn[id] = append(d.ended, id), err, drawn
		d.end <- id
	}
	return nil
}

// office is a server with a queue.
type office struct {
	t      *testing.T
	dir    string
	server *Server
	queue  *Queue
	*diary
}

func openOffice(t *testing.T, dir string, most int) *office {
	t.Helper()
	server, err := Serve(dir, "", "")
	if err != nil {
		t.Fatal(err)
	}
	o := &office{t: t, dir: dir, server: server, diary: newDiary()}
	nc, err := server.Connect()
	if err != nil {
		t.Fatal(err)
	}
	if o.queue, err = Open(nc, "owner", most, o.diary, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(o.close)
	return o
}

func (o *office) close() {
	if o.server != nil {
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		_ = o.queue.Close(ctx)
		o.queue.s.nc.Close()
		if err := o.server.Close(); err != nil {
			o.t.Error(err)
		}
		o.server = nil
	}
}

// alone is work that is not shared.
type alone func(ctx context.Context, r lab.Request, tell func(Update)) (Drawn, error)

func (do alone) Draw(ctx context.Context, r lab.Request, _ lab.Spread, tell func(Update)) (Drawn, error) {
	return do(ctx, r, tell)
}

func (alone) Share(context.Context, lab.Share) (s lab.Shared, err error) {
	return s, errors.New("it can't be shared")
}

// hire starts a worker with a model, and returns what stops it.
func (o *office) hire(work Work, models ...string) (stop func()) {
	o.t.Helper()
	nc, err := o.server.Connect()
	if err != nil {
		o.t.Fatal(err)
	}
	var able []Able
	for _, m := range models {
		able = append(able, Able{Model: m})
	}
	w, err := NewWorker(nc, func() []Able { return able }, work, slog.New(slog.DiscardHandler))
	if err != nil {
		o.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error)
	go func() { done <- w.Run(ctx) }()
	stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil {
			o.t.Error(err)
		}
		nc.Close()
	})
	o.t.Cleanup(stop)
	return stop
}

func (o *office) put(id, model string) error {
	return o.queue.Put(Job{ID: id, Request: lab.Request{Version: 1, Model: model, Prompts: []string{id}}})
}

func (o *office) mustPut(id, model string) {
	o.t.Helper()
	if err := o.put(id, model); err != nil {
		o.t.Fatal(err)
	}
}

// next waits for an end.
func (o *office) next() (id string, err error) {
	o.t.Helper()
	select {
	case id = <-o.end:
	case <-time.After(30 * time.Second):
		o.t.Fatal("no job ends")
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return id, o.errs[id]
}

// held is work that waits until it is let go, or cancelled.
func held(started chan<- string, let <-chan bool) Work {
	return alone(func(ctx context.Context, r lab.Request, tell func(Update)) (Drawn, error) {
		tell(Update{Done: 1, Total: 2})
		started <- r.Prompts[0]
		select {
		case <-let:
			return Drawn{Request: r, Pictures: []Picture{{Data: []byte(r.Prompts[0])}}}, nil
		case <-ctx.Done():
			return Drawn{}, errors.New("interrupted")
		}
	})
}

func TestQueue(t *testing.T) {
	o := openOffice(t, t.TempDir(), 3)
	started, let := make(chan string, 10), make(chan bool, 10)
	o.hire(held(started, let), "m")
	o.mustPut("a", "m")
	<-started
	o.mustPut("b", "m")
	o.mustPut("c", "m")
	if err := o.put("d", "m"); !errors.Is(err, ErrFull) {
		t.Errorf("a job too many: %v", err)
	}
	for start := time.Now(); time.Since(start) < 10*time.Second; time.Sleep(time.Millisecond) {
		waiting, working := o.queue.Depth()
		o.mu.Lock()
		told := o.told["a"]
		o.mu.Unlock()
		if waiting == 2 && working == 1 && told == 1 {
			break
		}
	}
	o.mu.Lock()
	if o.place["a"] != 0 || o.place["b"] != 1 || o.place["c"] != 2 || o.told["a"] != 1 {
		t.Errorf("the places are %v, told was %v", o.place, o.told)
	}
	o.mu.Unlock()
	for _, id := range []string{"b", "a"} { // one that waits, one at work
		o.queue.Cancel(id)
		if ended, err := o.next(); ended != id || !errors.Is(err, ErrCancelled) {
			t.Errorf("%s ended, %v", ended, err)
		}
	}
	if id := <-started; id != "c" {
		t.Errorf("then %s began", id)
	}
	o.mustPut("e", "m")
	closed := make(chan error)
	go func() { closed <- o.queue.Close(t.Context()) }()
	let <- true
	<-started
	let <- true
	if err := <-closed; err != nil {
		t.Error(err)
	}
	if err := o.put("f", "m"); !errors.Is(err, ErrClosed) {
		t.Errorf("a job for a closed queue: %v", err)
	}
	if want := []string{"b", "a", "c", "e"}; !slices.Equal(o.ended, want) || o.errs["e"] != nil ||
		string(o.drawn["e"].Pictures[0].Data) != "e" {
		t.Errorf("%v ended, expected %v", o.ended, want)
	}
}

// Jobs wait for a worker with their model, on disk, and what was drawn while nobody listened is told later.
func TestJobsSurvive(t *testing.T) {
	dir := t.TempDir()
	o := openOffice(t, dir, 10)
	o.mustPut("a", "m")
	o.mustPut("b", "other")
	o.mustPut("c", "m")
	if _, err := Serve(dir, "", ""); err == nil {
		t.Fatal("two servers have one store open")
	}
	o.close()

	o = openOffice(t, dir, 10)
	if !slices.Equal(o.found, []string{"a", "b", "c"}) || o.place["c"] != 3 {
		t.Fatalf("found were %v, at %v", o.found, o.place)
	}
	started, let := make(chan string, 10), make(chan bool, 10)
	stop := o.hire(held(started, let), "m")
	if id := <-started; id != "a" {
		t.Errorf("first %s began", id)
	}
	stop() // which gives the job back
	o.hire(held(started, let), "m")
	o.fail = 1 // the first report goes wrong
	for range 2 {
		<-started
		let <- true
	}
	ends := map[string]bool{}
	for range 2 {
		id, err := o.next()
		if ends[id] = true; err != nil {
			t.Errorf("%s ended with %v", id, err)
		}
	}
	if !ends["a"] || !ends["c"] {
		t.Errorf("ended are %v", ends)
	}
	o.hire(held(started, let), "other")
	if id := <-started; id != "b" {
		t.Errorf("the other model's job is %s", id)
	}
}

// Whoever ends a job first has ended it: a second worker that has drawn it too changes nothing.
func TestNothingTwice(t *testing.T) {
	o := openOffice(t, t.TempDir(), 10)
	ctx := t.Context()
	j := Job{ID: "a", Owner: "owner", Request: lab.Request{Model: "m"}}
	for i, want := range []bool{true, false} {
		if first, err := o.queue.s.end(ctx, j, End{ID: "a", Seconds: float64(i), Cancelled: true}); first != want ||
			err != nil {
			t.Errorf("end %d: first %v, %v", i, first, err)
		}
	}
	if e, ok, err := o.queue.s.ended(ctx, j); !ok || err != nil || e.Seconds != 0 {
		t.Errorf("it ended as %+v, %v, %v", e, ok, err)
	}
	for range 2 {
		o.mustPut("b", "m")
	}
	if info, err := o.queue.s.jobs.Info(ctx); err != nil || info.State.Msgs != 1 {
		t.Errorf("a job that was put in twice is there %d times, %v", info.State.Msgs, err)
	}
}

// Of two workers that draw one job the first counts: what the other one made is deleted, and so is a result that was
// taken. An end that is told again, its acknowledgement lost, finds nothing.
func TestFirstResultCounts(t *testing.T) {
	o := openOffice(t, t.TempDir(), 10)
	ctx, streams := t.Context(), o.queue.s
	large := bytes.Repeat([]byte("0123456789"), 3*chunkBytes/10+1) // four pieces in base64
	var first End
	o.hire(alone(func(_ context.Context, r lab.Request, _ func(Update)) (d Drawn, err error) {
		j := Job{ID: "a", Owner: "owner", Request: r} // meanwhile another worker comes to its end
		data, err := json.Marshal(Drawn{Request: r, Seconds: 1, Pictures: []Picture{{Data: large}}})
		if err != nil {
			return d, err
		}
		first = End{ID: "a", Request: r}
		if first.Result, err = streams.store(ctx, j, data); err == nil {
			_, err = streams.end(ctx, j, first)
		}
		return Drawn{Request: r, Seconds: 2}, err
	}), "m")
	o.mustPut("a", "m")
	if id, err := o.next(); id != "a" || err != nil || o.drawn["a"].Seconds != 1 ||
		!bytes.Equal(o.drawn["a"].Pictures[0].Data, large) {
		t.Errorf("%s ended with %v, drawn in %g s", id, err, o.drawn["a"].Seconds)
	}
	if first.Result.Pieces != 5 {
		t.Errorf("the result lay in %d pieces", first.Result.Pieces)
	}
	left := uint64(1)
	for start := time.Now(); left > 0 && time.Since(start) < 10*time.Second; time.Sleep(10 * time.Millisecond) {
		info, err := streams.results.Info(ctx)
		if err != nil {
			t.Fatal(err)
		}
		left = info.State.Msgs
		if info, err = streams.jobs.Info(ctx); err != nil || info.State.Msgs > 0 { // the second has not ended yet
			left = 1
		}
	}
	if left > 0 {
		t.Errorf("%d pieces stay", left)
	}
	o.ended = nil
	if err := o.queue.report(ctx, first); err != nil {
		t.Error(err)
	}
	if id, err := o.next(); id != "a" || !errors.Is(err, ErrGone) {
		t.Errorf("told again, %s ended with %v", id, err)
	}
}

// crew is work of six shares, twice. Who does one writes it down.
type crew struct {
	own    func(lab.Share)                         // before the drawing worker does one
	others func(context.Context, lab.Share) string // another worker's, which says what came of it
}

func (c crew) Draw(ctx context.Context, r lab.Request, spread lab.Spread, _ func(Update)) (d Drawn, err error) {
	d.Request = r
	if spread == nil {
		return d, errors.New("the job is not shared")
	}
	for range 2 {
		var shares []lab.Share
		for n := range 6 {
			shares = append(shares, lab.Share{At: n, Of: 6})
		}
		all, err := spread(ctx, shares, func(s lab.Share) (lab.Shared, error) {
			c.own(s)
			return note("own", s), nil
		})
		if err != nil {
			return d, err
		}
		for _, one := range all {
			d.Pictures = append(d.Pictures, Picture{Data: []byte(fmt.Sprint(one.Images.N)), Width: one.Images.W})
		}
	}
	return d, nil
}

func (c crew) Share(ctx context.Context, s lab.Share) (lab.Shared, error) {
	return note(c.others(ctx, s), s), ctx.Err()
}

// note is what came of a share: which one it was, and who did it.
func note(who string, s lab.Share) (one lab.Shared) {
	one.Images.N = s.At
	if who == "other" {
		one.Images.W = 1
	}
	one.Images.Data = make([]float32, one.Images.N*one.Images.C*one.Images.H*one.Images.W)
	return one
}

// Workers share a job. One waits for no other: what is not done when it comes to it, it does itself, and takes it back.
func TestShares(t *testing.T) {
	o := openOffice(t, t.TempDir(), 10)
	helped, recalled := make(chan int, 100), make(chan int, 100)
	c := crew{others: func(ctx context.Context, s lab.Share) string {
		if s.At == 3 { // this one takes for ever
			helped <- s.At
			<-ctx.Done()
			recalled <- s.At
		}
		return "other"
	}, own: func(s lab.Share) {
		if s.At == 0 { // until another has done the last ones, and is at the fourth
			<-helped
		}
	}}
	for range 2 {
		o.hire(c, "m")
	}
	for start := time.Now(); len(o.queue.Workers()) < 2 && time.Since(start) < 10*time.Second; {
		time.Sleep(time.Millisecond)
	}
	r := lab.Request{Version: 1, Model: "m", Illusion: &lab.Illusion{Candidates: 96}}
	if err := o.queue.Put(Job{ID: "a", Request: r}); err != nil {
		t.Fatal(err)
	}
	if id, err := o.next(); id != "a" || err != nil {
		t.Fatalf("%s ended with %v", id, err)
	}
	for n, p := range o.drawn["a"].Pictures {
		if string(p.Data) != fmt.Sprint(n%6) || (p.Width == 1) != (n%6 > 3) {
			t.Errorf("share %d became %s, and that another did it is %v", n, p.Data, p.Width == 1)
		}
	}
	for range 2 {
		if n := <-recalled; n != 3 {
			t.Errorf("share %d was taken back", n)
		}
	}
	for _, s := range []jetstream.Stream{o.queue.s.parts, o.queue.s.jobs} {
		left := uint64(1)
		for start := time.Now(); left > 0 && time.Since(start) < 10*time.Second; time.Sleep(10 * time.Millisecond) {
			info, err := s.Info(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			left = info.State.Msgs
		}
		if left > 0 {
			t.Errorf("%d messages stay in %s", left, s.CachedInfo().Config.Name)
		}
	}
}

// A job's fault ends itself only, and a job that its workers die of is given up.
func TestPoison(t *testing.T) {
	o := openOffice(t, t.TempDir(), 10)
	stop := o.hire(alone(func(context.Context, lab.Request, func(Update)) (Drawn, error) { panic("a fault") }), "m")
	for _, id := range []string{"a", "b"} {
		o.mustPut(id, "m")
		if ended, err := o.next(); ended != id || err == nil || err.Error() != "internal error: a fault" {
			t.Errorf("%s ended with %v", ended, err)
		}
	}
	stop()
	o.mustPut("c", "m")
	c, err := o.queue.s.jobs.Consumer(t.Context(), "jobs-"+lane("m", ""))
	if err != nil {
		t.Fatal(err)
	}
	for range retries {
		m, err := c.Next()
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Nak(); err != nil {
			t.Fatal(err)
		}
	}
	o.hire(held(make(chan string, 1), nil), "m")
	if ended, err := o.next(); ended != "c" || err == nil || !strings.Contains(err.Error(), "25 times") {
		t.Errorf("%s ended with %v", ended, err)
	}
}

// Of a job that no worker has the model of it is told, once there was time for one to come, and when one has come.
func TestStranded(t *testing.T) {
	o := openOffice(t, t.TempDir(), 10)
	q := o.queue
	o.mustPut("a", "m")
	q.mu.Lock() // so that it does not look by itself
	defer q.mu.Unlock()
	now := time.Now()
	there := []Presence{{ID: "w", Lanes: []string{lane("m", "")}}}
	other := []Presence{{ID: "w", Lanes: []string{lane("other", "")}}}
	for _, step := range []struct {
		after   time.Duration
		workers []Presence
		want    bool
	}{
		{Patience / 2, other, false},
		{Patience + time.Second, other, true},
		{Patience + 2*time.Second, there, false},
		{2 * Patience, nil, false}, // it may be back soon
		{3 * Patience, nil, true},
	} {
		q.strand(step.workers, now.Add(step.after))
		o.mu.Lock()
		if got := o.stranded["a"]; got != step.want {
			t.Errorf("after %v: stranded is %v", step.after, got)
		}
		o.mu.Unlock()
	}
}

// Who does not know the token gets nothing of the server, and where no address was given there is no port.
func TestServerToken(t *testing.T) {
	server, err := Serve(t.TempDir(), "127.0.0.1:0", "a-secret-of-some-length")
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	addr := server.Addr().String()
	for url, ok := range map[string]bool{"nats://" + addr: false, "nats://wrong@" + addr: false,
		"nats://a-secret-of-some-length@" + addr: true} {
		nc, err := Connect(url)
		if (err == nil) != ok {
			t.Errorf("%s: %v", url, err)
		}
		if nc != nil {
			nc.Close()
		}
	}
	closed, err := Serve(t.TempDir(), "", "")
	if err != nil {
		t.Fatal(err)
	}
	defer closed.Close()
	if closed.Addr() != nil {
		t.Errorf("without an address it listens at %v", closed.Addr())
	}
}
