// Package bench times networks on this machine: those for digits, and DeepFloyd IF's in full size with random weights.
package bench

import (
	"context"
	"io"
	"slices"
	"time"

	"github.com/gomlx/compute"

	"github.com/unnoise/unnoise/onednn"
)

// Runs says how often something is run to be timed.
type Runs struct {
	Warmup, Counted int
	Profile         io.Writer // gets what each operation takes, from as many runs again; nil: nothing is written
}

// Seconds are the times of the runs: of the very first one, which compiles, and of those that count.
type Seconds struct{ First, Best, Median float64 }

// Time times a function. Where there is no warmup, the first run counts too.
func (r Runs) Time(ctx context.Context, b compute.Backend, once func() error) (Seconds, error) {
	times := make([]float64, r.Warmup+r.Counted)
	for i := range times {
		if err := ctx.Err(); err != nil {
			return Seconds{}, err
		}
		start := time.Now()
		if err := once(); err != nil {
			return Seconds{}, err
		}
		times[i] = time.Since(start).Seconds()
	}
	s := Seconds{First: times[0]}
	times = times[r.Warmup:]
	slices.Sort(times)
	s.Best, s.Median = times[0], (times[(len(times)-1)/2]+times[len(times)/2])/2
	if r.Profile == nil {
		return s, nil
	}
	onednn.StartProfile(b)
	for range r.Counted {
		if err := ctx.Err(); err != nil {
			return Seconds{}, err
		}
		if err := once(); err != nil {
			return Seconds{}, err
		}
	}
	onednn.StopProfile(b, r.Profile)
	return s, nil
}
