package jobs

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// Queue puts jobs in, and reports what becomes of them.
type Queue struct {
	s       *streams
	owner   string
	reports Reports
	log     *slog.Logger
	consume jetstream.ConsumeContext
	events  *nats.Subscription

	mu      sync.Mutex // held while something is reported
	closed  bool
	pending map[string]pending
	waiting []string // in their order
	idle    chan struct{}
	workers map[string]Presence
	served  map[string]time.Time // lanes, and when a worker was there for them
	watch   context.Context      // ends with the queue
	unwatch context.CancelFunc
}

// pending is a job that has not ended.
type pending struct {
	Job
	seq      uint64
	since    time.Time
	stranded bool
}

// event is what a worker tells while it draws.
type event struct {
	Begun bool `json:"begun,omitempty"`
	Update
}

// Open opens the queue of an owner, whose name is kept from one time to the next. most is how many jobs wait or are
// drawn.
func Open(nc *nats.Conn, owner string, most int, reports Reports, log *slog.Logger) (*Queue, error) {
	s, err := openStreams(nc, most)
	if err != nil {
		return nil, err
	}
	q := &Queue{s: s, owner: owner, reports: reports, log: log, pending: map[string]pending{},
		workers: map[string]Presence{}, served: map[string]time.Time{}, idle: make(chan struct{}, 1)}
	q.watch, q.unwatch = context.WithCancel(context.Background())
	ctx, stop := context.WithTimeout(context.Background(), 6*askWait)
	defer stop()
	if err := q.find(ctx); err != nil {
		return nil, fmt.Errorf("the jobs that wait: %w", err)
	}
	if q.events, err = nc.Subscribe("unnoise.events."+owner+".*", q.told); err != nil {
		return nil, err
	}
	if _, err = nc.Subscribe(workersSubject, q.present); err != nil {
		return nil, err
	}
	ends, err := s.ends.CreateOrUpdateConsumer(ctx, jetstream.ConsumerConfig{Durable: "owner-" + owner,
		FilterSubject: "unnoise.ends." + owner + ".>", AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait,
		MaxAckPending: 1, DeliverPolicy: jetstream.DeliverAllPolicy})
	if err != nil {
		return nil, err
	}
	if q.consume, err = ends.Consume(q.ended); err == nil {
		go q.watchLanes()
	}
	return q, err
}

// find reports the jobs that were put in before.
func (q *Queue) find(ctx context.Context) error {
	info, err := q.s.jobs.Info(ctx)
	if err != nil {
		return err
	}
	for seq := info.State.FirstSeq; seq <= info.State.LastSeq; seq++ {
		m, err := q.s.jobs.GetMsg(ctx, seq, jetstream.WithGetMsgSubject("unnoise.jobs.*."+q.owner+".>"))
		if errors.Is(err, jetstream.ErrMsgNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		seq = m.Sequence
		var j Job
		if err := json.Unmarshal(m.Data, &j); err != nil {
			q.log.Warn("a job in the queue can't be read", "sequence", seq, "error", err)
			continue
		}
		if _, ok, err := q.s.ended(ctx, j); err != nil || ok {
			if err != nil {
				return err
			}
			continue
		}
		q.pending[j.ID] = pending{Job: j, seq: seq, since: time.Now()}
		q.waiting = append(q.waiting, j.ID)
		q.reports.Found(j)
	}
	q.place()
	return nil
}

// Put adds a job. It fails with ErrFull or ErrClosed.
func (q *Queue) Put(j Job) error {
	j.Owner = q.owner
	if i := j.Request.Illusion; i != nil && i.Candidates > 1 && len(i.Seeds) == 0 {
		j.Shared = q.able(laneOf(j.Request)) > 1
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed {
		return ErrClosed
	}
	ctx, stop := context.WithTimeout(context.Background(), askWait)
	defer stop()
	seq, err := q.s.put(ctx, j)
	if err != nil {
		return err
	}
	q.pending[j.ID] = pending{Job: j, seq: seq, since: time.Now()}
	q.waiting = append(q.waiting, j.ID)
	q.place()
	return nil
}

// place tells the waiting jobs where they stand.
func (q *Queue) place() {
	for i, id := range q.waiting {
		q.reports.Placed(id, i+1)
	}
}

// begun takes a job from those that wait.
func (q *Queue) begun(id string) {
	if i := slices.Index(q.waiting, id); i >= 0 {
		q.waiting = slices.Delete(q.waiting, i, i+1)
		q.place()
	}
}

// told takes what a worker tells of a job.
func (q *Queue) told(m *nats.Msg) {
	id := m.Subject[len("unnoise.events.")+len(q.owner)+1:]
	var e event
	if err := json.Unmarshal(m.Data, &e); err != nil {
		q.log.Warn("an event can't be read", "job", id, "error", err)
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	if _, ok := q.pending[id]; !ok {
		return
	}
	if e.Begun || slices.Contains(q.waiting, id) {
		q.begun(id)
		q.reports.Placed(id, 0)
	}
	if !e.Begun {
		q.reports.Updated(id, e.Update)
	}
}

// ended takes an end. It is acknowledged when its report is done.
func (q *Queue) ended(m jetstream.Msg) {
	var e End
	if err := json.Unmarshal(m.Data(), &e); err != nil {
		q.log.Warn("an end can't be read", "subject", m.Subject(), "error", err)
		_ = m.Term()
		return
	}
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	err := q.report(ctx, e)
	if err == nil {
		err = m.DoubleAck(ctx)
	}
	if err != nil {
		q.log.Warn("an end is told again later", "job", e.ID, "error", err)
		_ = m.NakWithDelay(time.Second)
		return
	}
	if err := q.s.drop(ctx, Job{ID: e.ID, Owner: q.owner}); err != nil && e.err() == nil {
		q.log.Warn("a result stays in the store for a day", "job", e.ID, "error", err)
	}
}

func (q *Queue) report(ctx context.Context, e End) error {
	d, reason := Drawn{Request: e.Request, Seconds: e.Seconds}, e.err()
	if reason == nil {
		data, err := q.s.load(ctx, Job{ID: e.ID, Owner: q.owner}, e.Result)
		if err == nil {
			err = json.Unmarshal(data, &d)
		}
		if errors.Is(err, ErrGone) { // it was reported, and the acknowledgement was lost
			reason = err
		} else if err != nil {
			return err
		}
	}
	q.mu.Lock()
	err := q.reports.Ended(e.ID, e.Draft, d, reason)
	q.mu.Unlock()
	if err == nil {
		q.forget(e.ID)
	}
	return err
}

// forget takes a job that has ended from the list.
func (q *Queue) forget(id string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	delete(q.pending, id)
	q.begun(id)
	if len(q.pending) == 0 {
		select {
		case q.idle <- struct{}{}:
		default:
		}
	}
}

// Cancel stops a job, waiting or at work. A job that has ended is not heeded.
func (q *Queue) Cancel(id string) {
	q.mu.Lock()
	p, ok := q.pending[id]
	q.mu.Unlock()
	if !ok {
		return
	}
	ctx, stop := context.WithTimeout(context.Background(), askWait)
	defer stop()
	first, err := q.s.end(ctx, p.Job, End{ID: id, Draft: p.Draft, Cancelled: true, Request: p.Request})
	if err != nil || !first {
		if err != nil {
			q.log.Warn("a job can't be cancelled", "job", id, "error", err)
		}
		return
	}
	if p.seq > 0 {
		_ = q.s.jobs.DeleteMsg(ctx, p.seq) // a worker that has it already sees its end
	}
	_ = q.s.nc.Publish(p.cancels(), nil)
	q.mu.Lock()
	err = q.reports.Ended(id, p.Draft, Drawn{Request: p.Request}, ErrCancelled)
	q.mu.Unlock()
	if err == nil {
		q.forget(id)
	}
}

// Close takes no more jobs and waits for those that it has until ctx ends. What waits then stays for the next time.
func (q *Queue) Close(ctx context.Context) error {
	q.mu.Lock()
	q.closed = true
	q.mu.Unlock()
	var err error
	for err == nil {
		q.mu.Lock()
		n := len(q.pending)
		q.mu.Unlock()
		if n == 0 {
			break
		}
		select {
		case <-q.idle:
		case <-ctx.Done():
			err = fmt.Errorf("%d jobs stay in the queue: %w", n, ctx.Err())
		}
	}
	q.unwatch()
	q.consume.Stop()
	<-q.consume.Closed()
	return errors.Join(err, q.events.Unsubscribe())
}

// Depth is how many jobs wait, and how many are at work.
func (q *Queue) Depth() (waiting, working int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.waiting), len(q.pending) - len(q.waiting)
}

// present takes what a worker says of itself.
func (q *Queue) present(m *nats.Msg) {
	var p Presence
	if json.Unmarshal(m.Data, &p) != nil {
		return
	}
	q.mu.Lock()
	defer q.mu.Unlock()
	p.seen = time.Now()
	q.workers[p.ID] = p
	if p.Gone {
		delete(q.workers, p.ID)
	}
}

// watchLanes tells of waiting jobs that there is no worker for.
func (q *Queue) watchLanes() {
	for {
		select {
		case <-time.After(presence):
		case <-q.watch.Done():
			return
		}
		all := q.Workers()
		q.mu.Lock()
		q.strand(all, time.Now())
		q.mu.Unlock()
	}
}

func (q *Queue) strand(workers []Presence, now time.Time) {
	for _, p := range workers {
		for _, lane := range p.Lanes {
			q.served[lane] = now
		}
	}
	maps.DeleteFunc(q.served, func(_ string, last time.Time) bool { return now.Sub(last) > Patience })
	for _, id := range q.waiting {
		p := q.pending[id]
		_, served := q.served[laneOf(p.Request)]
		if is := !served && now.Sub(p.since) > Patience; is != p.stranded {
			p.stranded = is
			q.pending[id] = p
			q.reports.Stranded(id, is)
		}
	}
}

// Workers lists those that were heard of lately.
func (q *Queue) Workers() []Presence {
	q.mu.Lock()
	defer q.mu.Unlock()
	all := []Presence{}
	for id, p := range q.workers {
		if time.Since(p.seen) > 3*presence {
			delete(q.workers, id)
			continue
		}
		all = append(all, p)
	}
	slices.SortFunc(all, func(a, b Presence) int { return slices.Compare([]string{a.Host, a.ID}, []string{b.Host, b.ID}) })
	return all
}

// able is how many workers can draw what goes through a lane.
func (q *Queue) able(lane string) (n int) {
	for _, p := range q.Workers() {
		if slices.Contains(p.Lanes, lane) {
			n++
		}
	}
	return n
}
