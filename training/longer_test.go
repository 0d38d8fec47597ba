package training

import (
	"bytes"
	"context"
	"errors"
	"math"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/weights"
)

// A run goes on past its planned end with the last learning rate, and may end before it.
func TestLonger(t *testing.T) {
	o, c := setUp(t), tiny(mnistunet.Time)
	c.Epochs = 2
	dir := reference(t, o, c)
	planned, _ := numbers(t, dir)

	o.Length = 1
	if _, err := c.resume(t.Context(), dir, o); err == nil ||
		!strings.Contains(err.Error(),
			"has made 6 steps already, expected at most the 3 of its length: 1 epoch of 3 steps") {
		t.Errorf("shorter than it is: %v", err)
	}
	if c, err := ReadConfig(dir); err != nil || c.Epochs != 2 {
		t.Errorf("a refused length changed the epochs to %d, %v", c.Epochs, err)
	}
	o.Length = 4
	result, err := c.resume(t.Context(), dir, o)
	if err != nil || result.Steps != 12 || result.ModelDir != EpochDir(dir, 4) {
		t.Fatalf("%+v, %v", result, err)
	}
	metrics, err := ReadMetrics(dir)
	if err != nil {
		t.Fatal(err)
	}
	var rates []float64
	var resumed Metric
	for _, m := range metrics {
		switch m.Event {
		case "step":
			rates = append(rates, m.LearningRate)
		case "resume":
			resumed = m
		}
	}
	want := []float64{1e-3, 1e-3, 1e-3, 1e-3 * math.Sqrt(0.1), 1e-3 * math.Sqrt(0.1), 1e-3 * math.Sqrt(0.1), 1e-4, 1e-4,
		1e-4, 1e-4, 1e-4, 1e-4}
	for i, rate := range rates {
		if len(rates) != len(want) || math.Abs(rate-want[i]) > 1e-12 {
			t.Fatalf("learning rates %v, want %v", rates, want)
		}
	}
	if resumed.Step != 6 || resumed.Epochs != 4 ||
		!strings.Contains(resumed.Rate, "over 2 epochs, after each by the same factor, then constant") {
		t.Errorf("the metrics tell %+v", resumed)
	}
	config, err := ReadConfig(dir)
	if err != nil || config.Epochs != 4 || config.Planned != 2 {
		t.Errorf("the configuration tells %+v, %v", config, err)
	}
	if s, err := Summarize(dir, 4); err != nil || len(s.Epochs) != 4 || len(s.Resumed) != 1 {
		t.Errorf("the summary tells %+v, %v", s, err)
	}

	// Without more epochs it is done, and nothing has changed that was learned until then.
	o.Length = 0
	again, err := c.resume(t.Context(), dir, o)
	if err != nil || again != result {
		t.Errorf("%+v, %v", again, err)
	}
	kept := epochWeights(t, dir, 2)
	for name, v := range kept {
		if was := planned["param."+name]; v != nil && !bytes.Equal(weights.FromFloat32([]int{len(v)}, v).Data, was) {
			t.Fatalf("%s of epoch 2 has changed", name)
		}
	}
}

// A run that begins with a model has its values before the first step, and goes on without the model.
func TestFrom(t *testing.T) {
	o, c := setUp(t), tiny(mnistunet.Time)
	model := map[string]weights.Tensor{}
	for _, p := range c.Network.Params() {
		model[p.Name] = p.Tensor(p.Initial(diffusion.NewGenerator(99)))
	}
	o.From = Start{Name: "mine", Values: model}
	want := reference(t, o, c)
	if config, err := ReadConfig(want); err != nil || config.From != "mine" {
		t.Errorf("the run began with %q, %v", config.From, err)
	}
	c.LearningRate = 1e-30
	dir := filepath.Join(t.TempDir(), "still")
	if _, err := c.train(t.Context(), dir, o); err != nil {
		t.Fatal(err)
	}
	for name, v := range epochWeights(t, dir, 4) {
		begun, err := model[name].Float32()
		if err != nil {
			t.Fatal(err)
		}
		for i := range v {
			if d := math.Abs(float64(v[i] - begun[i])); d > 1e-20 && !strings.Contains(name, "running") {
				t.Fatalf("%s did not begin as the model's: a value is %g beside it", name, d)
			}
		}
	}

	c = tiny(mnistunet.Time)
	dir = filepath.Join(t.TempDir(), "run")
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := c.train(ended, dir, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("stopped before the first step: %v", err)
	}
	o.From = Start{}
	if _, err := c.resume(t.Context(), dir, o); err != nil {
		t.Fatal(err)
	}
	mustEqual(t, dir, want)

	delete(model, "out_conv.bias")
	o.From = Start{Name: "mine", Values: model}
	if _, err := c.train(t.Context(), filepath.Join(t.TempDir(), "run"), o); err == nil ||
		!strings.Contains(err.Error(), `mine does not fit the network: expected a tensor "out_conv.bias"`) {
		t.Errorf("a model without a bias: %v", err)
	}
}

// endless is data that have no end: digits with a number that is drawn for each.
type endless struct{ labeled }

func (endless) Describe() Data { return Data{Name: "endless", Checksum: "of the recipe"} }

func (e endless) Fill(b *Batch, indices []int, g *diffusion.Generator) error {
	known := make([]int, len(indices))
	for i, n := range indices {
		known[i] = n * n % e.Len()
	}
	return e.labeled.Fill(b, known, g)
}

// Data without end make steps instead of epochs. With averages, clipping, warm-up and validation a run that is stopped
// anywhere comes to the same numbers.
func TestEndless(t *testing.T) {
	o := setUp(t)
	c := tiny(mnistunet.Class)
	c.Epochs, c.Steps, c.KeepEvery, c.Schedule, c.Warmup, c.Clip, c.EMA = 0, 7, 3, Cosine, 2, 0.5, 0.9
	task := c.task()
	task.Data = endless{labeled{c.images, 10}}
	held := labeled{c.images, 10}
	var kept []Kept
	o.OnKept = func(k Kept) error { kept = append(kept, k); return nil }
	o.Validate = func(ctx context.Context, k Kept) (map[string]float64, error) {
		first, err := k.Loss(ctx, held, 20)
		again, _ := k.Loss(ctx, held, 20)
		if first != again {
			t.Errorf("the held-out loss is %g, then %g", first, again)
		}
		return map[string]float64{"held-out loss": first}, err
	}
	want := filepath.Join(t.TempDir(), "reference")
	result, err := Train(t.Context(), want, c.Config, task, o)
	if err != nil {
		t.Fatal(err)
	}
	if newest, err := ModelDir(want); err != nil || newest != result.ModelDir ||
		newest != filepath.Join(want, "checkpoints", "step-000007") {
		t.Errorf("the newest model is %s, %v, the result's %s", newest, err, result.ModelDir)
	}
	if steps, err := Epochs(want); err != nil || !slices.Equal(steps, []int{3, 6, 7}) {
		t.Errorf("models of steps %v, %v", steps, err)
	}
	if len(kept) != 3 || kept[2].Epoch != 0 || kept[2].Step != 7 ||
		kept[2].Sample != filepath.Join(want, "samples", "step-000007.png") || !(kept[2].Scores["held-out loss"] > 0) {
		t.Errorf("kept %+v", kept)
	}

	// The kept models have the averages.
	tensors, metrics := numbers(t, want)
	f, err := weights.Open(filepath.Join(result.ModelDir, mnistunet.WeightsFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v, err := f.Tensor("out_conv.bias")
	if err != nil || !bytes.Equal(v.Data, tensors["ema.out_conv.bias"]) ||
		bytes.Equal(v.Data, tensors["param.out_conv.bias"]) {
		t.Errorf("the kept model has no averages, %v", err)
	}
	if s, err := f.Tensor("in_block.0.1.running_mean"); err != nil ||
		!bytes.Equal(s.Data, tensors["ema.in_block.0.1.running_mean"]) {
		t.Errorf("the kept model has no averages of running statistics, %v", err)
	}
	var events []string
	for _, m := range metrics {
		events = append(events, m.Event)
		if m.Event == "step" && !(m.Norm > 0) {
			t.Errorf("step %d tells no norm", m.Step)
		}
	}
	period := " step step step interval validation"
	if got := strings.Join(events, " "); got != "run"+period+period+" step interval validation" {
		t.Errorf("the metrics tell %s", got)
	}
	if metrics[1].LearningRate != 5e-4 || metrics[2].LearningRate <= 9e-4 {
		t.Errorf("the warm-up's rates are %g, %g", metrics[1].LearningRate, metrics[2].LearningRate)
	}
	if s, err := Summarize(want, 6); err != nil || len(s.Epochs) != 2 || s.Epochs[1].Step != 6 {
		t.Errorf("the summary tells %+v, %v", s, err)
	}
	if err := Export(want, 6, filepath.Join(t.TempDir(), "out"), weights.F16); err != nil {
		t.Error(err)
	}

	for _, step := range []int{2, 3, 5} {
		dir := filepath.Join(t.TempDir(), "run")
		ctx, cancel := context.WithCancel(t.Context())
		o.OnStep = func(p Progress) {
			if p.RunStep == step {
				cancel()
			}
		}
		if _, err := Train(ctx, dir, c.Config, task, o); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		o.OnStep = nil
		if _, err := Resume(t.Context(), dir, task, o); err != nil {
			t.Fatal(err)
		}
		mustEqual(t, dir, want)
	}

	o.Length = 9
	longer, err := Resume(t.Context(), want, task, o)
	if err != nil || longer.Steps != 9 || filepath.Base(longer.ModelDir) != "step-000009" {
		t.Errorf("%+v, %v", longer, err)
	}
	wrong := c.Config
	wrong.Epochs, wrong.Steps = 4, 0
	if _, err := Train(t.Context(), filepath.Join(t.TempDir(), "run"), wrong, task,
		Options{Backend: o.Backend}); err == nil ||
		!strings.Contains(err.Error(), "epochs is 4, expected none: the data have no end") {
		t.Errorf("epochs of data without end: %v", err)
	}
	if !reflect.DeepEqual(wrong.Data, Data{}) {
		t.Error("the caller's recipe was changed")
	}
}
