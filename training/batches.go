package training

import (
	"context"
	"fmt"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/mnistunet"
)

// What randomness is drawn for: each use of each epoch or step has a generator of its own, one of the 2³² that there are, so that a
// resumed run needs no generator's state.
const (
	forOrder = iota + 1
	forStep
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
	config   Config
	data     *dataset.Labeled
	schedule *diffusion.Schedule // nil for condition none and for flows
	perEpoch int                 // steps

	epoch int // of order
	order []int
}

func newBatches(c Config, data *dataset.Labeled) (*batches, error) {
	b := &batches{config: c, data: data, perEpoch: (data.Len() + c.Batch - 1) / c.Batch, epoch: -1}
	if c.Network.Condition == mnistunet.None {
		return b, nil
	}
	if c.Network.Condition == mnistunet.Class {
		for i, label := range data.Labels {
			if int(label) >= c.Network.Classes {
				return nil, fmt.Errorf("image %d has label %d, but the network has %d classes: 0 to %d", i, label, c.Network.Classes, c.Network.Classes-1)
			}
		}
	}
	if c.Network.Objective == mnistunet.Flow {
		return b, nil
	}
	var err error
	b.schedule, err = diffusion.Linear(c.Network.Timesteps, c.Network.BetaStart, c.Network.BetaEnd)
	return b, err
}

// scratch is the memory of one batch.
type scratch struct {
	mnistunet.Batch
	clean     []float32
	noise     []float32
	labels    []int32
	timesteps []int
	uniform   []float32
}

func (b *batches) newScratch() *scratch {
	n := b.config.Batch
	pixels := n * mnistunet.Size * mnistunet.Size
	s := &scratch{clean: make([]float32, pixels), noise: make([]float32, pixels), labels: make([]int32, n), timesteps: make([]int, n), uniform: make([]float32, n)}
	s.X, s.T = make([]float32, pixels), make([]float32, n)
	if b.config.Network.Condition == mnistunet.Class {
		s.Class = make([]float32, n*b.config.Network.Classes)
	}
	return s
}

// fill prepares the batch of a step, counted from 0 over the whole run.
func (b *batches) fill(s *scratch, step int) error {
	epoch, inEpoch := step/b.perEpoch, step%b.perEpoch
	if epoch != b.epoch {
		b.order, b.epoch = generator(b.config.Seed, forOrder, epoch).Perm(b.data.Len()), epoch
	}
	from := inEpoch * b.config.Batch
	indices := b.order[from:min(from+b.config.Batch, len(b.order))]
	n := len(indices)
	pixels := n * mnistunet.Size * mnistunet.Size
	images := func(v []float32) diffusion.Images {
		return diffusion.Images{N: n, C: 1, H: mnistunet.Size, W: mnistunet.Size, Data: v[:pixels]}
	}
	clean, noise, noisy := images(s.clean), images(s.noise), images(s.X[:cap(s.X)])
	b.data.Batch(indices, clean.Data, s.labels[:n])

	g := generator(b.config.Seed, forStep, step)
	net := b.config.Network
	out := mnistunet.Batch{N: n, X: noisy.Data, Target: noise.Data}
	if net.Condition == mnistunet.Class {
		out.Class = s.Class[:cap(s.Class)][:n*net.Classes]
		clear(out.Class)
		g.Uniform(s.uniform[:n])
		for i, u := range s.uniform[:n] {
			if float64(u) >= b.config.Dropout {
				out.Class[i*net.Classes+int(s.labels[i])] = 1
			}
		}
	}
	if net.Condition == mnistunet.None {
		g.Normal(noise.Data)
		for i, e := range noise.Data {
			noisy.Data[i] = clean.Data[i] + float32(net.Sigma)*e
		}
		out.Target = clean.Data
		s.Batch = out
		return nil
	}
	out.T = s.T[:cap(s.T)][:n]
	if net.Objective == mnistunet.Flow {
		g.Uniform(out.T)
		g.Normal(noise.Data)
		s.Batch = out
		return diffusion.FlowPath(noisy, noise, clean, noise, out.T...) // the velocity takes the noise's place, as the target
	}
	g.IntN(s.timesteps[:n], net.Timesteps)
	g.Normal(noise.Data)
	for i, t := range s.timesteps[:n] {
		out.T[i] = float32(t) / float32(net.Timesteps)
	}
	s.Batch = out
	return b.schedule.AddNoiseTo(noisy, clean, noise, s.timesteps[:n]...)
}

// feed prepares batches ahead, while the network works on the one before. It ends with ctx. Give each back to free.
func (b *batches) feed(ctx context.Context, from, to int) (ready <-chan prepared, free chan<- *scratch) {
	const ahead = 2
	out, spare := make(chan prepared), make(chan *scratch, ahead)
	for range ahead {
		spare <- b.newScratch()
	}
	go func() {
		defer close(out)
		for step := from; step < to; step++ {
			var p prepared
			select {
			case p.scratch = <-spare:
			case <-ctx.Done():
				return
			}
			p.err = b.fill(p.scratch, step)
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
	*scratch
	err error
}

// describe sums up a data set.
func describe(data *dataset.Labeled, name string) Data {
	return Data{Name: name, Images: data.Len(), Checksum: data.Checksum()}
}
