package jobs

import (
	"context"
	"encoding/json"

	"github.com/unnoise/unnoise/lab"
)

// help does a part of a job, of which another worker does the rest.
func (w *Worker) help(ctx context.Context, j Job) (shared lab.Shared, err error) {
	data, err := w.s.load(ctx, j, j.Share)
	if err != nil {
		return shared, err
	}
	var share lab.Share
	if err := json.Unmarshal(data, &share); err != nil {
		return shared, err
	}
	return safely(func() (lab.Shared, error) { return w.work.Share(ctx, share) })
}

// spread lets other workers help with a job. They begin with the last share and this one with the first: what nobody
// has done when it comes to it, it does itself. So it waits for no other, who may be gone. The job's next worker, where
// this one dies, finds what the others did.
func (w *Worker) spread(j Job) lab.Spread {
	work := 0
	return func(ctx context.Context, shares []lab.Share, do func(lab.Share) (lab.Shared, error)) ([]lab.Shared, error) {
		work++
		now := work
		for n := len(shares) - 1; n > 0; n-- {
			if err := w.offer(ctx, j.part(now, n), shares[n]); err != nil {
				w.log.Warn("a worker draws without help", "job", j.ID, "error", err)
				break
			}
		}
		all := make([]lab.Shared, len(shares))
		for n := range shares {
			p := j.part(now, n)
			if n > 0 {
				var ok bool
				if all[n], ok = w.helped(ctx, p); ok {
					continue
				}
			}
			var err error
			if all[n], err = do(shares[n]); err != nil {
				return nil, err
			}
			if n > 0 {
				w.recall(p)
			}
		}
		return all, nil
	}
}

// offer puts a part into the queue, unless it was done before.
func (w *Worker) offer(ctx context.Context, p Job, share lab.Share) error {
	ctx, stop := context.WithTimeout(ctx, 3*askWait)
	defer stop()
	if _, ok, err := w.s.ended(ctx, p); ok || err != nil {
		return err
	}
	data, err := json.Marshal(share)
	if err != nil {
		return err
	}
	if p.Share, err = w.s.store(ctx, p, data); err != nil {
		return err
	}
	_, err = w.s.put(ctx, p)
	return err
}

// helped returns what another worker did.
func (w *Worker) helped(ctx context.Context, p Job) (shared lab.Shared, ok bool) {
	ctx, stop := context.WithTimeout(ctx, 3*askWait)
	defer stop()
	e, ok, err := w.s.ended(ctx, p)
	if err != nil || !ok || e.Fault != nil { // which this worker may not have
		return shared, false
	}
	data, err := w.s.load(ctx, p, e.Result)
	return shared, err == nil && json.Unmarshal(data, &shared) == nil
}

// recall takes a part back, also from who is at it.
func (w *Worker) recall(p Job) {
	ctx, stop := context.WithTimeout(context.Background(), askWait)
	defer stop()
	if err := w.s.recall(ctx, p); err != nil {
		w.log.Warn("what is done already may be done again", "job", p.ID, "error", err)
	}
}
