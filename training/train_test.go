package training

import (
	"bytes"
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/gobackend"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/weights"
)

// tiny is a run of 4 epochs of 3 steps, the last of which has fewer images.
func tiny(condition mnistunet.Condition) Config {
	c := Default(condition)
	c.Network.Dim, c.Batch, c.Epochs, c.DType, c.Seed = 4, 16, 4, "f32", 7
	return c
}

// tinyFlow is the same for flow matching.
func tinyFlow(condition mnistunet.Condition) Config {
	c := tiny(condition)
	c.Network = c.Network.ForFlow()
	return c
}

func options(b compute.Backend) (Options, error) {
	data, _, err := dataset.MNIST()
	if err != nil {
		return Options{}, err
	}
	return Options{Backend: b, Data: data.Head(38), DataName: "MNIST"}, nil
}

func setUp(t *testing.T) Options {
	t.Helper()
	b, _, err := engine.New(engine.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Finalize)
	o, err := options(b)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// numbers are the parts of a run that must be equal after every history: the checkpoint's tensors and the steps' metrics.
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
	if !slices.Equal(gotSteps, wantSteps) {
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

func reference(t *testing.T, o Options, c Config) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "reference")
	if _, err := Train(t.Context(), dir, c, o); err != nil {
		t.Fatal(err)
	}
	return dir
}

// stopAt begins a run that is stopped after a step.
func stopAt(t *testing.T, dir string, c Config, o Options, step int) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	o.OnStep = func(p Progress) {
		if p.RunStep == step {
			cancel()
		}
	}
	_, err := Train(ctx, dir, c, o)
	stopped, ok := errors.AsType[*StoppedError](err)
	if !ok || stopped.Step != step || !errors.Is(err, context.Canceled) {
		t.Fatalf("stopped after step %d: %v", step, err)
	}
}

func TestTrain(t *testing.T) {
	for name, c := range map[string]Config{
		"none": tiny(mnistunet.None), "time": tiny(mnistunet.Time), "class": tiny(mnistunet.Class),
		"flow time": tinyFlow(mnistunet.Time), "flow class": tinyFlow(mnistunet.Class),
	} {
		t.Run(name, func(t *testing.T) {
			o := setUp(t)
			var steps, epochs int
			o.OnStep = func(p Progress) {
				steps++
				if p.RunStep != steps || p.RunSteps != 12 || p.Step != (steps-1)%3+1 || p.Steps != 3 || p.Epoch != (steps-1)/3+1 || p.Epochs != 4 || !(p.Loss > 0) || !(p.ImagesPerSecond > 0) {
					t.Errorf("step %d: %+v", steps, p)
				}
			}
			o.OnEpoch = func(_ context.Context, e Epoch) error {
				epochs++
				if e.Epoch != epochs || e.Model == nil || !(e.MeanLoss > 0) {
					t.Errorf("epoch %d: %+v", epochs, e)
				}
				return nil
			}
			dir := filepath.Join(t.TempDir(), "a", "run")
			result, err := Train(t.Context(), dir, c, o)
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
			if err != nil || written.Network != c.Network || written.Threads != 2 || written.Data.Images != 38 || written.Seed != 7 {
				t.Errorf("config %+v, %v", written, err)
			}
		})
	}
}

func TestLearningRate(t *testing.T) {
	c := Default(mnistunet.Class)
	for _, x := range []struct {
		steps bool
		step  int
		want  float64
	}{{false, 0, 1e-3}, {false, 99, 1e-3}, {false, 150, 1e-3 * math.Pow(0.1, 1./20)}, {false, 2000, 1e-4},
		{true, 0, 1e-3}, {true, 50, 1e-3 * math.Pow(0.1, 0.5/20)}, {true, 1000, 1e-3 * math.Sqrt(0.1)}, {true, 2000, 1e-4}} {
		c.DecaySteps = x.steps
		if got := c.rate(x.step, 100); math.Abs(got-x.want) > 1e-9 {
			t.Errorf("step %d of 2000, falling each step %v: %g, want %g", x.step, x.steps, got, x.want)
		}
	}

	// Steps are made with it: where it falls to almost nothing, the second epoch learns almost nothing. Means are of the steps.
	o := setUp(t)
	c = tiny(mnistunet.None)
	c.Epochs, c.Decay = 2, 1e-12
	dir := filepath.Join(t.TempDir(), "run")
	if _, err := Train(t.Context(), dir, c, o); err != nil {
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
	if _, err := Train(t.Context(), dir, c, o); err != nil {
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
		config Config
		stops  []int
	}{"noise": {tiny(mnistunet.Class), []int{1, 3, 4, 12}}, "flow": {tinyFlow(mnistunet.Class), []int{4}}, "bfloat16": {narrow, []int{2, 4}}} {
		t.Run(name, func(t *testing.T) {
			o, c := setUp(t), x.config
			if d, err := engine.DType("auto", ""); c.DType == "bf16" && (err != nil || d != dtypes.BFloat16) {
				t.Skip("this CPU has no units for bfloat16")
			}
			want := reference(t, o, c)
			for _, stopAfter := range x.stops {
				dir := filepath.Join(t.TempDir(), "run")
				o.OnEpoch = func(ctx context.Context, _ Epoch) error { return ctx.Err() }
				stopAt(t, dir, c, o, stopAfter)
				_, err := Train(t.Context(), dir, c, o)
				if _, ok := errors.AsType[*ExistsError](err); !ok {
					t.Errorf("a second run in the folder: %v", err)
				}
				if _, err := Resume(t.Context(), dir, o); err != nil {
					t.Fatal(err)
				}
				mustEqual(t, dir, want)
				s, err := Summarize(dir, 4)
				if err != nil {
					t.Fatal(err)
				}
				if stopAfter == 12 && s.Resumed != nil || stopAfter != 12 && (len(s.Resumed) != 1 || s.Resumed[0].Step != stopAfter || s.Resumed[0].Threads != 2) {
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
	o.OnEpoch = func(_ context.Context, e Epoch) error {
		if calls++; calls == 2 {
			return broken
		}
		return nil
	}
	if _, err := Train(t.Context(), dir, c, o); !errors.Is(err, broken) {
		t.Fatalf("OnEpoch's error: %v", err)
	}
	if _, err := Resume(t.Context(), dir, o); err != nil {
		t.Fatal(err)
	}
	if calls != 5 {
		t.Errorf("OnEpoch was called %d times, want 5: 4 epochs, the second twice", calls)
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
			if _, err := Resume(t.Context(), dir, o); err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(warning, latestFile) || !strings.Contains(warning, "step 6") {
				t.Errorf("the warning is %q", warning)
			}
			mustEqual(t, dir, want)

			// None is.
			dir = both
			spoil(previousFile)
			_, err := Resume(t.Context(), dir, o)
			if err == nil || !strings.Contains(err.Error(), latestFile) || !strings.Contains(err.Error(), previousFile) {
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
		m := map[string]string{"version": strconv.Itoa(version), "step": "3", "loss": "0.5", "seconds": "2", "metrics": "100", "checksum": checksum(nil)}
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
		if _, err := readCounters(f); name == "" && err != nil || name != "" && (err == nil || !strings.Contains(err.Error(), "counters are damaged")) {
			t.Errorf("%s %q: %v", name, value, err)
		}
	}
}

// TestNoCheckpoint takes a run's checkpoints away: it must not begin again over the models of its epochs.
func TestNoCheckpoint(t *testing.T) {
	o := setUp(t)
	dir := reference(t, o, tiny(mnistunet.Time))
	before, err := os.ReadFile(MetricsPath(dir))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{latestFile, previousFile} {
		if err := os.Remove(filepath.Join(dir, checkpointsDir, name)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := Resume(t.Context(), dir, o); err == nil || !strings.Contains(err.Error(), latestFile+" is gone") {
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
	if _, err := Resume(t.Context(), dir, o); err == nil || !strings.Contains(err.Error(), latest) || strings.Contains(err.Error(), "damaged") {
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
	_, err := Train(t.Context(), dir, wrong, o)
	expect("batch 0", err, "batch is 0")
	for what, data := range map[string]*dataset.Labeled{
		"there are no images":               nil,
		"the images are 14×56":              {Rows: 14, Cols: 56, Images: make([]byte, 784), Labels: []byte{0}},
		"2 images of 28×28 need 1568 value": {Rows: 28, Cols: 28, Images: make([]byte, 784), Labels: []byte{0, 1}},
		"or they have no labels":            {Rows: 28, Cols: 28, Images: make([]byte, 784)},
	} {
		_, err = Train(t.Context(), dir, c, Options{Backend: o.Backend, Data: data})
		expect("images made by hand", err, what)
	}
	_, err = Train(t.Context(), dir, c, Options{Data: o.Data})
	expect("no backend", err, "needs a backend")
	few := c
	few.Network.Classes = 3
	_, err = Train(t.Context(), dir, few, o)
	expect("three classes", err, "label", "3 classes")
	_, err = Train(t.Context(), filepath.Join(t.TempDir(), "\x00"), c, o)
	expect("an impossible folder", err)
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = Train(t.Context(), filepath.Join(file, "run"), c, o)
	expect("a folder in a file", err, file)
	model := t.TempDir()
	for _, name := range []string{configFile, mnistunet.WeightsFile} {
		if err := os.WriteFile(filepath.Join(model, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	_, err = Train(t.Context(), model, c, o)
	expect("a model's folder", err, "holds a model", "another folder")
	_, err = Resume(t.Context(), t.TempDir(), o)
	expect("no run", err, "not a training run")
	if _, err := os.Stat(dir); err == nil {
		t.Error("a refused run left a folder")
	}

	done := reference(t, o, c)
	other := o
	other.Data = o.Data.Head(20)
	_, err = Resume(t.Context(), done, other)
	expect("other images", err, "38 images", "20 images")

	larger := c
	larger.complete(o)
	larger.Network.Dim = 6
	if err := larger.write(done); err != nil {
		t.Fatal(err)
	}
	_, err = Resume(t.Context(), done, o)
	expect("another dim", err, "shape", latestFile)
	if err := os.WriteFile(filepath.Join(done, configFile), []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	_, err = Resume(t.Context(), done, o)
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
	if _, err := Train(t.Context(), dir, tiny(mnistunet.None), Options{Backend: slow, Data: o.Data}); err == nil {
		t.Fatal("GoMLX's backend has batch normalisation's training by now")
	}
	if IsRun(dir) || !exists(notes) {
		t.Error("what is left is called a run, or too little is left")
	}
	if _, err := Train(t.Context(), dir, tiny(mnistunet.None), o); err != nil {
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
	if _, err := Train(t.Context(), dir, tiny(mnistunet.None), o); err == nil || !strings.Contains(err.Error(), dir+" was moved or removed") {
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
	if _, err := Resume(t.Context(), dir, o); err != nil {
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
	if _, err := Train(t.Context(), run, tiny(mnistunet.None), o); err == nil || !strings.Contains(err.Error(), run) {
		t.Errorf("a read-only folder: %v", err)
	}
}

func TestDivergence(t *testing.T) {
	o := setUp(t)
	c := tiny(mnistunet.None)
	c.LearningRate = 1e30
	dir := filepath.Join(t.TempDir(), "run")
	_, err := Train(t.Context(), dir, c, o)
	var diverged *DivergedError
	if !errors.As(err, &diverged) || strings.Contains(err.Error(), "checkpoints") {
		t.Errorf("a learning rate of 1e30: %v", err)
	}

	// Values of the last step are found by its checkpoint.
	c.Epochs, c.Batch = 1, 38
	c.LearningRate = math.MaxFloat32
	_, err = Train(t.Context(), filepath.Join(t.TempDir(), "run"), c, o)
	if !errors.As(err, &diverged) || !strings.Contains(err.Error(), "diverged: a value of param.") || !strings.Contains(err.Error(), " is not a finite number (epoch 1, step 1)") {
		t.Errorf("one step with the largest learning rate: %v", err)
	}
}

// Batches are the same whenever they are made, and an epoch shows every image once.
func TestBatches(t *testing.T) {
	for name, c := range map[string]Config{"noise": tiny(mnistunet.Class), "flow": tinyFlow(mnistunet.Class)} {
		t.Run(name, func(t *testing.T) { testBatches(t, c) })
	}
	t.Run("denoiser", func(t *testing.T) {
		c := tiny(mnistunet.None)
		c.Network.Sigma = 0.25
		s := filled(t, c)
		if !slices.Equal(s.Target, s.clean[:len(s.Target)]) {
			t.Error("a denoiser learns something else than clean images")
		}
		noise := make([]float64, len(s.X))
		for i, x := range s.X {
			noise[i] = float64(x-s.Target[i]) / 0.25
		}
		checkUnit(t, noise)
	})
	t.Run("classes", func(t *testing.T) {
		for dropout, want := range map[float64]float32{0: 16, 1: 0} {
			c := tiny(mnistunet.Class)
			c.Dropout = dropout
			told := float32(0)
			for _, v := range filled(t, c).Class {
				told += v
			}
			if told != want {
				t.Errorf("dropout %g: %g of 16 classes are told", dropout, told)
			}
		}
	})
	t.Run("timesteps", func(t *testing.T) {
		c := tiny(mnistunet.Time)
		c.Network.Timesteps = 2
		if s := filled(t, c); slices.Min(s.T) != 0 || slices.Max(s.T) != 0.5 {
			t.Errorf("of two timesteps the network is told %v", s.T)
		}
	})
	t.Run("order", func(t *testing.T) {
		o, c := setUp(t), tiny(mnistunet.None)
		order := func(seed uint64, step int) []int {
			c.Seed = seed
			b, err := newBatches(c, o.Data)
			if err == nil {
				err = b.fill(b.newScratch(), step)
			}
			if err != nil {
				t.Fatal(err)
			}
			return b.order
		}
		if first := order(7, 0); slices.Equal(first, order(7, 3)) || slices.Equal(first, order(8, 0)) {
			t.Error("two epochs, or two seeds, have the same order")
		}
	})
}

// filled is the first batch of a configuration.
func filled(t *testing.T, c Config) *scratch {
	t.Helper()
	b, err := newBatches(c, setUp(t).Data)
	if err != nil {
		t.Fatal(err)
	}
	s := b.newScratch()
	if err := b.fill(s, 0); err != nil {
		t.Fatal(err)
	}
	return s
}

// checkUnit tells whether values are normal as far as mean and variance go.
func checkUnit(t *testing.T, values []float64) {
	t.Helper()
	var sum, squares float64
	for _, v := range values {
		sum, squares = sum+v, squares+v*v
	}
	n := float64(len(values))
	if mean, variance := sum/n, squares/n; !(math.Abs(mean) < 6/math.Sqrt(n)) || !(math.Abs(variance-1) < 9/math.Sqrt(n)) {
		t.Errorf("noise of mean %g and variance %g", mean, variance)
	}
}

// checkNoise tells whether the i-th image's target is the noise in it (DDPM, eq. 4), and the network is told the timestep.
func checkNoise(t *testing.T, b *batches, s *scratch, i int) {
	t.Helper()
	const pixels = mnistunet.Size * mnistunet.Size
	at := s.timesteps[i]
	if told := float32(at) / float32(b.config.Network.Timesteps); s.T[i] != told {
		t.Errorf("image %d: the network is told %g at timestep %d", i, s.T[i], at)
	}
	alpha := float64(b.schedule.AlphasCumprod[at])
	noise := make([]float64, pixels)
	for j := range noise {
		noise[j] = float64(s.Target[i*pixels+j])
		want := math.Sqrt(alpha)*float64(s.clean[i*pixels+j]) + math.Sqrt(1-alpha)*noise[j]
		if d := math.Abs(float64(s.X[i*pixels+j]) - want); !(d < 1e-5) {
			t.Fatalf("image %d: %g beside the noised digit", i, d)
		}
	}
	checkUnit(t, noise)
}

func testBatches(t *testing.T, c Config) {
	o := setUp(t)
	c.Dropout = 0.5
	b, err := newBatches(c, o.Data)
	if err != nil {
		t.Fatal(err)
	}
	s := b.newScratch()
	seen := map[int]int{}
	var kept, hidden int
	for step := range 3 {
		if err := b.fill(s, step); err != nil {
			t.Fatal(err)
		}
		if want := []int{16, 16, 6}[step]; s.N != want {
			t.Errorf("step %d has %d images, want %d", step, s.N, want)
		}
		for i := range s.N {
			seen[b.order[step*16+i]]++
			sum := float32(0)
			for _, v := range s.Class[i*10 : i*10+10] {
				sum += v
			}
			switch {
			case sum == 0:
				hidden++
			case sum == 1 && s.Class[i*10+int(s.labels[i])] == 1:
				kept++
			default:
				t.Errorf("image %d: class %v, label %d", i, s.Class[i*10:i*10+10], s.labels[i])
			}
			if c.Network.Objective == mnistunet.Flow {
				checkFlow(t, s, i)
			} else {
				checkNoise(t, b, s, i)
			}
		}
	}
	if len(seen) != 38 || kept < 8 || hidden < 8 {
		t.Errorf("%d images seen, %d with and %d without class", len(seen), kept, hidden)
	}
	if err := b.fill(s, 3); err != nil {
		t.Fatal(err)
	}
	noise, times := slices.Clone(s.Target), slices.Clone(s.T)
	if err := b.fill(s, 4); err != nil {
		t.Fatal(err)
	}
	if slices.Equal(s.Target, noise) || slices.Equal(s.T, times) {
		t.Error("steps 3 and 4 have the same noise or times")
	}
	x, target, ts, class := slices.Clone(s.X), slices.Clone(s.Target), slices.Clone(s.T), slices.Clone(s.Class)
	again, err := newBatches(c, o.Data)
	if err != nil {
		t.Fatal(err)
	}
	s = again.newScratch()
	if err := again.fill(s, 4); err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(s.X, x) || !slices.Equal(s.Target, target) || !slices.Equal(s.T, ts) || !slices.Equal(s.Class, class) {
		t.Error("step 4 alone is not step 4 after others")
	}
}

// checkFlow tells whether the i-th image's target leads from x_t, in the time that is left, to the digit, and back to noise of about
// unit variance.
func checkFlow(t *testing.T, s *scratch, i int) {
	t.Helper()
	const pixels = mnistunet.Size * mnistunet.Size
	time, variance := float64(s.T[i]), 0.0
	if time < 0 || time >= 1 {
		t.Errorf("image %d: time %g", i, time)
	}
	for j := i * pixels; j < (i+1)*pixels; j++ {
		x, u := float64(s.X[j]), float64(s.Target[j])
		if d := math.Abs(x + (1-time)*u - float64(s.clean[j])); d > 1e-5 {
			t.Fatalf("image %d: the velocity leads %g beside the digit", i, d)
		}
		noise := x - time*u
		variance += noise * noise / pixels
	}
	if variance < 0.75 || variance > 1.25 { // its standard deviation is 0.05
		t.Errorf("image %d: the noise's variance is %g", i, variance)
	}
}
