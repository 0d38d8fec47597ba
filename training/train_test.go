package training

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/gobackend"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/weights"
)

// recipe is a run that trains a UNet for digits on images.
type recipe struct {
	Config
	Network mnistunet.Config
	images  *dataset.Labeled
}

// tiny is a run of 4 epochs of 3 steps, the last of which has fewer images.
func tiny(condition mnistunet.Condition) recipe {
	r := recipe{Config{Batch: 16, Epochs: 4, LearningRate: 1e-3, Decay: 0.1, DType: "f32", Seed: 7},
		mnistunet.Default(condition), digits()}
	r.Network.Dim = 4
	return r
}

// tinyFlow is the same for flow matching.
func tinyFlow(condition mnistunet.Condition) recipe {
	r := tiny(condition)
	r.Network = r.Network.ForFlow()
	return r
}

func digits() *dataset.Labeled {
	data, _, err := dataset.MNIST()
	if err != nil {
		panic(err)
	}
	return data.Head(38)
}

func (r recipe) task() Task {
	t := Task{Network: r.Network, Data: labeled{r.images, r.Network.Classes}, Objective: Denoising{r.Network.Sigma}}
	switch {
	case r.Network.Objective == mnistunet.Flow:
		t.Objective = Flow{}
	case r.Network.Condition != mnistunet.None:
		s, err := diffusion.Linear(r.Network.Timesteps, r.Network.BetaStart, r.Network.BetaEnd)
		if err != nil {
			panic(err)
		}
		t.Objective = Diffusion{Schedule: s, Prediction: diffusion.Epsilon, Relative: true}
	}
	return t
}

func (r recipe) train(ctx context.Context, dir string, o Options) (Result, error) {
	return Train(ctx, dir, r.Config, r.task(), o)
}

func (r recipe) resume(ctx context.Context, dir string, o Options) (Result, error) {
	return Resume(ctx, dir, r.task(), o)
}

// labeled is a set's images, and their classes one-hot if there are classes.
type labeled struct {
	*dataset.Labeled
	classes int
}

func (l labeled) Describe() Data { return Data{Name: "MNIST", Images: l.Len(), Checksum: l.Checksum()} }

func (l labeled) Fill(b *Batch, indices []int, _ *diffusion.Generator) error {
	labels := make([]int32, len(indices))
	l.Batch(indices, b.Images(len(indices), mnistunet.Size, mnistunet.Size, 1), labels)
	if l.classes > 0 {
		class := b.Float32("class", l.classes)
		clear(class)
		for i, label := range labels {
			class[i*l.classes+int(label)] = 1
		}
	}
	return nil
}

func setUp(t *testing.T) Options {
	t.Helper()
	b, _, err := engine.New(engine.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Finalize)
	return Options{Backend: b}
}

// numbers are the parts of a run that must be equal after every history: the checkpoint's tensors and the steps'
// metrics.
func numbers(t *testing.T, dir string) (tensors map[string][]byte, steps []Metric) {
	t.Helper()
	f, err := weights.Open(filepath.Join(dir, checkpointsDir, latestFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tensors = map[string][]byte{}
	for _, name := range f.Names() {
		x, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		tensors[name] = bytes.Clone(x.Data)
	}
	all, err := ReadMetrics(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		if m.Event != "resume" { // the only trace of a stop
			m.Seconds, m.ImagesPerSecond = 0, 0
			steps = append(steps, m)
		}
	}
	return tensors, steps
}

func mustEqual(t *testing.T, got, want string) {
	t.Helper()
	gotTensors, gotSteps := numbers(t, got)
	wantTensors, wantSteps := numbers(t, want)
	if !reflect.DeepEqual(gotSteps, wantSteps) {
		t.Errorf("the metrics differ:\n%v\n%v", gotSteps, wantSteps)
	}
	if len(gotTensors) != len(wantTensors) {
		t.Errorf("got %d tensors, want %d", len(gotTensors), len(wantTensors))
	}
	for name, v := range wantTensors {
		if !bytes.Equal(gotTensors[name], v) {
			t.Errorf("%s differs", name)
		}
	}
}

func reference(t *testing.T, o Options, c recipe) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "reference")
	if _, err := c.train(t.Context(), dir, o); err != nil {
		t.Fatal(err)
	}
	return dir
}

// stopAt begins a run that is stopped after a step.
func stopAt(t *testing.T, dir string, c recipe, o Options, step int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.OnStep = func(p Progress) {
		if p.RunStep == step {
			cancel()
		}
	}
	_, err := c.train(ctx, dir, o)
	stopped, ok := errors.AsType[*StoppedError](err)
	if !ok || stopped.Step != step || !errors.Is(err, context.Canceled) {
		t.Fatalf("stopped after step %d: %v", step, err)
	}
}

func TestTrain(t *testing.T) {
	for name, c := range map[string]recipe{
		"none": tiny(mnistunet.None), "time": tiny(mnistunet.Time), "class": tiny(mnistunet.Class),
		"flow time": tinyFlow(mnistunet.Time), "flow class": tinyFlow(mnistunet.Class),
	} {
		t.Run(name, func(t *testing.T) {
			o := setUp(t)
			var steps, epochs int
			o.OnStep = func(p Progress) {
				steps++
				if p.RunStep != steps || p.RunSteps != 12 || p.Step != (steps-1)%3+1 || p.Steps != 3 ||
					p.Epoch != (steps-1)/3+1 || p.Epochs != 4 || !(p.Loss > 0) || !(p.ImagesPerSecond > 0) {
					t.Errorf("step %d: %+v", steps, p)
				}
			}
			o.OnKept = func(k Kept) error {
				epochs++
				if k.Epoch != epochs || k.ModelDir != EpochDir(k.Dir, epochs) || !(k.MeanLoss > 0) {
					t.Errorf("epoch %d: %+v", epochs, k)
				}
				return nil
			}
			dir := filepath.Join(t.TempDir(), "a", "run")
			result, err := c.train(t.Context(), dir, o)
			if err != nil {
				t.Fatal(err)
			}
			if steps != 12 || epochs != 4 || result.Steps != 12 {
				t.Errorf("%d steps and %d epochs, result %+v", steps, epochs, result)
			}
			saved, err := Epochs(dir)
			if err != nil || !slices.Equal(saved, []int{1, 2, 3, 4}) {
				t.Errorf("models of epochs %v, %v", saved, err)
			}
			model, err := ModelDir(dir)
			if err != nil || model != result.ModelDir {
				t.Errorf("the model is in %q, %v; want %q", model, err, result.ModelDir)
			}
			if again, err := ModelDir(model); err != nil || again != model {
				t.Errorf("the model's folder gives %q, %v", again, err)
			}
			m, err := mnistunet.Load(o.Backend, model, 0)
			if err == nil {
				m.Close()
				t.Error("loaded with no dtype")
			}
			all, err := ReadMetrics(dir)
			if err != nil {
				t.Fatal(err)
			}
			if len(all) != 1+12+4 || all[0].Event != "run" || all[4].Event != "epoch" || all[4].Epoch != 1 {
				t.Errorf("metrics: %+v", all)
			}
			if first, last := all[4].MeanLoss, all[len(all)-1].MeanLoss; !(last < first) {
				t.Errorf("the loss did not fall: %g to %g", first, last)
			}
			written, err := ReadConfig(dir)
			if err != nil || written.Batch != 16 || written.Threads != 2 || written.Data.Images != 38 ||
				written.Seed != 7 {
				t.Errorf("config %+v, %v", written, err)
			}
		})
	}
}

func TestLearningRate(t *testing.T) {
	of := func(change func(*Config)) Config {
		c := Config{Data: Data{Images: 1000}, Batch: 10, Epochs: 20, LearningRate: 1e-3, Decay: 0.1}
		change(&c)
		return c
	}
	byEpoch := of(func(*Config) {})
	byStep := of(func(c *Config) { c.DecaySteps = true })
	linear := of(func(c *Config) { c.Schedule = Linear })
	cosine := of(func(c *Config) { c.Schedule, c.Decay, c.Warmup = Cosine, 0, 4 })
	longer := of(func(c *Config) { *c = c.WithLength(30) })
	endless := of(func(c *Config) { c.Data.Images, c.Epochs, c.Steps, c.KeepEvery = 0, 0, 2000, 100 })
	for _, x := range []struct {
		config Config
		step   int
		want   float64
		words  string
	}{
		{byEpoch, 0, 1e-3, ""}, {byEpoch, 99, 1e-3, ""}, {byEpoch, 150, 1e-3 * math.Pow(0.1, 1./20), ""},
		{byEpoch, 2000, 1e-4, "0.001 falling to 0.0001 over 20 epochs, after each by the same factor"},
		{byStep, 50, 1e-3 * math.Pow(0.1, 0.5/20), ""},
		{byStep, 1000, 1e-3 * math.Sqrt(0.1), "after each step by the same factor"},
		{linear, 0, 1e-3, ""}, {linear, 1000, 5.5e-4, "after each step by as much"}, {linear, 2000, 1e-4, ""},
		{cosine, 0, 2.5e-4, ""}, {cosine, 2000, 0, ""},
		{cosine, 1000, 5e-4, "rising over 4 steps to 0.001 falling to 0 over 20 epochs, as half a cosine"},
		{longer, 150, byEpoch.rate(150), ""}, {longer, 1999, byEpoch.rate(1999), ""},
		{longer, 2500, 1e-4, "over 20 epochs, after each by the same factor, then constant"},
		{endless, 1000, byStep.rate(1000), "over 2000 steps, after each step by the same factor"},
	} {
		if got := x.config.rate(x.step); !(math.Abs(got-x.want) <= 1e-9) ||
			!strings.Contains(x.config.Rate(), x.words) {
			t.Errorf("step %d: %g, want %g, in words %q", x.step, got, x.want, x.config.Rate())
		}
	}

	// Steps are made with it: where it falls to almost nothing, the second epoch learns almost nothing. Means are of
	// the steps.
	o := setUp(t)
	c := tiny(mnistunet.None)
	c.Epochs, c.Decay = 2, 1e-12
	dir := filepath.Join(t.TempDir(), "run")
	if _, err := c.train(t.Context(), dir, o); err != nil {
		t.Fatal(err)
	}
	first, second := epochWeights(t, dir, 1), epochWeights(t, dir, 2)
	for name, v := range first {
		if strings.Contains(name, "running") || strings.Contains(name, "num_batches") {
			continue
		}
		for i := range v {
			if d := math.Abs(float64(second[name][i] - v[i])); !(d < 1e-5) {
				t.Fatalf("%s moved by %g", name, d)
			}
		}
	}
	metrics, err := ReadMetrics(dir)
	if err != nil {
		t.Fatal(err)
	}
	sum := 0.0
	for _, m := range metrics {
		switch m.Event {
		case "step":
			sum += float64(m.Loss)
		case "epoch":
			if d := math.Abs(m.MeanLoss - sum/3); !(d < 1e-6) {
				t.Errorf("epoch %d: the mean loss is %g, that of its steps %g", m.Epoch, m.MeanLoss, sum/3)
			}
			sum = 0
		}
	}
}

// epochWeights are the values of an epoch's model.
func epochWeights(t *testing.T, dir string, epoch int) map[string][]float32 {
	t.Helper()
	f, err := weights.Open(filepath.Join(EpochDir(dir, epoch), mnistunet.WeightsFile))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	values := map[string][]float32{}
	for _, name := range f.Names() {
		x, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		if values[name], err = x.Float32(); err != nil && x.DType != weights.I64 {
			t.Fatal(err)
		}
	}
	return values
}

// The newest epoch is that of the greatest number, not of the last name.
func TestManyEpochs(t *testing.T) {
	dir := t.TempDir()
	for _, epoch := range []int{9, 99, 100} {
		if err := os.MkdirAll(EpochDir(dir, epoch), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{mnistunet.ConfigFile, mnistunet.WeightsFile} {
			if err := os.WriteFile(filepath.Join(EpochDir(dir, epoch), name), nil, 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
	if epochs, err := Epochs(dir); err != nil || !slices.Equal(epochs, []int{9, 99, 100}) {
		t.Errorf("epochs %v, %v", epochs, err)
	}
	if newest, err := ModelDir(dir); err != nil || newest != EpochDir(dir, 100) {
		t.Errorf("the newest is %s, %v", newest, err)
	}
}

// A crash costs no more than what CheckpointEvery says.
func TestCheckpointEvery(t *testing.T) {
	o, c := setUp(t), tiny(mnistunet.None)
	c.Epochs = 1
	o.CheckpointEvery = time.Nanosecond
	dir := filepath.Join(t.TempDir(), "run")
	kept := -1
	o.OnStep = func(p Progress) {
		if p.RunStep != 2 {
			return
		}
		f, err := weights.Open(filepath.Join(dir, checkpointsDir, latestFile))
		if err != nil {
			t.Error(err)
			return
		}
		defer f.Close()
		n, err := readCounters(f)
		if err != nil {
			t.Error(err)
		}
		kept = n.step
	}
	if _, err := c.train(t.Context(), dir, o); err != nil {
		t.Fatal(err)
	}
	if kept != 1 {
		t.Errorf("in the second step the checkpoint is of step %d, want 1", kept)
	}
}

func TestStopAndResume(t *testing.T) {
	narrow := tiny(mnistunet.Class)
	narrow.DType, narrow.Network.Dim = "bf16", 16
	for name, x := range map[string]struct {
		config recipe
		stops  []int
	}{
		"noise": {tiny(mnistunet.Class), []int{1, 3, 4, 12}}, "flow": {tinyFlow(mnistunet.Class), []int{4}},
		"bfloat16": {narrow, []int{2, 4}},
	} {
		t.Run(name, func(t *testing.T) {
			o, c := setUp(t), x.config
			if d, err := engine.DType("auto", ""); c.DType == "bf16" && (err != nil || d != dtypes.BFloat16) {
				t.Skip("this CPU has no units for bfloat16")
			}
			want := reference(t, o, c)
			for _, stopAfter := range x.stops {
				dir := filepath.Join(t.TempDir(), "run")
				o.Draw = func(ctx context.Context, _ Kept) error { return ctx.Err() }
				stopAt(t, dir, c, o, stopAfter)
				_, err := c.train(t.Context(), dir, o)
				if _, ok := errors.AsType[*ExistsError](err); !ok {
					t.Errorf("a second run in the folder: %v", err)
				}
				if _, err := c.resume(t.Context(), dir, o); err != nil {
					t.Fatal(err)
				}
				mustEqual(t, dir, want)
				s, err := Summarize(dir, 4)
				if err != nil {
					t.Fatal(err)
				}
				if stopAfter == 12 && s.Resumed != nil || stopAfter != 12 &&
					(len(s.Resumed) != 1 || s.Resumed[0].Step != stopAfter || s.Resumed[0].Threads != 2) {
					t.Errorf("stopped after step %d, the summary tells of %+v", stopAfter, s.Resumed)
				}
			}
		})
	}
}

func TestCheckpointBetweenEpochs(t *testing.T) {
	o := setUp(t)
	c := tiny(mnistunet.Time)
	want := reference(t, o, c)
	dir := filepath.Join(t.TempDir(), "run")
	o.CheckpointEvery = time.Nanosecond
	broken := errors.New("the printer is on fire")
	calls := 0
	o.OnKept = func(Kept) error {
		if calls++; calls == 2 {
			return broken
		}
		return nil
	}
	if _, err := c.train(t.Context(), dir, o); !errors.Is(err, broken) {
		t.Fatalf("OnKept's error: %v", err)
	}
	if _, err := c.resume(t.Context(), dir, o); err != nil {
		t.Fatal(err)
	}
	if calls != 5 {
		t.Errorf("OnKept was called %d times, want 5: 4 epochs, the second twice", calls)
	}
	mustEqual(t, dir, want)
}

func TestDamagedCheckpoint(t *testing.T) {
	o := setUp(t)
	c := tiny(mnistunet.None)
	want := reference(t, o, c)
	for what, damage := range map[string]func([]byte) []byte{
		"cut":     func(b []byte) []byte { return b[:len(b)/2] },
		"empty":   func([]byte) []byte { return nil },
		"flipped": func(b []byte) []byte { b[len(b)-100] ^= 1; return b },
		"header":  func(b []byte) []byte { b[0] ^= 0x40; return b },
	} {
		t.Run(what, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "run")
			stopAt(t, dir, c, o, 8)
			spoil := func(name string) {
				path := filepath.Join(dir, checkpointsDir, name)
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(path, damage(b), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			spoil(latestFile)
			both := filepath.Join(t.TempDir(), "both")
			if err := os.CopyFS(both, os.DirFS(dir)); err != nil {
				t.Fatal(err)
			}

			// The one before it is sound.
			var warning string
			o.Warn = func(s string) { warning = s }
			if _, err := c.resume(t.Context(), dir, o); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(warning, latestFile) || !strings.Contains(warning, "step 6") {
				t.Errorf("the warning is %q", warning)
			}
			mustEqual(t, dir, want)

			// None is.
			dir = both
			spoil(previousFile)
			_, err := c.resume(t.Context(), dir, o)
			if err == nil || !strings.Contains(err.Error(), latestFile) ||
				!strings.Contains(err.Error(), previousFile) {
				t.Errorf("two damaged checkpoints: %v", err)
			}
			if _, err := ModelDir(dir); err != nil {
				t.Errorf("the model of the epoch before is lost: %v", err)
			}
		})
	}
}

// Numbers that metrics.jsonl can't hold would stop the run at its next step.
func TestDamagedCounters(t *testing.T) {
	path := filepath.Join(t.TempDir(), latestFile)
	for name, value := range map[string]string{"": "", "loss": "NaN", "seconds": "Inf", "step": "2", "metrics": "1e3"} {
		m := map[string]string{"version": strconv.Itoa(version), "step": "3", "loss": "0.5", "seconds": "2",
			"metrics": "100", "checksum": checksum(nil)}
		m["counters"] = counterSum(m)
		if name != "" {
			m[name] = value
		}
		if err := weights.Write(path, nil, m); err != nil {
			t.Fatal(err)
		}
		f, err := weights.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		if _, err := readCounters(f); name == "" && err != nil || name != "" &&
			(err == nil || !strings.Contains(err.Error(), "counters are damaged")) {
			t.Errorf("%s %q: %v", name, value, err)
		}
	}
}

// TestNoCheckpoint takes a run's checkpoints away: it must not begin again over the models of its epochs.
func TestNoCheckpoint(t *testing.T) {
	o, c := setUp(t), tiny(mnistunet.Time)
	dir := reference(t, o, c)
	before, err := os.ReadFile(MetricsPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{latestFile, previousFile} {
		if err := os.Remove(filepath.Join(dir, checkpointsDir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := c.resume(t.Context(), dir, o); err == nil || !strings.Contains(err.Error(), latestFile+" is gone") {
		t.Errorf("resumed without checkpoints: %v", err)
	}
	if after, err := os.ReadFile(MetricsPath(dir)); err != nil || !bytes.Equal(after, before) {
		t.Errorf("the metrics were changed, %v", err)
	}

	// What the system refuses to open is not damaged.
	latest := filepath.Join(dir, checkpointsDir, latestFile)
	if err := os.Mkdir(latest, 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := c.resume(t.Context(), dir, o); err == nil || !strings.Contains(err.Error(), latest) ||
		strings.Contains(err.Error(), "damaged") {
		t.Errorf("a folder in the checkpoint's place: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	o := setUp(t)
	c := tiny(mnistunet.Class)
	expect := func(what string, err error, words ...string) {
		t.Helper()
		if err == nil {
			t.Errorf("%s: no error", what)
			return
		}
		for _, w := range words {
			if !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %q does not tell %q", what, err, w)
			}
		}
	}
	dir := filepath.Join(t.TempDir(), "run")
	wrong := c
	wrong.Batch = 0
	_, err := wrong.train(t.Context(), dir, o)
	expect("batch 0", err, "batch is 0")
	_, err = c.train(t.Context(), dir, Options{})
	expect("no backend", err, "needs a backend")
	_, err = Train(t.Context(), dir, c.Config, Task{Network: c.Network}, o)
	expect("no data", err, "needs a network, data and an objective")
	_, err = c.train(t.Context(), filepath.Join(t.TempDir(), "\x00"), o)
	expect("an impossible folder", err)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = c.train(t.Context(), filepath.Join(file, "run"), o)
	expect("a folder in a file", err, file)
	model := t.TempDir()
	for _, name := range []string{configFile, mnistunet.WeightsFile} {
		if err := os.WriteFile(filepath.Join(model, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, err = c.train(t.Context(), model, o)
	expect("a model's folder", err, "holds a model", "another folder")
	_, err = c.resume(t.Context(), t.TempDir(), o)
	expect("no run", err, "not a training run")
	if _, err := os.Stat(dir); err == nil {
		t.Error("a refused run left a folder")
	}

	done := reference(t, o, c)
	other := c
	other.images = c.images.Head(20)
	_, err = other.resume(t.Context(), done, o)
	expect("other images", err, "38 images", "20 images")
	larger := c
	larger.Network.Dim = 6
	_, err = larger.resume(t.Context(), done, o)
	expect("another network", err, "another network", `"dim":4`, `"dim":6`)

	config, err := ReadConfig(done)
	if err != nil {
		t.Fatal(err)
	}
	config.Network = []byte(strings.Replace(string(config.Network), `"dim": 4`, `"dim": 6`, 1))
	if err := config.write(done); err != nil {
		t.Fatal(err)
	}
	_, err = larger.resume(t.Context(), done, o)
	expect("another network's configuration", err, "shape", latestFile)
	if err := os.WriteFile(filepath.Join(done, configFile), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = c.resume(t.Context(), done, o)
	expect("a damaged configuration", err, configFile)
}

// A run that can't make its first step leaves the folder as it was.
func TestFailedStart(t *testing.T) {
	o := setUp(t)
	slow, err := gobackend.New("")
	if err != nil {
		t.Fatal(err)
	}
	defer slow.Finalize()
	dir := t.TempDir()
	notes := filepath.Join(dir, "notes.txt")
	if err := os.WriteFile(notes, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := tiny(mnistunet.None).train(t.Context(), dir, Options{Backend: slow}); err == nil {
		t.Fatal("GoMLX's backend has batch normalization's training by now")
	}
	if IsRun(dir) || !exists(notes) {
		t.Error("what is left is called a run, or too little is left")
	}
	if _, err := tiny(mnistunet.None).train(t.Context(), dir, o); err != nil {
		t.Error(err)
	}
}

// Another run in the folder's place is left alone.
func TestReplacedFolder(t *testing.T) {
	o := setUp(t)
	dir := filepath.Join(t.TempDir(), "run")
	o.OnStep = func(p Progress) {
		if p.RunStep != 1 {
			return
		}
		if err := os.Rename(dir, dir+"-moved"); err != nil {
			t.Fatal(err)
		}
		l, err := create(dir)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(l.release)
	}
	if _, err := tiny(mnistunet.None).train(t.Context(), dir, o); err == nil ||
		!strings.Contains(err.Error(), dir+" was moved or removed") {
		t.Errorf("a run whose folder was replaced: %v", err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) != 1 || left[0].Name() != lockFile {
		t.Errorf("it wrote %v, %v", left, err)
	}
}

// Metrics that have lost their end go on with whole lines.
func TestShortMetrics(t *testing.T) {
	o := setUp(t)
	c := tiny(mnistunet.None)
	dir := filepath.Join(t.TempDir(), "run")
	stopAt(t, dir, c, o, 8)
	b, err := os.ReadFile(MetricsPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(MetricsPath(dir), b[:len(b)-10], 0o644); err != nil {
		t.Fatal(err)
	}
	var warning string
	o.Warn = func(s string) { warning = s }
	if _, err := c.resume(t.Context(), dir, o); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(warning, MetricsPath(dir)) || !strings.Contains(warning, "losses of some steps are gone") {
		t.Errorf("the warning is %q", warning)
	}
	metrics, err := ReadMetrics(dir)
	if err != nil {
		t.Fatal(err)
	}
	var steps []int
	for _, m := range metrics {
		if m.Event == "step" {
			steps = append(steps, m.Step)
		}
	}
	if !slices.Equal(steps, []int{1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12}) {
		t.Errorf("the metrics have steps %v", steps)
	}
}

func TestReadOnly(t *testing.T) {
	o := setUp(t)
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o555); err != nil {
		t.Fatal(err)
	}
	run := filepath.Join(dir, "run")
	if os.MkdirAll(run, 0o755) == nil { // root may write everywhere but here
		os.Remove(run)
		run = "/proc/unnoise"
	}
	if _, err := tiny(mnistunet.None).train(t.Context(), run, o); err == nil || !strings.Contains(err.Error(), run) {
		t.Errorf("a read-only folder: %v", err)
	}
}

func TestDivergence(t *testing.T) {
	o := setUp(t)
	c := tiny(mnistunet.None)
	c.LearningRate = 1e30
	dir := filepath.Join(t.TempDir(), "run")
	_, err := c.train(t.Context(), dir, o)
	var diverged *DivergedError
	if !errors.As(err, &diverged) || strings.Contains(err.Error(), "checkpoints") {
		t.Errorf("a learning rate of 1e30: %v", err)
	}

	// Values of the last step are found by its checkpoint.
	c.Epochs, c.Batch = 1, 38
	c.LearningRate = math.MaxFloat32
	_, err = c.train(t.Context(), filepath.Join(t.TempDir(), "run"), o)
	if !errors.As(err, &diverged) || !strings.Contains(err.Error(), "diverged: a value of param.") ||
		!strings.Contains(err.Error(), " is not a finite number (epoch 1, step 1)") {
		t.Errorf("one step with the largest learning rate: %v", err)
	}
}
