package training

import (
	"context"

	"github.com/unnoise/unnoise/diffusion"
)

// What randomness is drawn for: each use of each epoch or step has a generator of its own, one of the 2³² that there
// are, so that a resumed run needs no generator's state.
const (
	forOrder = iota + 1
	forStep
	forLoss
)

// generator returns the generator of the n-th epoch or step.
func generator(seed uint64, use, n int) *diffusion.Generator {
	return diffusion.NewGenerator(mix(mix(mix(seed)^uint64(use)) ^ uint64(n)))
}

// mix is a bijection whose output looks random: SplitMix64's (Steele, Lea, Flood 2014).
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// batches makes the batch of any step.
type batches struct {
	Task
	seed uint64
	size int // images
	plan plan

	epoch int // of order
	order []int
}

func newBatches(c Config, t Task) *batches {
	return &batches{Task: t, seed: c.Seed, size: c.Batch, plan: c.plan(), epoch: -1}
}

// fill prepares the batch of a step, counted from 0 over the whole run.
func (b *batches) fill(to *Batch, step int) error {
	g := generator(b.seed, forStep, step)
	if err := b.Data.Fill(to, b.indices(step), g); err != nil {
		return err
	}
	return b.Objective.Fill(to, g)
}

// indices are those of a step's images.
func (b *batches) indices(step int) []int {
	if b.plan.endless() {
		return count(step*b.size, b.size)
	}
	epoch, inEpoch := step/b.plan.period, step%b.plan.period
	if epoch != b.epoch {
		b.order, b.epoch = generator(b.seed, forOrder, epoch).Perm(b.plan.images), epoch
	}
	from := inEpoch * b.size
	return b.order[from:min(from+b.size, len(b.order))]
}

// count returns n numbers from the first on.
func count(first, n int) []int {
	all := make([]int, n)
	for i := range all {
		all[i] = first + i
	}
	return all
}

// feed prepares batches ahead, while the network works on the one before. It ends with ctx. Give each back to free.
func (b *batches) feed(ctx context.Context, from, to int) (ready <-chan prepared, free chan<- *Batch) {
	const ahead = 2
	out, spare := make(chan prepared), make(chan *Batch, ahead)
	for range ahead {
		spare <- new(Batch)
	}
	go func() {
		defer close(out)
		for step := from; step < to; step++ {
			var p prepared
			select {
			case p.Batch = <-spare:
			case <-ctx.Done():
				return
			}
			p.err = b.fill(p.Batch, step)
			select {
			case out <- p:
			case <-ctx.Done():
				return
			}
		}
	}()
	return out, spare
}

type prepared struct {
	*Batch
	err error
}
