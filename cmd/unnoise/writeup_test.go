package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/unnoise/unnoise/evaluation"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/training"
	"github.com/unnoise/unnoise/training/mnist"
)

func TestWriteup(t *testing.T) {
	small := func(flags ...string) string {
		dir := filepath.Join(t.TempDir(), "run")
		succeed(t, append([]string{"train", "mnist", "--limit", "128", "--dim", "4", "--batch", "64", "--epochs", "2",
			"--no-samples", "--dtype", "f32", "--out", dir}, flags...)...)
		return dir
	}
	none, timed := small("--condition", "none"), small("--condition", "time", "--timesteps", "5")
	pure, flowTime := small("--condition", "none", "--pure-noise"), small("--condition", "time", "--objective", "flow")
	class, flat := small("--timesteps", "5"), small("--timesteps", "5", "--decay", "1", "--epochs", "1", "--seed", "1")
	flow := small("--objective", "flow")
	report := filepath.Join(t.TempDir(), "report.json")
	accuracy, scale := 0.9876, 5.0
	if err := (evaluation.Report{Version: evaluation.ReportVersion, Model: "runs/digits",
		Config: &mnistunet.Config{Condition: mnistunet.Class, Dim: 8}, DType: "f32", Seed: new(uint64),
		Data: mnist.Embedded, Classifier: &evaluation.ClassifierInfo{Accuracy: 0.9921},
		Baselines: []evaluation.BaselineDistance{{Images: 60000, Frechet: 0.0151},
			{Images: 1000, Groups: 10, Frechet: 0.1321}},
		Rows: []evaluation.Row{{Sampler: "ddim", Steps: 20, Guidance: &scale, Evaluations: 40, Seconds: 90,
			Score: evaluation.Score{Images: 1000, Accuracy: &accuracy, Frechet: 0.25,
				Classes: []evaluation.ClassScore{{Class: 0},
					{Class: 1, Accuracy: &accuracy}}}}}}).Write(report); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "page")
	runs := []string{"writeup", "--half", "b", "--none", none, "--pure-noise", pure, "--time", timed, "--class", class,
		"--class-flat", flat, "--flow-time", flowTime, "--flow", flow, "--out", dir}
	args := append(slices.Clone(runs), "--eval", report, "--seed", "3")
	if out := succeed(t, args...).stdout; !strings.Contains(out, filepath.Join(dir, "index.html")) {
		t.Errorf("writeup printed %q", out)
	}
	page, err := os.ReadFile(filepath.Join(dir, "index.html"))
	if err != nil {
		t.Fatal(err)
	}
	text := strings.NewReplacer("<span>", "", "</span>", "").Replace(string(page))
	for _, part := range []string{
		"After epoch 1", "After epoch 2", "γ = 10", "[&#34;t = 4&#34;,", "&#34;t = 0&#34;,&#34;result&#34;]",
		"[&#34;t = 0.00&#34;,", "more than that", "t = 1.00", "Flow, Euler, 10 steps", "Flow, Euler, 50 steps",
		"Noise estimates, DDIM, 4 steps: 8 evaluations", "Noise estimates, DDPM, 5 steps: 10 evaluations",
		"Flow, midpoint, 5 steps: 20 evaluations", "flow-guidance-10.png", "Constant rate, γ = 0",
		"unnoise train mnist --condition class --objective flow --dim 4 --epochs 2 --batch 64 --limit 128 ",
		"--class-flat " + flat + " --flow-time " + flowTime + " --flow " + flow + " --out " + dir +
			" --eval " + report + " --seed 3 --dtype ", "unnoise train mnist --condition none --pure-noise --dim 4 ",
		"It shows epochs 1, 2 so far. Go on, and make the page again:",
		"unnoise train mnist --resume " + none + " --epochs 5",
		"unnoise train mnist --resume " + class + " --epochs 20",
		`<th scope="row">ddim:20, γ = 5</th><td>1000</td><td>98.8</td><td>0.250</td><td>40</td><td>1m30s</td>`,
		"runs/digits: condition class, dim 8, f32, seed 0", "it reads 99.21 %",
		"Training images, in place of samples, get 0.015 for 60000, 0.132 for 1000 (mean of 10 groups).",
		`<th scope="col">0</th><th scope="col">1</th></tr></thead>`, "accuracy of each class",
		`<th scope="row">ddim:20, γ = 5</th><td>-</td><td>98.8</td>`, "stopped before its end",
		"unnoise train mnist --condition none --dim 4 --epochs 2 --batch 64 --limit 128 --seed 0 --dtype f32 --threads",
	} {
		if !strings.Contains(text, part) {
			t.Errorf("the page lacks %q", part)
		}
	}
	for _, m := range regexp.MustCompile(`href="#([^"]+)"`).FindAllStringSubmatch(text, -1) {
		if !strings.Contains(text, `id="`+m[1]+`"`) {
			t.Errorf("the checklist leads to #%s, which is not there", m[1])
		}
	}
	// what needs more epochs is there in part, all else is ticked
	for state, want := range map[string]int{"done": 11, "in part": 4, "not on this page": 0} {
		if n := strings.Count(string(page), `<span title="`+state+`">`); n != want {
			t.Errorf("with a run of each kind %d things are %s, expected %d", n, state, want)
		}
	}
	p, err := figure.ReadParametersFile(filepath.Join(dir, "class-epoch-02.png"))
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"epoch": "2", "sampler": "ddpm", "steps": "5", "guidance": "5",
		"seed": "3", "model": "class-conditional"} {
		if got, _ := p.Get(key); got != want {
			t.Errorf("parameter %s is %q, want %q", key, got, want)
		}
	}

	// What was drawn stays; what is missing or damaged is drawn again, to the same page.
	drawings, err := filepath.Glob(filepath.Join(dir, "drawings", "*.safetensors"))
	// 2 epochs of 6 runs, 3 other scales of two, 4 without decay, 7 other ways of the flow, 2 of noise estimates
	if err != nil || len(drawings) != 31 {
		t.Fatalf("drawings %q, %v", drawings, err)
	}
	old := time.Now().Add(-time.Hour)
	for _, path := range drawings {
		if err := os.Chtimes(path, old, old); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Remove(drawings[0]); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(drawings[1], 100); err != nil {
		t.Fatal(err)
	}
	succeed(t, args...)
	for i, path := range drawings {
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		if again := info.ModTime().After(old.Add(time.Minute)); again != (i < 2) {
			t.Errorf("drawing %d was made again: %v", i, again)
		}
	}
	if second, err := os.ReadFile(filepath.Join(dir, "index.html")); err != nil || string(second) != string(page) {
		t.Errorf("the second page differs, %v", err)
	}

	// Another seed has other drawings.
	succeed(t, append(runs, "--seed", "4")...)
	if again, err := filepath.Glob(filepath.Join(dir, "drawings", "*.safetensors")); err != nil ||
		len(again) != 2*len(drawings) {
		t.Errorf("with another seed there are %d drawings, %v", len(again), err)
	}

	// Beside a run of other pictures the program's models don't stand.
	others := small("--decay", "1", "--timesteps", "5", "--data", fewDigits(t))
	alone := filepath.Join(t.TempDir(), "page")
	succeed(t, "writeup", "--half", "b", "--class", others, "--out", alone)
	if page, err := os.ReadFile(filepath.Join(alone, "index.html")); err != nil ||
		!strings.Contains(string(page), `id="class"`) || strings.Contains(string(page), `id="time"`) ||
		!strings.Contains(string(page), "<span>unnoise train mnist</span> <span>--condition none</span>") {
		t.Errorf("a page of other pictures shows more, or does not say how to train the rest: %v", err)
	}

	for _, c := range []struct {
		code int
		args []string
		want string
	}{
		{exitUsage, []string{"--class-flat", others},
			"--class-flat: it is compared with --class"},
		{exitFailure, []string{"--none", pure}, pure + " was trained with --pure-noise; give it to --pure-noise"},
		{exitFailure, []string{"--pure-noise", none}, "--pure-noise: expected a run trained with --pure-noise"},
		{exitFailure, []string{"--time", class}, "--time: expected a run of condition time, " + class +
			" has condition class"},
		{exitFailure, []string{"--class", filepath.Join(dir, "nowhere")},
			"--class: " + filepath.Join(dir, "nowhere") + " is not a training run"},
		{exitFailure, []string{"--class", class, "--eval", filepath.Join(class, "config.json")},
			"--eval: " + filepath.Join(class, "config.json")},
		{exitFailure, []string{"--class", flow}, "was trained with --objective flow; give it to --flow"},
		{exitFailure, []string{"--flow", class}, "--flow: expected a run trained with --objective flow"},
		{exitFailure, []string{"--class", flat, "--class-flat", class}, "--class-flat: expected a run with decay 1"},
	} {
		if r := unnoise(t, append([]string{"writeup", "--half", "b"}, c.args...)...); r.code != c.code ||
			!strings.Contains(r.stderr, c.want) {
			t.Errorf("%v: exit code %d, %q; want %d and %q", c.args, r.code, r.stderr, c.code, c.want)
		}
	}
}

// The command on the page trains with the run's recipe.
func TestTrainCommand(t *testing.T) {
	c := mnist.Default(mnistunet.Time)
	c.DType, c.Threads, c.Data = "f32", 2, training.Data{Name: mnist.Embedded, Images: 60000}
	if got, want := c.Command(false, "my runs"),
		"unnoise train mnist --condition time --seed 0 --dtype f32 --threads 2 --out 'my runs'"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	c.Network = c.Network.ForTimesteps(50)
	c.Network.Dim, c.Decay, c.Data.Images, c.Seed = 8, 1, 1000, 4
	if got, want := c.Command(true, "runs/a"),
		"unnoise train mnist --condition time --dim 8 --timesteps 50 --decay 1 --limit 1000 --seed 4 --dtype f32 "+
			"--threads 2 --out runs/a"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	long := c
	long.Config = long.WithLength(30)
	long.Schedule, long.Warmup, long.Clip, long.EMA, long.From = training.Cosine, 10, 1, 0.99, "mnist-time"
	if got := long.Command(true, "runs/a"); !strings.HasPrefix(got,
		"unnoise train mnist --from mnist-time --decay") || !strings.Contains(got,
		" --decay 1 --schedule cosine --warmup 10 --clip 1 --ema 0.99 --limit") ||
		!strings.HasSuffix(got, " --out runs/a && unnoise train mnist --resume runs/a --epochs 30") {
		t.Errorf("a longer run: %s", got)
	}
}
