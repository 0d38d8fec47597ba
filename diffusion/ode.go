package diffusion

import (
	"context"
	"math"
)

// The methods of this file solve the process's ordinary differential equation (Score SDE, arXiv:2011.13456, section
// 4.3). Written along a straight line, scale·x_t = w x_0 + (1-w) ε with the time w from 0 to 1, it is dx/dw = x̂_0 -
// ε̂, for schedules as for flows.

// Euler is the method of first order: x + h u(x, w). It is DDIM without noise, but where x̂_0 is clipped: its ε̂ is
// then what remains of x_t, DDIM's the network's.
type Euler struct{}

// Midpoint is of second order, with two evaluations a step: x + h u(x + h/2 u(x, w), w + h/2).
type Midpoint struct{}

// Heun is of second order, with two evaluations a step but the last: x + h/2 (u(x, w) + u(x + h u(x, w), w + h)).
// (EDM, arXiv:2206.00364, algorithm 1.)
type Heun struct{}

// Begin starts a run.
func (Euler) Begin(p Process) (Advance, error) {
	return func(_ context.Context, tr Transition) (Images, error) {
		l := lineOf(p, tr.Move)
		return l.point(tr.X, l.h, tr.Velocity(), tr.To), nil
	}, nil
}

// Begin starts a run. A step that has no time between its ends, as a schedule's last one, is Euler's.
func (Midpoint) Begin(p Process) (Advance, error) {
	return func(ctx context.Context, tr Transition) (Images, error) {
		l := lineOf(p, tr.Move)
		u := tr.Velocity()
		if t := l.middle(); t != tr.To {
			parts, err := tr.Estimate(ctx, l.point(tr.X, l.h/2, u, t), t)
			if err != nil {
				return Images{}, err
			}
			u = parts.Velocity()
		}
		return l.point(tr.X, l.h, u, tr.To), nil
	}, nil
}

func (Midpoint) evaluations(p Process, m Move) int {
	if lineOf(p, m).middle() == m.To {
		return 1
	}
	return 2
}

// Begin starts a run.
func (Heun) Begin(p Process) (Advance, error) {
	return func(ctx context.Context, tr Transition) (Images, error) {
		l := lineOf(p, tr.Move)
		u := tr.Velocity()
		x := l.point(tr.X, l.h, u, tr.To)
		if isClean(p, tr.To) { // there is no noise left to estimate
			return x, nil
		}
		parts, err := tr.Estimate(ctx, x, tr.To)
		if err != nil {
			return Images{}, err
		}
		return l.point(tr.X, l.h, blend(0.5, u, 0.5, parts.Velocity()), tr.To), nil
	}, nil
}

func (Heun) evaluations(p Process, m Move) int {
	if isClean(p, m.To) {
		return 1
	}
	return 2
}

// line is a move along the straight line.
type line struct {
	process Process
	Move
	w, wTo float64 // where it begins and ends
	h      float32 // its length
	scale  float32
}

func lineOf(p Process, m Move) line {
	w, scale := straight(p, m.From)
	to, _ := straight(p, m.To)
	return line{p, m, w, to, float32(to - w), scale}
}

// point returns x_t at the time t that lies at distance h along u.
func (l line) point(x Images, h float32, u Images, t float64) Images {
	_, scale := straight(l.process, t)
	return blend(l.scale/scale, x, h/scale, u)
}

// middle returns the time halfway along the line, or To where the process has no time between.
func (l line) middle() float64 {
	low, high := l.From, l.To // w rises from low to high, whichever is the larger number
	for range 60 {
		mid := low + (high-low)/2
		w, _ := straight(l.process, mid)
		if math.IsNaN(w) {
			return l.To
		}
		if w < (l.w+l.wTo)/2 {
			low = mid
		} else {
			high = mid
		}
	}
	return high
}
