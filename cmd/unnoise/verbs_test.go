package main

import (
	"os"
	"os/signal"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/internal/bench"
	"github.com/unnoise/unnoise/internal/doctor"
	"github.com/unnoise/unnoise/internal/golden"
	"github.com/unnoise/unnoise/training"
	"github.com/unnoise/unnoise/weights"
)

// small trains a run of a few steps with extra flags and returns its folder.
func small(t *testing.T, flags ...string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "run")
	succeed(t, append([]string{"train", "mnist", "--limit", "300", "--dim", "4", "--batch", "64", "--epochs", "2",
		"--out", dir, "--dtype", "f32"}, flags...)...)
	return dir
}

func TestUsage(t *testing.T) {
	ifTiny := filepath.Join(golden.Dir(t), "if_tiny")
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"train", "mnist", "--condition", "both"}, `--condition: expected none, time or class, found "both"`},
		{[]string{"train", "mnist", "--epochs", "-1"}, "--epochs: expected a whole number"},
		{[]string{"train", "mnist", "--condition", "time", "--sigma", "0.4"},
			"--sigma has no meaning with --condition time"},
		{[]string{"train", "mnist", "--pure-noise"}, "--pure-noise has no meaning with --condition class"},
		{[]string{"train", "mnist", "--condition", "none", "--pure-noise", "--sigma", "1"},
			"--sigma has no meaning with --pure-noise"},
		{[]string{"train", "mnist", "--objective", "score"}, `--objective: expected noise or flow, found "score"`},
		{[]string{"train", "mnist", "--condition", "none", "--objective", "flow"},
			"--objective has no meaning with --condition none"},
		{[]string{"sample", "--out", "a.png", "--animate", "./a.png"}, "--animate: expected another file than --out's"},
		{[]string{"train", "mnist", "--objective", "flow", "--timesteps", "100"},
			"--timesteps has no meaning with --objective flow"},
		{[]string{"train", "mnist", "--resume", "x", "--objective", "flow"},
			"--objective can't be given with --resume"},
		{[]string{"train", "mnist", "--resume", "x", "--dim", "3"}, "--dim can't be given with --resume"},
		{[]string{"sample", "--model", "x", "--out", "a.jpg"},
			`--out: expected a file name that ends with .png or .safetensors, found "a.jpg"`},
		{[]string{"sample", "--model", "x", "--sampler", "plms"},
			"--sampler: expected ddpm, ddim, dpm++, euler, midpoint or heun"},
		{[]string{"sample", "--class", "3,x"},
			`--class: expected 0, 1, 2, 3, 4, 5, 6, 7, 8 or 9, which mnist-class knows, found "x"`},
		{[]string{"generate", "--model", "mnist-class", "--prompt", "x"},
			`--prompt: expected 0, 1, 2, 3, 4, 5, 6, 7, 8 or 9, which mnist-class knows, found "x"`},
		{[]string{"generate", "--model", "mnist-time", "--prompt", "3"},
			`--prompt: mnist-time takes no prompts, found "3"`},
		{[]string{"generate", "--model", "mnist-time", "--guidance", "3"}, "--guidance: mnist-time takes no prompts"},
		{[]string{"generate", "--model", "mnist-class", "--timesteps", "fast27"},
			"--timesteps: there are no published timesteps for mnist-class"},
		{[]string{"generate", "--model", "mnist-class",
			"--embeds", "x.safetensors"}, "--embeds: mnist-class reads no texts"},
		{[]string{"generate", "--model", ifTiny}, "--prompt: expected a prompt, found nothing"},
		{[]string{"generate", "--model", ifTiny, "--prompt", "\xff"}, "invalid UTF-8"},
		{[]string{"generate", "--prompt", "\xff"}, "invalid UTF-8"},
		{[]string{"generate", "--model", "x", "--prompt", "x", "--out", "a.jpg"},
			"--out: expected a file name that ends with .png or .safetensors"},
		{[]string{"generate", "--model", "x", "--prompt", "x", "--out", "a.safetensors", "--previews", "3"},
			"--previews needs --out with a file name that ends with .png"},
		{[]string{"generate", "--model", "x", "--prompt", "x", "--steps", "9", "--timesteps", "smart27"},
			"--steps can't be given with --timesteps"},
		{[]string{"generate", "--model", "x", "--prompt", "x", "--timesteps", "smart28"},
			"--timesteps: expected fast27, smart100"},
		{[]string{"generate", "--model", "x", "--prompt", "x", "--noise-level", "9"},
			"--noise-level has no meaning without --upscale"},
		{[]string{"generate", "--model", "x", "--prompt", "x", "--sampler", "plms"},
			"--sampler: expected ddpm, ddim, dpm++, euler, midpoint or heun"},
		{[]string{"generate", "--model", "x", "--embeds", "x", "--no-cache"},
			"--no-cache has no meaning with --embeds"},
		{[]string{"generate", "--model", ifTiny, "--prompt", "x", "--negative", "y", "--guidance", "1"},
			"--negative: it has no meaning without guidance"},
		{[]string{"eval", "--model", "x", "--guidance", "1,5,1"}, "with commas, each once, found"},
		{[]string{"embed", "--model", "x"}, "--prompt: expected"},
		{[]string{"embed", "--model", "x", "--prompt", "x", "--out", "a.pt"},
			"--out: expected a file name that ends with .safetensors"},
		{[]string{"bench", "train", "--threads", "x"}, "--threads: expected"},
		{[]string{"bench", "train", "--backend", "cuda"}, `backend "cuda" is unknown, expected onednn`},
		{[]string{"bench", "train", "--backend", "go", "--threads", "2"}, "--threads is for --backend onednn"},
		{[]string{"bench", "train", "--backend", "go", "--profile"}, "--profile is for --backend onednn"},
		{[]string{"model", "info", "mnist-class", "--backend", "go"}, "--backend is for pipelines"},
		{[]string{"bench", "train", "--without", "winograd,speed"}, `--without: expected `},
		{[]string{"bench", "model", "--backend", "cuda", "--dir", "networks"}, `backend "cuda" is unknown`},
		{[]string{"model", "pull", "a/b", "--without", "unet"}, `the part "unet" can't be left out`},
		{[]string{"train", "mnist", "--resume", ""}, "--resume: expected a value, found nothing"},
		{[]string{"train", "mnist", "--data="}, "--data: expected a value, found nothing"},
		{[]string{"train", "mnist", "--seed", "18446744073709551616"},
			"--seed: expected a whole number from 0 to 18446744073709551615"},
		{[]string{"eval", "--model", "x", "--guidance", "1", "--guidance", "1"}, "each once"},
		{[]string{"generate", "--model", "x", "--embeds", "a.safetensors", "--out", "./a.safetensors"},
			"--out: expected another file than --embeds'"},
		{[]string{"help", "smaple"}, `unknown command "smaple"`},
		{[]string{"nothing"}, "nothing"},
		{[]string{"train"}, "unnoise: train: expected mnist or text2image after it, found nothing"},
		{[]string{"again", "a.png", "--recipe", "b.json"}, "--recipe has no meaning here"},
		{[]string{"train", "fashion"}, `unnoise: train: expected mnist or text2image after it, found "fashion"`},
	} {
		if r := unnoise(t, c.args...); r.code != exitUsage || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%v: exit code %d, %q; want 2 and %q", c.args, r.code, r.stderr, c.want)
		}
	}
}

// A list may be given in parts.
func TestLists(t *testing.T) {
	cmd := newEval()
	if err := cmd.ParseFlags([]string{"--guidance", "1,2", "--guidance", "5", "--sampler", "ddim:20", "--sampler",
		"ddpm"}); err != nil {
		t.Fatal(err)
	}
	if g, s := cmd.Flag("guidance").Value.String(), cmd.Flag("sampler").Value.String(); g != "1,2,5" ||
		s != "ddim:20,ddpm" {
		t.Errorf("lists in parts are %q and %q", g, s)
	}
}

// Files of nobody's choice are not replaced where making them takes long.
func TestDefaultNames(t *testing.T) {
	for name, args := range map[string][]string{"generated.png": {"generate", "--model", "x", "--prompt", "x"},
		"prompts.safetensors": {"embed", "--model", "x", "--prompt", "x"}} {
		cmd := command(t, args...)
		if err := os.WriteFile(filepath.Join(cmd.Dir, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
		if r := finish(t, cmd); r.code != exitUsage || !strings.Contains(r.stderr, "--out: "+name+" is there already") {
			t.Errorf("%v: exit code %d, %q", args, r.code, r.stderr)
		}
	}
}

func TestTrainAndSample(t *testing.T) {
	run := small(t)
	for epoch := 1; epoch <= 2; epoch++ {
		if _, err := os.Stat(training.SamplePath(run, epoch)); err != nil {
			t.Error(err)
		}
	}
	png, raw, gif := filepath.Join(run, "a.png"), filepath.Join(run, "a.safetensors"), filepath.Join(run, "a.gif")
	args := []string{"sample", "--model", run, "--class", "3", "--class", "1", "--count", "5", "--steps", "7",
		"--sampler", "ddim", "--seed", "9", "--out", png, "--out", raw, "--animate", gif, "--json"}
	var report struct {
		Images, Evaluations int
		Files               []string
	}
	decode(t, succeed(t, args...).stdout, &report)
	if report.Images != 5 || report.Evaluations != 14 || !slices.Equal(report.Files, []string{png, raw, gif}) {
		t.Errorf("report %+v", report)
	}
	p, err := figure.ReadParametersFile(png)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"seed": "9", "steps": "7", "sampler": "ddim", "guidance": "5",
		"prompt": "3,1,3,1,3"} {
		if got, _ := p.Get(key); got != want {
			t.Errorf("parameter %s is %q, want %q", key, got, want)
		}
	}
	f, err := weights.Open(raw)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	images, err := f.Tensor("images")
	if err != nil || !slices.Equal(images.Shape, []int{5, 1, 28, 28}) {
		t.Errorf("images %v, %v", images.Shape, err)
	}
	labels, err := f.Tensor("labels")
	if err != nil {
		t.Fatal(err)
	}
	if v, err := labels.Int32(); err != nil || !slices.Equal(v, []int32{3, 1, 3, 1, 3}) {
		t.Errorf("labels %v, %v", v, err)
	}
	first, _ := os.ReadFile(raw)
	succeed(t, args...)
	if second, _ := os.ReadFile(raw); !slices.Equal(first, second) {
		t.Error("the same seed drew other images")
	}

	for guidance, want := range map[string][2]string{"5": {"dpm++", "20"}, "1.9": {"ddpm", "50"}} {
		succeed(t, "sample", "--model", run, "--count", "1", "--guidance", guidance, "--out", png)
		if p, err = figure.ReadParametersFile(png); err != nil {
			t.Fatal(err)
		}
		sampler, _ := p.Get("sampler")
		if steps, _ := p.Get("steps"); sampler != want[0] || steps != want[1] {
			t.Errorf("γ = %s, without --sampler: %s, %s steps; want %s", guidance, sampler, steps, want)
		}
	}

	for want, flags := range map[string][]string{
		"--steps: expected 1 to 300 with " + run:         {"--steps", "301"},
		"--eta: it has no meaning with sampler dpm++":    {"--eta", "0.5"},
		"--guidance: expected a number from -100 to 100": {"--guidance", "101"},
	} {
		if r := unnoise(t, append([]string{"sample", "--model", run}, flags...)...); r.code != exitUsage ||
			!strings.Contains(r.stderr, want) {
			t.Errorf("%v: exit code %d, %q; want 2 and %q", flags, r.code, r.stderr, want)
		}
	}
	if r := unnoise(t, "sample", "--model", run, "--class", "11"); r.code != exitUsage ||
		!strings.Contains(r.stderr, "--class: expected 0, 1, 2, 3, 4, 5, 6, 7, 8 or 9, which ") {
		t.Errorf("class 11: exit code %d, %q", r.code, r.stderr)
	}
	if r := unnoise(t, "train", "mnist", "--limit", "300", "--out", run); r.code != exitFailure ||
		!strings.Contains(r.stderr, "--resume "+run) {
		t.Errorf("a second run in one folder: exit code %d, %q", r.code, r.stderr)
	}
	broken := filepath.Join(training.EpochDir(run, 2), "model.safetensors")
	if r := unnoise(t, "sample", "--model", broken); r.code != exitFailure ||
		!strings.Contains(r.stderr, broken+" is a file, expected the folder") {
		t.Errorf("a file for a model: exit code %d, %q", r.code, r.stderr)
	}
	if err := os.Truncate(broken, 1000); err != nil {
		t.Fatal(err)
	}
	if r := unnoise(t, "sample", "--model", run); r.code != exitFailure || !strings.Contains(r.stderr, broken) {
		t.Errorf("damaged weights: exit code %d, %q", r.code, r.stderr)
	}
}

// Models of flow matching are drawn from with samplers of their own, after the epochs too.
func TestFlow(t *testing.T) {
	small(t, "--objective", "flow", "--condition", "time", "--epochs", "1")
	run := small(t, "--objective", "flow", "--epochs", "1")
	samplerOf := func(path string) string {
		p, err := figure.ReadParametersFile(path)
		if err != nil {
			t.Fatal(err)
		}
		sampler, _ := p.Get("sampler")
		return sampler
	}
	if sampler := samplerOf(training.SamplePath(run, 1)); sampler != "euler" {
		t.Errorf("the epoch's picture is drawn with %q", sampler)
	}
	for _, c := range []struct {
		flags              []string
		sampler            string
		steps, evaluations int
	}{
		{nil, "euler", 50, 100},
		{[]string{"--sampler", "midpoint", "--steps", "301"}, "midpoint", 301, 1204},
		{[]string{"--sampler", "heun", "--guidance", "1"}, "heun", 25, 49},
		{[]string{"--sampler", "dpm++"}, "dpm++", 20, 40},
	} {
		out := filepath.Join(run, "a.png")
		var report struct{ Steps, Evaluations int }
		decode(t, succeed(t, append([]string{"sample", "--model", run, "--count", "1", "--out", out, "--json"},
			c.flags...)...).stdout, &report)
		if sampler := samplerOf(out); report.Steps != c.steps || report.Evaluations != c.evaluations ||
			sampler != c.sampler {
			t.Errorf("%v: %+v by %s, want %d steps and %d evaluations by %s", c.flags, report, sampler, c.steps,
				c.evaluations, c.sampler)
		}
	}
	for want, flags := range map[string][]string{
		"--eta: it has no meaning with sampler euler": {"--eta", "0.5"},
		"--guidance: expected a number":               {"--guidance", "101"},
	} {
		if r := unnoise(t, append([]string{"sample", "--model", run}, flags...)...); r.code != exitUsage ||
			!strings.Contains(r.stderr, want) {
			t.Errorf("%v: exit code %d, %q; want 2 and %q", flags, r.code, r.stderr, want)
		}
	}
}

func TestDenoise(t *testing.T) {
	run := small(t, "--condition", "none", "--sigma", "0.3")
	out := filepath.Join(run, "d.png")
	for want, flags := range map[string][]string{"0.3": nil, "0.8": {"--sigma", "0.8"}} {
		succeed(t, append([]string{"denoise", "--model", run, "--count", "3", "--out", out}, flags...)...)
		if p, err := figure.ReadParametersFile(out); err != nil {
			t.Error(err)
		} else if sigma, _ := p.Get("sigma"); sigma != want {
			t.Errorf("%v: sigma %q, want %s", flags, sigma, want)
		}
	}
	if r := unnoise(t, "sample", "--model", run); r.code != exitFailure ||
		!strings.Contains(r.stderr, "unnoise denoise") {
		t.Errorf("sampling from a denoiser: exit code %d, %q", r.code, r.stderr)
	}
}

// TestExport hands on the first epoch of two, as it is.
func TestExport(t *testing.T) {
	run := small(t, "--condition", "none")
	out := filepath.Join(t.TempDir(), "model")
	succeed(t, "model", "export", "--run", run, "--epoch", "1", "--dtype", "f32", "--out", out)
	values := func(dir string) map[string][]byte {
		f, err := weights.Open(filepath.Join(dir, "model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		all := map[string][]byte{}
		for _, name := range f.Names() {
			x, err := f.Tensor(name)
			if err != nil {
				t.Fatal(err)
			}
			all[name] = slices.Concat([]byte(x.DType), x.Data)
		}
		return all
	}
	if got := values(out); !reflect.DeepEqual(got, values(training.EpochDir(run, 1))) ||
		reflect.DeepEqual(got, values(training.EpochDir(run, 2))) {
		t.Error("the model is not that of the first epoch")
	}
	for what, c := range map[string]struct {
		want string
		args []string
	}{
		"of an export": {out + " is not a training run with a model in it\n",
			[]string{"model", "export", "--run", out, "--out", out + "2"}},
		"over another": {"expected a folder of its own for the model, found one with a config.json",
			[]string{"model", "export", "--run", run, "--out", filepath.Join(golden.Dir(t), "if_tiny", "unet")}},
		"of nothing": {"there is no folder mnist-clas, and the models that come with the program are mnist-class",
			[]string{"model", "info", "mnist-clas"}},
	} {
		if r := unnoise(t, c.args...); r.code != exitFailure || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%s: exit code %d, %q; want %q", what, r.code, r.stderr, c.want)
		}
	}
	info := succeed(t, "model", "info", out).stdout
	for _, part := range []string{"epoch 1 of 2, batches of 64, seed 0", "Adam, 0.0001", "condition none, dim 4",
		"MNIST, 300 images", "epoch 1 "} {
		if !strings.Contains(info, part) {
			t.Errorf("model info lacks %q: %s", part, info)
		}
	}
	if info := succeed(t, "model", "info", small(t, "--condition", "class", "--dropout",
		"0.25")).stdout; !strings.Contains(info, "Adam, 0.001 falling to 0.0001 over 2 epochs") ||
		!strings.Contains(info, "hidden for 25 %") {
		t.Errorf("model info says %s", info)
	}
}

// TestInterrupt stops a run by Ctrl-C, goes on, stops it as a closed terminal does, and goes on.
func TestInterrupt(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "run")
	size := func() int64 {
		if info, err := os.Stat(training.MetricsPath(dir)); err == nil {
			return info.Size()
		}
		return 0
	}
	begin := []string{"train", "mnist", "--limit", "6400", "--dim", "8", "--batch", "16", "--epochs", "1", "--out", dir,
		"--no-samples"}
	for _, stop := range []struct {
		signal syscall.Signal
		code   int
		args   []string
	}{{syscall.SIGINT, 130, begin}, {syscall.SIGHUP, 129, []string{"train", "mnist", "--resume", dir,
		"--no-samples"}}} {
		if signal.Ignored(stop.signal) { // as under nohup: it stays so in what is started
			continue
		}
		before, cmd := size(), command(t, stop.args...)
		go func() { // when it has made steps
			for range 1000 {
				if size() > before {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			cmd.Process.Signal(stop.signal)
		}()
		r := finish(t, cmd)
		if r.code != stop.code || !strings.Contains(r.stderr, "--resume "+dir) {
			t.Fatalf("%s: exit code %d, %q; want %d and how to go on", stop.signal, r.code, r.stderr, stop.code)
		}
	}
	succeed(t, "train", "mnist", "--resume", dir, "--no-samples")
	metrics, err := training.ReadMetrics(dir)
	if err != nil {
		t.Fatal(err)
	}
	steps := 0
	for _, m := range metrics {
		if m.Event == "step" {
			steps++
			if m.Step != steps {
				t.Fatalf("step %d stands after %d steps", m.Step, steps-1)
			}
		}
	}
	if steps != 400 {
		t.Errorf("%d steps, want 400", steps)
	}
}

func TestDoctorAndBench(t *testing.T) {
	var d doctor.Report
	decode(t, succeed(t, "doctor", "--quick", "--json").stdout, &d)
	if d.Threads < 1 || d.ISA == "" || d.Problems == nil || d.DType != "f32" && d.DType != "bf16" {
		t.Errorf("doctor printed %+v", d)
	}
	for _, what := range []string{"train", "evaluate"} {
		var b bench.Report
		decode(t, succeed(t, "bench", what, "--dim", "4", "--batch", "8", "--runs", "3", "--json").stdout, &b)
		if b.What != what || b.BestSeconds <= 0 || b.MedianSeconds < b.BestSeconds || b.ImagesPerSecond <= 0 ||
			b.Batch != 8 {
			t.Errorf("bench printed %+v", b)
		}
	}
}

// TestWithoutOneDNN hides the library: everything works, with one warning.
func TestWithoutOneDNN(t *testing.T) {
	cmd := command(t, "train", "mnist", "--limit", "40", "--dim", "4", "--batch", "20", "--epochs", "1", "--no-samples",
		"--out", "run")
	cmd.Env = append(os.Environ(), "ONEDNN_LIBRARY=/nowhere/libdnnl.so.3")
	r := finish(t, cmd)
	if r.code != 0 || strings.Count(r.stderr, "warning") != 1 || !strings.Contains(r.stderr, "set ONEDNN_LIBRARY") {
		t.Errorf("exit code %d, %q", r.code, r.stderr)
	}
}

func TestDemo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "demo")
	args := []string{"demo", "--only", "training", "--limit", "256", "--dim", "4", "--out", dir}
	out := succeed(t, args...).stdout
	if !strings.Contains(out, filepath.Join(dir, "index.html")) {
		t.Errorf("demo printed %q", out)
	}
	if page, err := os.ReadFile(filepath.Join(dir, "index.html")); err != nil || len(page) < 1000 {
		t.Errorf("page of %d bytes, %v", len(page), err)
	}
	p, err := figure.ReadParametersFile(filepath.Join(dir, "samples.png"))
	if err != nil {
		t.Fatal(err)
	}
	line, _ := p.Get("command")
	if ok, err := regexp.MatchString(
		`^unnoise demo --epochs 1 --dim 4 --seed 0 --dtype (f32|bf16) --threads \d+ --limit 256 --only training --out `+regexp.QuoteMeta(dir)+"$", line); !ok || err != nil {
		t.Errorf("command %q", line)
	}
	if out := succeed(t, args...).stdout; !strings.Contains(out, "using the run") {
		t.Errorf("a second demo printed %q", out)
	}
	if r := unnoise(t, "demo", "--only", "training", "--limit", "256", "--dim", "5", "--out", dir); r.code != exitFailure ||
		!strings.Contains(r.stderr, "--fresh") {
		t.Errorf("other settings: exit code %d, %q", r.code, r.stderr)
	}
	if r := unnoise(t, "demo", "--only", "training", "--dim", "4", "--out", dir); r.code != exitFailure ||
		!strings.Contains(r.stderr, "--fresh") {
		t.Errorf("more digits: exit code %d, %q", r.code, r.stderr)
	}
	config := filepath.Join(dir, "run", "config.json")
	if err := os.WriteFile(config, []byte("{"), 0o644); err != nil {
		t.Fatal(err)
	}
	if r := unnoise(t, args...); r.code != exitFailure || !strings.Contains(r.stderr, config) ||
		!strings.Contains(r.stderr, "--fresh") {
		t.Errorf("a damaged run: exit code %d, %q", r.code, r.stderr)
	}
	succeed(t, append(args, "--fresh")...)
	page := filepath.Join(dir, "index.html")
	if err := os.WriteFile(page, []byte("<!doctype html><title>Mine</title>"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{args, {"writeup", "--class", filepath.Join(dir, "run"), "--out", dir}} {
		if r := unnoise(t, args...); r.code != exitFailure ||
			!strings.Contains(r.stderr, "--out: "+page+" is another program's page") {
			t.Errorf("%s over another page: exit code %d, %q", args[0], r.code, r.stderr)
		}
	}
}

func TestCompletion(t *testing.T) {
	if out := succeed(t, "__complete", "train", "mnist", "--condition", "").stdout; !strings.Contains(out, "class") ||
		!strings.Contains(out, "none") {
		t.Errorf("completion of --condition: %q", out)
	}
	if out := succeed(t, "completion", "bash").stdout; !strings.Contains(out, "unnoise") {
		t.Error("no bash completion")
	}
}
