package deepfloyd

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/hubfile"
)

// Scheduler is a scheduler_config.json of diffusers' DDPMScheduler, DDIMScheduler or DPMSolverMultistepScheduler: the
// noise schedule a network was trained with, and how to walk back from noise.
type Scheduler struct {
	Schedule *diffusion.Schedule
	Method   diffusion.Method // nil in a stage whose folder has another class's, until it is replaced
	Clip     diffusion.Clip
	config   schedulerConfig
	file     *hubfile.Config
}

// The classes of schedulers.
const (
	DDPMScheduler               = "DDPMScheduler"
	DDIMScheduler               = "DDIMScheduler"
	DPMSolverMultistepScheduler = "DPMSolverMultistepScheduler"
)

// scheduled are diffusers' other classes with a noise schedule of the same settings. Their files are read for it: the
// class must be replaced, by [Scheduler.As] or [Stage.Use], before one samples.
var scheduled = []string{"DDIMParallelScheduler", "DDPMParallelScheduler", "DEISMultistepScheduler",
	"DPMSolverSDEScheduler", "DPMSolverSinglestepScheduler",
	"EulerAncestralDiscreteScheduler", "EulerDiscreteScheduler", "HeunDiscreteScheduler",
	"KDPM2AncestralDiscreteScheduler", "KDPM2DiscreteScheduler",
	"LMSDiscreteScheduler", "PNDMScheduler", "SASolverScheduler", "UniPCMultistepScheduler"}

// ofOtherSchedulers are settings that only other classes heed. diffusers lets a file carry them, and so do we.
var ofOtherSchedulers = []string{"corrector_order", "disable_corrector", "interpolation_type", "noise_sampler_seed",
	"predict_x0", "predictor_order",
	"sigma_max", "sigma_min", "skip_prk_steps", "solver_p", "tau_func", "timestep_type"}

// schedulerConfig has the settings of all three classes. diffusers, too, lets a file carry those of other classes, and
// reads only its own.
type schedulerConfig struct {
	class string

	NumTrainTimesteps   int       `json:"num_train_timesteps"`
	BetaSchedule        string    `json:"beta_schedule"`
	BetaStart           float64   `json:"beta_start"`
	BetaEnd             float64   `json:"beta_end"`
	TrainedBetas        []float32 `json:"trained_betas"`
	RescaleBetasZeroSNR bool      `json:"rescale_betas_zero_snr"`

	PredictionType           diffusion.Prediction `json:"prediction_type"`
	Thresholding             bool                 `json:"thresholding"`
	DynamicThresholdingRatio float32              `json:"dynamic_thresholding_ratio"`
	SampleMaxValue           float32              `json:"sample_max_value"`
	TimestepSpacing          diffusion.Spacing    `json:"timestep_spacing"`
	StepsOffset              int                  `json:"steps_offset"`

	// DDPM's and DDIM's
	ClipSample      truth   `json:"clip_sample"`
	ClipSampleRange float32 `json:"clip_sample_range"`
	// DDPM's
	// nil: not noted, as DPM-Solver saves it; DDPM then takes its default
	VarianceType *diffusion.Variance `json:"variance_type"`
	// DDIM's
	SetAlphaToOne bool `json:"set_alpha_to_one"`
	// DPM-Solver's
	SolverOrder          int      `json:"solver_order"`
	SolverType           string   `json:"solver_type"`
	AlgorithmType        string   `json:"algorithm_type"`
	FinalSigmasType      string   `json:"final_sigmas_type"`
	LambdaMinClipped     *float64 `json:"lambda_min_clipped"`
	UseKarrasSigmas      bool     `json:"use_karras_sigmas"`
	UseExponentialSigmas bool     `json:"use_exponential_sigmas"`
	UseBetaSigmas        bool     `json:"use_beta_sigmas"`
	UseLuLambdas         bool     `json:"use_lu_lambdas"`
	UseFlowSigmas        bool     `json:"use_flow_sigmas"`
	UseDynamicShifting   bool     `json:"use_dynamic_shifting"`
	FlowShift            any      `json:"flow_shift"`        // of flow sigmas only
	TimeShiftType        any      `json:"time_shift_type"`   // of dynamic shifting only
	LowerOrderFinal      any      `json:"lower_order_final"` // a step to σ = 0 is of first order anyway
	EulerAtFinal         any      `json:"euler_at_final"`    // the same
}

// truth is a setting that Python asks whether it is true: None is not.
type truth bool

func (t *truth) UnmarshalJSON(data []byte) error {
	*t = false
	return json.Unmarshal(data, (*bool)(t))
}

// variance is what DDPM makes of variance_type.
func (c schedulerConfig) variance() diffusion.Variance {
	if c.VarianceType == nil {
		return diffusion.FixedSmall
	}
	return *c.VarianceType
}

// ReadScheduler reads a scheduler_config.json. Settings that diffusers would heed and this program can't are refused by
// name.
func ReadScheduler(path string) (*Scheduler, error) {
	s, err := readSchedule(path)
	if err == nil {
		err = s.Check()
	}
	if err != nil {
		return nil, err
	}
	return s, nil
}

// readSchedule reads a scheduler_config.json, one of the scheduled classes too.
func readSchedule(path string) (*Scheduler, error) {
	file, err := hubfile.ReadConfig(path)
	if err != nil {
		return nil, err
	}
	return readScheduler(file, file.Class)
}

// Check tells why one can't sample with the file's own scheduler, if so: another class is to be chosen.
func (s *Scheduler) Check() error {
	if s.Method != nil {
		return nil
	}
	return fmt.Errorf("%s: _class_name is %s, expected %s or %s or %s: choose one of these as the sampler, with this "+
		"file's noise schedule",
		s.file.Path, s.Class(), DDPMScheduler, DDIMScheduler, DPMSolverMultistepScheduler)
}

// As returns the scheduler of another class with the same file's settings, as diffusers' from_config makes it: settings
// that the file does not give have the other class's defaults.
func (s *Scheduler) As(class string) (*Scheduler, error) { return readScheduler(s.file, class) }

// Prediction says what the network estimates.
func (s *Scheduler) Prediction() diffusion.Prediction { return s.config.PredictionType }

// Class is diffusers' name of the scheduler.
func (s *Scheduler) Class() string { return s.config.class }

func readScheduler(file *hubfile.Config, class string) (*Scheduler, error) {
	c := schedulerConfig{
		class: class, NumTrainTimesteps: 1000, BetaSchedule: "linear", BetaStart: 1e-4, BetaEnd: 0.02,
		PredictionType: diffusion.Epsilon, DynamicThresholdingRatio: 0.995, SampleMaxValue: 1,
		TimestepSpacing: diffusion.Leading,
		ClipSample:      true, ClipSampleRange: 1, SetAlphaToOne: true,
		SolverOrder: 2, SolverType: "midpoint", AlgorithmType: "dpmsolver++", FinalSigmasType: "zero",
	}
	if c.class == DPMSolverMultistepScheduler {
		c.TimestepSpacing = diffusion.Linspace
	}
	if err := file.Decode(&c, ofOtherSchedulers...); err != nil {
		return nil, err
	}
	if c.class == DPMSolverMultistepScheduler { // as diffusers takes other solvers' settings
		if slices.Contains([]string{"logrho", "bh1", "bh2"}, c.SolverType) {
			c.SolverType = "midpoint"
		}
		if c.AlgorithmType == "deis" {
			c.AlgorithmType = "dpmsolver++"
		}
	}
	s, err := c.scheduler()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file.Path, err)
	}
	s.file = file
	return s, nil
}

func (c schedulerConfig) scheduler() (*Scheduler, error) {
	if err := c.check(); err != nil {
		return nil, err
	}
	s := &Scheduler{config: c}
	var err error
	switch {
	case c.TrainedBetas != nil:
		s.Schedule, err = diffusion.FromBetas(c.TrainedBetas)
	case c.BetaSchedule == "linear":
		s.Schedule, err = diffusion.Linear(c.NumTrainTimesteps, c.BetaStart, c.BetaEnd)
	case c.BetaSchedule == "scaled_linear":
		s.Schedule, err = diffusion.ScaledLinear(c.NumTrainTimesteps, c.BetaStart, c.BetaEnd)
	default:
		s.Schedule, err = diffusion.SquaredCosine(c.NumTrainTimesteps)
	}
	if err != nil {
		return nil, err
	}
	switch c.class {
	case DDPMScheduler:
		s.Method = diffusion.DDPM{Variance: c.variance()}
	case DDIMScheduler:
		s.Method = diffusion.DDIM{}
	case DPMSolverMultistepScheduler:
		s.Method = diffusion.DPMSolver{}
	}
	switch {
	case c.Thresholding:
		s.Clip = diffusion.Clip{Limit: c.SampleMaxValue, Quantile: c.DynamicThresholdingRatio}
	case bool(c.ClipSample) && c.class != DPMSolverMultistepScheduler:
		s.Clip = diffusion.Clip{Limit: c.ClipSampleRange}
	}
	return s, nil
}

// check refuses what the schedulers of this program don't do.
func (c schedulerConfig) check() error {
	settings := []struct {
		name     string
		found    any
		expected []any
		class    string // that heeds it; empty: all
	}{
		{"_class_name", c.class, []any{DDPMScheduler, DDIMScheduler, DPMSolverMultistepScheduler}, ""},
		{"beta_schedule", c.BetaSchedule, []any{"linear", "scaled_linear", "squaredcos_cap_v2"}, ""},
		{"rescale_betas_zero_snr", c.RescaleBetasZeroSNR, []any{false}, ""},
		{"prediction_type", c.PredictionType, []any{diffusion.Epsilon, diffusion.Sample, diffusion.V}, ""},
		{"timestep_spacing", c.TimestepSpacing, []any{diffusion.Leading, diffusion.Trailing, diffusion.Linspace}, ""},
		{"variance_type", c.variance(), []any{diffusion.FixedSmall, diffusion.FixedSmallLog, diffusion.FixedLarge,
			diffusion.LearnedRange}, DDPMScheduler},
		{"set_alpha_to_one", c.SetAlphaToOne, []any{true}, DDIMScheduler},
		{"solver_order", c.SolverOrder, []any{2}, DPMSolverMultistepScheduler},
		{"solver_type", c.SolverType, []any{"midpoint"}, DPMSolverMultistepScheduler},
		{"algorithm_type", c.AlgorithmType, []any{"dpmsolver++"}, DPMSolverMultistepScheduler},
		{"final_sigmas_type", c.FinalSigmasType, []any{"zero"}, DPMSolverMultistepScheduler},
		{"use_karras_sigmas", c.UseKarrasSigmas, []any{false}, DPMSolverMultistepScheduler},
		{"use_exponential_sigmas", c.UseExponentialSigmas, []any{false}, DPMSolverMultistepScheduler},
		{"use_beta_sigmas", c.UseBetaSigmas, []any{false}, DPMSolverMultistepScheduler},
		{"use_lu_lambdas", c.UseLuLambdas, []any{false}, DPMSolverMultistepScheduler},
		{"use_flow_sigmas", c.UseFlowSigmas, []any{false}, DPMSolverMultistepScheduler},
		{"use_dynamic_shifting", c.UseDynamicShifting, []any{false}, DPMSolverMultistepScheduler},
	}
	for _, s := range settings {
		if s.name == "_class_name" && slices.Contains(scheduled, c.class) {
			continue
		}
		if s.class != "" && s.class != c.class || s.name == "beta_schedule" && c.TrainedBetas != nil {
			continue
		}
		if !slices.Contains(s.expected, s.found) {
			var words []string
			for _, e := range s.expected {
				words = append(words, fmt.Sprint(e))
			}
			return fmt.Errorf("%s is %v, expected %s", s.name, s.found, strings.Join(words, " or "))
		}
	}
	switch {
	case c.NumTrainTimesteps < 1 || c.NumTrainTimesteps > 1<<20:
		return fmt.Errorf("num_train_timesteps is %d, expected 1 to %d", c.NumTrainTimesteps, 1<<20)
	case c.TrainedBetas != nil && len(c.TrainedBetas) != c.NumTrainTimesteps:
		return fmt.Errorf("trained_betas has %d numbers, expected %d as num_train_timesteps says", len(c.TrainedBetas),
			c.NumTrainTimesteps)
	case c.StepsOffset < 0 || c.StepsOffset >= c.NumTrainTimesteps:
		return fmt.Errorf("steps_offset is %d, expected 0 to %d", c.StepsOffset, c.NumTrainTimesteps-1)
	case c.Thresholding && !(c.DynamicThresholdingRatio > 0 && c.DynamicThresholdingRatio <= 1):
		return fmt.Errorf("dynamic_thresholding_ratio is %g, expected a number above 0 and at most 1",
			c.DynamicThresholdingRatio)
	case c.Thresholding && !(c.SampleMaxValue > 0):
		return fmt.Errorf("sample_max_value is %g, expected a positive number", c.SampleMaxValue)
	case !c.Thresholding && bool(c.ClipSample) && c.class != DPMSolverMultistepScheduler && !(c.ClipSampleRange > 0):
		return fmt.Errorf("clip_sample_range is %g, expected a positive number", c.ClipSampleRange)
	}
	return nil
}

// Timesteps returns the timesteps of a walk of n steps, as the file's spacing and offset have them.
func (s *Scheduler) Timesteps(n int) ([]int, error) {
	if err := s.Check(); err != nil {
		return nil, err
	}
	if s.config.class == DPMSolverMultistepScheduler {
		return s.solverTimesteps(n)
	}
	list, err := s.Schedule.Timesteps(n, s.config.TimestepSpacing)
	if err != nil {
		return nil, err
	}
	return s.offset(list)
}

// offset moves timesteps of leading spacing by steps_offset.
func (s *Scheduler) offset(list []int) ([]int, error) {
	if s.config.TimestepSpacing == diffusion.Leading {
		for i := range list {
			list[i] += s.config.StepsOffset
		}
	}
	if list[0] >= s.Schedule.Len() {
		return nil, fmt.Errorf("%d steps with steps_offset %d begin at timestep %d; the schedule ends at %d: take "+
			"fewer steps", len(list), s.config.StepsOffset, list[0], s.Schedule.Len()-1)
	}
	return list, nil
}

// solverTimesteps are DPMSolverMultistepScheduler's: but for trailing ones, those of a walk that has one more, without
// the last; and only those whose λ, half the logarithm of the signal-to-noise ratio, is not below lambda_min_clipped.
func (s *Scheduler) solverTimesteps(n int) ([]int, error) {
	total := s.Schedule.Len()
	if s.config.LambdaMinClipped != nil {
		for total > 1 && s.lambda(total-1) < *s.config.LambdaMinClipped {
			total--
		}
	}
	most := total
	if s.config.TimestepSpacing != diffusion.Trailing {
		most--
	}
	if n < 1 || n > most {
		return nil, fmt.Errorf("the number of steps is %d, expected 1 to %d", n, most)
	}
	var list []int
	switch s.config.TimestepSpacing {
	case diffusion.Linspace:
		stride := float64(total-1) / float64(n)
		for i := n; i > 0; i-- {
			list = append(list, int(math.RoundToEven(float64(i)*stride)))
		}
	case diffusion.Leading:
		for i := n; i > 0; i-- {
			list = append(list, i*(total/(n+1)))
		}
	case diffusion.Trailing:
		stride := float64(s.Schedule.Len()) / float64(n)
		steps := int(math.Ceil(float64(total) / stride))
		stride = float64(total) - (float64(total) - stride) // rounded as numpy.arange rounds it
		for i := range steps {
			// as in [diffusion.Schedule.Timesteps]
			if t := int(math.RoundToEven(float64(total)-float64(i)*stride)) - 1; t >= 0 {
				list = append(list, t)
			}
		}
	}
	return s.offset(list)
}

func (s *Scheduler) lambda(t int) float64 {
	alphaBar := float64(s.Schedule.AlphasCumprod[t])
	return math.Log(alphaBar/(1-alphaBar)) / 2
}

// Sampler returns a sampler that visits the timesteps, from [Scheduler.Timesteps] or [NamedTimesteps]. diffusers'
// DDIMScheduler goes ⌊T/n⌋ back in each of its own n timesteps, also where the next one it visits is another. The named
// ones, which it does not take, DDIM visits one by one.
func (s *Scheduler) Sampler(timesteps []int, noise diffusion.NoiseSource) diffusion.Sampler {
	path := diffusion.Visit(timesteps...)
	if _, ok := s.Method.(diffusion.DDIM); ok {
		if own, err := s.Timesteps(len(timesteps)); err == nil && slices.Equal(own, timesteps) {
			stride := s.Schedule.Len() / len(timesteps)
			for i := range path {
				path[i].To = max(path[i].From-float64(stride), diffusion.Clean)
			}
		}
	}
	return diffusion.Sampler{Process: s.Schedule, Path: path, Method: s.Method, Clip: s.Clip, Noise: noise}
}
