// Package mnistunet is a small UNet for 28×28 digits, as GoMLX graph functions: unconditional, conditioned on
// time, or on time and class.
//
// With D channels (Config.Dim), the network of Ronneberger et al. 2015 (arXiv:1505.04597) is cut down to
//
//	x [N,28,28,1] → in_block D → down1 D (14×14) → down2 2D (7×7) → flatten 2D (1×1)
//	flatten → unflatten 2D (7×7) → up1 of [·, down2] D (14×14) → up2 of [·, down1] D (28×28) → out_block of [·, in_block] → out_conv
//
// where every block is convolution, batch normalization and GELU. Conditions enter behind unflatten and up1: with fully
// connected blocks of t/T and of the one-hot class, unflatten·c1 + t1 and up1·c2 + t2.
//
// Digits have values from 0, black, to 1.
package mnistunet

import (
	"encoding/json"
	"fmt"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/otherfile"
	"github.com/unnoise/unnoise/internal/ranges"
)

// Condition says what the network is told besides the image.
type Condition string

// The conditions.
const (
	None  Condition = "none"  // nothing: a denoiser of one noise level
	Time  Condition = "time"  // the timestep
	Class Condition = "class" // the timestep and the class
)

// Objective says what the network estimates.
type Objective string

// The objectives.
const (
	Noise Objective = ""     // the noise in x_t at a timestep of the schedule; with condition none, the clean image
	Flow  Objective = "flow" // the velocity of x_t at a time t in [0,1) (Lipman et al. 2022, arXiv:2210.02747)
)

// Size is the height and width of the images.
const Size = 28

// Config describes a network and what it was trained for. It is the model folder's config.json.
type Config struct {
	Version   int       `json:"version"` // of this format: 1
	Model     string    `json:"model"`   // "mnist-unet"
	Condition Condition `json:"condition"`
	Objective Objective `json:"objective,omitempty"`
	Dim       int       `json:"dim"`               // channels of the first level
	Classes   int       `json:"classes,omitempty"` // of the one-hot vector, with condition class
	// the classes that the training images have, as 1-26 or 3,8; empty: 0 to Classes-1
	Labels    string  `json:"labels,omitempty"`
	Timesteps int     `json:"timesteps,omitempty"`  // of the noise schedule, which objective flow has none of
	BetaStart float64 `json:"beta_start,omitempty"` // linear schedule
	BetaEnd   float64 `json:"beta_end,omitempty"`
	Sigma     float64 `json:"sigma,omitempty"` // noise level of condition none
	// condition none, with no image behind noise of variance 1, and so no level
	PureNoise bool `json:"pure_noise,omitempty"`
}

// Default returns the recipe's configuration for a condition.
func Default(c Condition) Config {
	cfg := Config{Version: 1, Model: "mnist-unet", Condition: c, Dim: 64}
	if c == None {
		cfg.Dim, cfg.Sigma = 128, 0.5
		return cfg
	}
	cfg.Timesteps, cfg.BetaStart, cfg.BetaEnd = 300, 1e-4, 0.02
	if c == Class {
		cfg.Classes = 10
	}
	return cfg
}

// ForClasses returns the configuration of a network for images of some classes, which rise.
func (c Config) ForClasses(occurring []int) Config {
	c.Classes, c.Labels = occurring[len(occurring)-1]+1, ""
	if len(occurring) < c.Classes {
		c.Labels = ranges.Format(occurring)
	}
	return c
}

// labels tells what is wrong with Labels.
func (c Config) labels() error {
	if c.Labels == "" {
		return nil
	}
	_, err := ranges.Parse(c.Labels, c.Classes)
	return err
}

// Occurring returns the classes that the training images have, in rising order; nil where the network has none.
func (c Config) Occurring() []int {
	if c.Condition != Class {
		return nil
	}
	if occurring, err := ranges.Parse(c.Labels, c.Classes); err == nil {
		return occurring
	}
	all := make([]int, c.Classes)
	for i := range all {
		all[i] = i
	}
	return all
}

// ForFlow returns the configuration of the same network for flow matching.
func (c Config) ForFlow() Config {
	c.Objective, c.Timesteps, c.BetaStart, c.BetaEnd = Flow, 0, 0, 0
	return c
}

// ForPureNoise returns the configuration of the same network for nothing but noise.
func (c Config) ForPureNoise() Config {
	c.PureNoise, c.Sigma = true, 0
	return c
}

// ForTimesteps returns the configuration with a schedule of n timesteps, at least 2. β are scaled, up to 0.999, so that
// as much noise is added in all, by a handful of timesteps more: sampling starts with nothing but noise.
func (c Config) ForTimesteps(n int) Config {
	scale := float64(c.Timesteps) / float64(n)
	c.Timesteps, c.BetaStart, c.BetaEnd = n, min(scale*c.BetaStart, 0.999), min(scale*c.BetaEnd, 0.999)
	return c
}

// Learns says what the network learns to estimate.
func (c Config) Learns() string {
	switch {
	case c.PureNoise:
		return "x₀, of pure noise"
	case c.Condition == None:
		return fmt.Sprintf("x₀, σ = %g", c.Sigma)
	case c.Objective == Flow:
		return "velocity of flow matching"
	}
	return fmt.Sprintf("ε, T = %d, β from %.4g to %.4g", c.Timesteps, c.BetaStart, c.BetaEnd)
}

// Validate tells what is wrong with the configuration.
func (c Config) Validate() error {
	switch {
	case c.Version != 1:
		return fmt.Errorf("version %d; this program reads version 1", c.Version)
	case c.Model != "mnist-unet":
		return fmt.Errorf("model %q; want \"mnist-unet\"", c.Model)
	case c.Condition != None && c.Condition != Time && c.Condition != Class:
		return fmt.Errorf("condition %q; want none, time or class", c.Condition)
	case c.Dim < 1 || c.Dim > 4096:
		return fmt.Errorf("dim %d; want 1 to 4096", c.Dim)
	case c.Condition == Class && (c.Classes < 1 || c.Classes > 1<<16):
		return fmt.Errorf("classes %d; want 1 to 65536", c.Classes)
	case c.Condition != Class && c.Labels != "":
		return fmt.Errorf("labels %q with condition %s, which has no classes; want none", c.Labels, c.Condition)
	case c.labels() != nil:
		return fmt.Errorf("labels %w", c.labels())
	case c.Objective != Noise && c.Objective != Flow:
		return fmt.Errorf("objective %q; want flow, or no objective for estimates of noise", c.Objective)
	case c.Objective == Flow && c.Condition == None:
		return fmt.Errorf("objective flow with condition none; want condition time or class")
	case c.Objective == Flow && (c.Timesteps != 0 || c.BetaStart != 0 || c.BetaEnd != 0):
		return fmt.Errorf("timesteps %d and betas %g to %g with objective flow, which has no noise schedule; want "+
			"none of them", c.Timesteps, c.BetaStart, c.BetaEnd)
	case c.scheduled() && (c.Timesteps < 1 || c.Timesteps > 1<<20):
		return fmt.Errorf("timesteps %d; want 1 to %d", c.Timesteps, 1<<20)
	case c.scheduled() && !(c.BetaStart > 0 && c.BetaStart <= c.BetaEnd && c.BetaEnd < 1):
		return fmt.Errorf("betas %g to %g; want 0 < beta_start ≤ beta_end < 1", c.BetaStart, c.BetaEnd)
	case c.PureNoise && (c.Condition != None || c.Sigma != 0):
		return fmt.Errorf("pure_noise with condition %s and sigma %g; want condition none and no sigma", c.Condition,
			c.Sigma)
	case c.Condition == None && !c.PureNoise && !(c.Sigma > 0):
		return fmt.Errorf("sigma %g; want a positive noise level", c.Sigma)
	case c.scheduled():
		_, err := diffusion.Linear(c.Timesteps, c.BetaStart, c.BetaEnd)
		return err
	}
	return nil
}

// scheduled reports whether the network estimates the noise of a schedule's timesteps.
func (c Config) scheduled() bool { return c.Condition != None && c.Objective == Noise }

func parseConfig(path string, b []byte) (Config, error) {
	var c Config
	if err := json.Unmarshal(b, &c); err != nil {
		return Config{}, fmt.Errorf("%s is not a model configuration: %w", path, otherfile.Explain(b, err))
	}
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}
