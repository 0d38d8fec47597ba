package training

import (
	"fmt"
	"math"
	"strings"
)

// The ways in which the learning rate falls, from LearningRate to Decay times as much.
const (
	Exponential = "exponential" // by the same factor after each epoch, or after each step with DecaySteps
	Linear      = "linear"      // by the same amount after each step
	Cosine      = "cosine"      // after each step, as half a cosine (Loshchilov & Hutter 2017, arXiv:1608.03983)
)

// planned is how many epochs the learning rate takes to fall: steps where the data have no epochs.
func (c Config) planned() int {
	switch {
	case c.Planned > 0:
		return c.Planned
	case c.Data.Images == 0:
		return c.Steps
	}
	return c.Epochs
}

// WithLength returns the recipe of a run of n epochs, or steps where the data have no end. The learning rate stays as
// it was planned.
func (c Config) WithLength(n int) Config {
	planned := c.planned()
	if c.Data.Images == 0 {
		c.Steps = n
	} else {
		c.Epochs = n
	}
	if c.Planned = planned; planned == n {
		c.Planned = 0
	}
	return c
}

// rate returns the learning rate of a step, counted from 0.
func (c Config) rate(step int) float64 {
	perEpoch := 1
	if p := c.plan(); !p.endless() {
		perEpoch = p.period
	}
	done := float64(step) / float64(perEpoch)
	if c.exponential() && !c.DecaySteps {
		done = float64(step / perEpoch)
	}
	part := min(done/float64(c.planned()), 1)
	rate := c.LearningRate
	switch {
	case c.exponential():
		rate *= math.Pow(c.Decay, part)
	case c.Schedule == Linear:
		rate *= 1 - (1-c.Decay)*part
	case c.Schedule == Cosine:
		rate *= c.Decay + (1-c.Decay)*(1+math.Cos(math.Pi*part))/2
	}
	if step < c.Warmup {
		rate *= float64(step+1) / float64(c.Warmup)
	}
	return rate
}

func (c Config) exponential() bool { return c.Schedule == "" || c.Schedule == Exponential }

// Rate describes the learning rate: "0.001 falling to 0.0001 over 20 epochs, after each by the same factor".
func (c Config) Rate() string {
	var s strings.Builder
	if c.Warmup > 0 {
		fmt.Fprintf(&s, "rising over %s to ", number(c.Warmup, "step"))
	}
	fmt.Fprintf(&s, "%.4g", c.LearningRate)
	if c.Decay == 1 {
		return s.String()
	}
	unit, length, now := "epoch", c.planned(), c.Epochs
	if c.Data.Images == 0 {
		unit, now = "step", c.Steps
	}
	fmt.Fprintf(&s, " falling to %.4g over %s, ", c.LearningRate*c.Decay, number(length, unit))
	switch {
	case c.exponential() && !c.DecaySteps && c.Data.Images > 0:
		s.WriteString("after each by the same factor")
	case c.exponential():
		s.WriteString("after each step by the same factor")
	case c.Schedule == Linear:
		s.WriteString("after each step by as much")
	default:
		s.WriteString("as half a cosine")
	}
	if now > length {
		s.WriteString(", then constant")
	}
	return s.String()
}

// averageDecay is how much of the averages a step, counted from 0, keeps: less in the beginning, as in diffusers'
// EMAModel.
func (c Config) averageDecay(step int) float64 {
	k := float64(step + 1)
	return min(c.EMA, (1+k)/(10+k))
}
