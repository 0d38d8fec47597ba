package deepfloyd

import (
	"context"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/golden"
	"github.com/unnoise/unnoise/internal/hubfile"
)

// reference is testdata/schedulers.json, recorded by testdata/record.py.
type reference struct {
	Schedulers []struct {
		Config    string
		As        string // the class made of it
		Eta       float32
		Betas     map[string]float64
		Timesteps map[string][]int
		Steps     int
		X         [][]float32
	}
	Upscaled []struct {
		From, To [2]int
		X, Y     []float32
	}
}

func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// estimate is the exact noise estimate for pixels that are ±0.8 with equal chance, and some variance, as in record.py.
func estimate(s *diffusion.Schedule) diffusion.Denoiser {
	const value = 0.8
	return func(_ context.Context, x diffusion.Images, t float64) (diffusion.Estimate, error) {
		alphaBar := float64(s.AlphasCumprod[int(t)])
		signal, sigma := math.Sqrt(alphaBar), math.Sqrt(1-alphaBar)
		noise, variance := x.Like(), x.Like()
		for i, v := range x.Data {
			v := float64(v)
			noise.Data[i] = float32((v - signal*value*math.Tanh(value*signal*v/(sigma*sigma))) / sigma)
			variance.Data[i] = float32(math.Sin(3 * v))
		}
		return diffusion.Estimate{Value: noise, Variance: &variance}, nil
	}
}

// Schedules, timesteps and walks of diffusers' schedulers, by the files that they saved.
func TestSchedulersEqualDiffusers(t *testing.T) {
	var r reference
	readJSON(t, "testdata/schedulers.json", &r)
	for i, want := range r.Schedulers {
		s, err := ReadScheduler(write(t, hubfile.Scheduler, want.Config))
		if err != nil {
			t.Fatalf("scheduler %d: %v", i, err)
		}
		if want.As != "" {
			if s, err = s.As(want.As); err != nil {
				t.Fatalf("scheduler %d: %v", i, err)
			}
		}
		if ddim, ok := s.Method.(diffusion.DDIM); ok {
			ddim.Eta = want.Eta
			s.Method = ddim
		}
		for at, beta := range want.Betas {
			at, _ := strconv.Atoi(at)
			if got := float64(s.Schedule.Betas[at]); !(math.Abs(got/beta-1) <= 1e-5) {
				t.Errorf("scheduler %d: β_%d is %g, expected %g", i, at, got, beta)
			}
		}
		for steps, list := range want.Timesteps {
			n, _ := strconv.Atoi(steps)
			if got, err := s.Timesteps(n); err != nil || !slices.Equal(got, list) {
				t.Errorf("scheduler %d, %d steps: %d, %v, expected %d", i, n, got, err, list)
			}
		}
		timesteps, err := s.Timesteps(want.Steps)
		if err != nil {
			t.Fatal(err)
		}
		g := diffusion.NewGenerator(uint64(want.Steps))
		x := diffusion.NewImages(1, 3, 3, 3)
		g.Normal(x.Data)
		steps := 0
		for step, err := range s.Sampler(timesteps, g.Noise).Steps(t.Context(), estimate(s.Schedule), x) {
			if err != nil {
				t.Fatalf("scheduler %d: %v", i, err)
			}
			golden.Close(t, step.X.Data, want.X[step.Index], 1e-4,
				"scheduler "+strconv.Itoa(i)+", step "+strconv.Itoa(step.Index))
			steps++
		}
		if steps != len(want.X) {
			t.Errorf("scheduler %d: %d steps, expected %d", i, steps, len(want.X))
		}
	}
}

// Settings that a file does not give are diffusers', of the class that is asked for; clipping and thresholding are each
// class's own.
func TestSchedulerDefaults(t *testing.T) {
	read := func(text string) *Scheduler {
		t.Helper()
		s, err := ReadScheduler(write(t, hubfile.Scheduler, text))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	as := func(s *Scheduler, class string) *Scheduler {
		t.Helper()
		s, err := s.As(class)
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	plain := read(`{"_class_name": "DDPMScheduler"}`)
	schedule := plain.Schedule
	if schedule.Len() != 1000 || schedule.Betas[0] != 1e-4 || schedule.Betas[999] != 0.02 {
		t.Errorf("β goes from %g to %g in %d timesteps", schedule.Betas[0], schedule.Betas[schedule.Len()-1],
			schedule.Len())
	}
	for class, want := range map[string]struct {
		first, last int
		clip        diffusion.Clip
	}{DDPMScheduler: {900, 0, diffusion.Clip{Limit: 1}}, DDIMScheduler: {900, 0, diffusion.Clip{Limit: 1}},
		DPMSolverMultistepScheduler: {999, 100, diffusion.Clip{}}} {
		s := as(plain, class)
		list, err := s.Timesteps(10)
		if err != nil || list[0] != want.first || list[9] != want.last || s.Clip != want.clip {
			t.Errorf("%s: timesteps %d, %v, clip %+v", class, list, err, s.Clip)
		}
	}
	if s := read(`{"_class_name": "DDPMScheduler", "thresholding": true}`); s.Clip != (diffusion.Clip{Limit: 1,
		Quantile: 0.995}) {
		t.Errorf("the usual thresholding is %+v", s.Clip)
	}
	bounded, threshold := read(`{"_class_name": "DDIMScheduler", "clip_sample_range": 0.5}`),
		read(`{"_class_name": "DDPMScheduler", "thresholding": true, "sample_max_value": 1.5, "dynamic_thresholding_ratio": 0.95}`)
	for _, class := range []string{DDPMScheduler, DDIMScheduler, DPMSolverMultistepScheduler} {
		if s := as(threshold, class); s.Clip != (diffusion.Clip{Limit: 1.5, Quantile: 0.95}) {
			t.Errorf("%s thresholds by %+v", class, s.Clip)
		}
		want := diffusion.Clip{Limit: 0.5}
		if class == DPMSolverMultistepScheduler {
			want = diffusion.Clip{}
		}
		if s := as(bounded, class); s.Clip != want {
			t.Errorf("%s clips by %+v", class, s.Clip)
		}
	}

	if s := read(`{"_class_name": "DDPMScheduler", "prediction_type": "v_prediction"}`); s.Prediction() != diffusion.V || plain.Prediction() != diffusion.Epsilon {
		t.Errorf("the networks predict %s and %s", s.Prediction(), plain.Prediction())
	}

	// DDIM strides over its own timesteps as diffusers does, and visits published ones one by one.
	ddim := as(plain, DDIMScheduler)
	own, err := ddim.Timesteps(50)
	if err != nil {
		t.Fatal(err)
	}
	published, err := NamedTimesteps("smart50")
	if err != nil {
		t.Fatal(err)
	}
	for stride, list := range map[int][]int{20: own, 0: published} {
		for i, m := range ddim.Sampler(list, nil).Path {
			want := max(list[i]-stride, diffusion.Clean)
			if stride == 0 {
				if want = diffusion.Clean; i+1 < len(list) {
					want = list[i+1]
				}
			}
			if int(m.From) != list[i] || int(m.To) != want {
				t.Errorf("of timesteps %d DDIM's step %d goes from %g to %g, expected %d to %d", list, i, m.From, m.To,
					list[i], want)
			}
		}
	}
}

// The small image is noised by the schedule that is for it.
func TestNoisingSchedule(t *testing.T) {
	cosine, err := diffusion.SquaredCosine(1000)
	if err != nil {
		t.Fatal(err)
	}
	linear, err := diffusion.Linear(1000, 1e-4, 0.02)
	if err != nil {
		t.Fatal(err)
	}
	s := &Stage{Scheduler: &Scheduler{Schedule: cosine}, Noising: &Scheduler{Schedule: linear}}
	small, noise := diffusion.NewImages(1, 3, 4, 4), diffusion.NewImages(1, 3, 8, 8)
	g := diffusion.NewGenerator(1)
	g.Normal(small.Data)
	g.Normal(noise.Data)
	got, err := s.Beside(small, noise, 500)
	if err != nil {
		t.Fatal(err)
	}
	large, err := Upscale(small, 8, 8)
	if err != nil {
		t.Fatal(err)
	}
	if large, err = linear.AddNoise(large, noise, 500); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(got.Data, large.Data) {
		t.Error("the small image is noised by another schedule")
	}
}

// However many steps, timesteps fall and end at 0 or above.
func TestTrailingTimesteps(t *testing.T) {
	for _, class := range []string{DDPMScheduler, DDIMScheduler, DPMSolverMultistepScheduler} {
		s, err := ReadScheduler(write(t, hubfile.Scheduler,
			`{"_class_name": "`+class+`", "timestep_spacing": "trailing"}`))
		if err != nil {
			t.Fatal(err)
		}
		for n := 1; n <= 1000; n++ {
			list, err := s.Timesteps(n)
			if err != nil || len(list) != n || list[0] != 999 || list[n-1] < 0 {
				t.Fatalf("%s, %d steps: %d, %v", class, n, list, err)
			}
			for i, at := range list[1:] {
				if at >= list[i] {
					t.Fatalf("%s, %d steps: %d after %d", class, n, at, list[i])
				}
			}
		}
	}
}

// A scheduler of another class gives its noise schedule to the one that replaces it.
func TestSchedulersOfOthers(t *testing.T) {
	const settings = `"beta_schedule": "squaredcos_cap_v2", "thresholding": true, "dynamic_thresholding_ratio": 0.95, "sample_max_value": 1.5, "variance_type": "learned_range",
		"solver_type": "bh2", "algorithm_type": "deis", "predict_x0": true, "sigma_max": null, "no_such_setting": null`
	for _, class := range scheduled {
		dir := copyStage(t, "if_tiny", `"DDPMScheduler"`, `"`+class+`"`)
		path := filepath.Join(dir, "scheduler", hubfile.Scheduler)
		if err := os.WriteFile(path, []byte(`{"_class_name": "`+class+`", `+settings+`}`), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := ReadScheduler(path); err == nil || !strings.Contains(err.Error(), "_class_name is "+class) {
			t.Errorf("%s by itself: %v", class, err)
		}
		index, err := ReadIndex(dir)
		if err == nil {
			err = index.check(true)
		}
		if err != nil {
			t.Errorf("%s in the index: %v", class, err)
			continue
		}
		s, err := openScheduler(dir, "scheduler", index.Scheduler)
		if err != nil {
			t.Errorf("%s: %v", class, err)
			continue
		}
		if _, err := s.Timesteps(10); err == nil || !strings.Contains(err.Error(),
			"choose one of these as the sampler") {
			t.Errorf("%s samples: %v", class, err)
		}
		for _, own := range []string{DDPMScheduler, DDIMScheduler, DPMSolverMultistepScheduler} {
			got, err := s.As(own)
			if err != nil {
				t.Errorf("%s as %s: %v", class, own, err)
				continue
			}
			want, err := diffusion.SquaredCosine(1000)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got.Schedule.Betas, want.Betas) ||
				got.Clip != (diffusion.Clip{Limit: 1.5, Quantile: 0.95}) || got.Method == nil {
				t.Errorf("%s as %s: %+v", class, own, got)
			}
		}
	}
	for name, text := range map[string]string{
		"Euler's keys": `{"_class_name": "DDPMScheduler", "sigma_max": null, "timestep_type": "discrete", "interpolation_type": "linear", "final_sigmas_type": "zero"}`,
		"null":         `{"_class_name": "DDPMScheduler", "anything": null}`,
	} {
		if _, err := ReadScheduler(write(t, hubfile.Scheduler, text)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSchedulersRefused(t *testing.T) {
	for _, c := range []struct{ class, settings, want string }{
		{"EulerDiscreteScheduler", ``, "_class_name is EulerDiscreteScheduler, expected DDPMScheduler or"},
		{DDPMScheduler, `"beta_schedule": "sigmoid"`,
			"beta_schedule is sigmoid, expected linear or scaled_linear or squaredcos_cap_v2"},
		{DDPMScheduler, `"rescale_betas_zero_snr": true`, "rescale_betas_zero_snr is true"},
		{DDPMScheduler, `"prediction_type": "flow_prediction"`,
			"prediction_type is flow_prediction, expected epsilon or sample or v_prediction"},
		{DDPMScheduler, `"variance_type": "learned"`, "variance_type is learned"},
		{DDPMScheduler, `"timestep_spacing": "karras"`, "timestep_spacing is karras"},
		{DDPMScheduler, `"steps_offset": 1000`, "steps_offset is 1000, expected 0 to 999"},
		{DDPMScheduler, `"num_train_timesteps": 0`, "num_train_timesteps is 0"},
		{DDPMScheduler, `"trained_betas": [0.1, 0.2]`, "trained_betas has 2 numbers, expected 1000"},
		{DDPMScheduler, `"thresholding": true, "sample_max_value": 0`, "sample_max_value is 0"},
		{DDPMScheduler, `"thresholding": true, "dynamic_thresholding_ratio": 2`, "dynamic_thresholding_ratio is 2"},
		{DDPMScheduler, `"clip_sample_range": -1`, "clip_sample_range is -1"},
		{DDPMScheduler, `"beta_end": 2`, "ᾱ at timestep 285 is 0"},
		{DDPMScheduler, `"snr": 5`, `unknown field "snr"`},
		{DDPMScheduler, `"beta_end": "small"`, "beta_end"},
		{DDPMScheduler, `"thresholding": null`, "thresholding is null, expected a bool"},
		{DDPMScheduler, `"beta_end": null`, "beta_end is null, expected a float64"},
		{DDPMScheduler, `"beta_schedule": null`, "beta_schedule is null, expected a string"},
		{DDIMScheduler, `"set_alpha_to_one": false`, "set_alpha_to_one is false"},
		{DPMSolverMultistepScheduler, `"solver_order": 3`, "solver_order is 3, expected 2"},
		{DPMSolverMultistepScheduler, `"algorithm_type": "sde-dpmsolver++"`, "algorithm_type is sde-dpmsolver++"},
		{DPMSolverMultistepScheduler, `"use_karras_sigmas": true`, "use_karras_sigmas is true"},
		{DPMSolverMultistepScheduler, `"final_sigmas_type": "sigma_min"`, "final_sigmas_type is sigma_min"},
	} {
		text := `{"_class_name": "` + c.class + `", "_diffusers_version": "0"`
		if c.settings != "" {
			text += ", " + c.settings
		}
		path := write(t, hubfile.Scheduler, text+"}")
		if _, err := ReadScheduler(path); err == nil || !strings.Contains(err.Error(), c.want) ||
			!strings.Contains(err.Error(), path) {
			t.Errorf("%s with %s: %v; want the file's name and %q", c.class, c.settings, err, c.want)
		}
	}
	if _, err := ReadScheduler(write(t, hubfile.Scheduler, "{")); err == nil {
		t.Error("half a file was accepted")
	}
	if _, err := ReadScheduler(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no file was accepted")
	}

	// None that Python asks for its truth, and that DPM-Solver saves.
	none, err := ReadScheduler(write(t, hubfile.Scheduler,
		`{"_class_name": "DPMSolverMultistepScheduler", "clip_sample": null, "variance_type": null, "trained_betas": null}`))
	if err != nil {
		t.Fatal(err)
	}
	if none, err = none.As(DDPMScheduler); err != nil || none.Clip != (diffusion.Clip{}) ||
		none.Method != (diffusion.DDPM{Variance: diffusion.FixedSmall}) {
		t.Errorf("of nulls: %+v, %v", none, err)
	}

	// Settings that another class heeds are let be.
	s, err := ReadScheduler(write(t, hubfile.Scheduler,
		`{"_class_name": "DDIMScheduler", "steps_offset": 1, "variance_type": "learned"}`))
	if err != nil {
		t.Fatal(err)
	}
	for n, want := range map[int]string{0: "expected 1 to 1000",
		1000: "begin at timestep 1000; the schedule ends at 999"} {
		if _, err := s.Timesteps(n); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%d steps: %v, want %q", n, err, want)
		}
	}
	for spacing, most := range map[string]int{"linspace": 999, "leading": 999, "trailing": 1000} {
		s, err := ReadScheduler(write(t, hubfile.Scheduler,
			`{"_class_name": "DPMSolverMultistepScheduler", "timestep_spacing": "`+spacing+`"}`))
		if err != nil {
			t.Fatal(err)
		}
		list, err := s.Timesteps(most)
		if err != nil || !slices.IsSortedFunc(list, func(a, b int) int { return b - a }) ||
			len(slices.Compact(list)) != most {
			t.Errorf("%s, %d steps: %d, %v", spacing, most, list, err)
		}
		if _, err := s.Timesteps(most + 1); err == nil {
			t.Errorf("%s takes %d steps", spacing, most+1)
		}
	}
}

func TestNamedTimesteps(t *testing.T) {
	for _, name := range TimestepNames() {
		list, err := NamedTimesteps(name)
		if err != nil {
			t.Fatal(err)
		}
		if want := strings.TrimLeft(name, "abcdefghijklmnopqrstuvwxyz"); strconv.Itoa(len(list)) != want ||
			list[0] != 999 || list[len(list)-1] != 0 {
			t.Errorf("%s: %d timesteps from %d to %d", name, len(list), list[0], list[len(list)-1])
		}
		for i := range list[1:] {
			if list[i+1] >= list[i] {
				t.Errorf("%s: %d is followed by %d", name, list[i], list[i+1])
			}
		}
	}
	if _, err := NamedTimesteps("fast28"); err == nil || !strings.Contains(err.Error(), "smart185") {
		t.Errorf("fast28: %v", err)
	}
}

func TestUpscaleEqualsPyTorch(t *testing.T) {
	var r reference
	readJSON(t, "testdata/schedulers.json", &r)
	for _, u := range r.Upscaled {
		x := diffusion.Images{N: 1, C: 2, H: u.From[0], W: u.From[1], Data: u.X}
		y, err := Upscale(x, u.To[0], u.To[1])
		if err != nil {
			t.Fatal(err)
		}
		golden.Close(t, y.Data, u.Y, 1e-6, x.Shape())
	}
	if _, err := Upscale(diffusion.NewImages(1, 1, 2, 2), 0, 4); err == nil {
		t.Error("a height of 0 was accepted")
	}
}
