package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/evaluation"
	"github.com/unnoise/unnoise/onednn"
	"github.com/unnoise/unnoise/training"
	"github.com/unnoise/unnoise/training/mnist"
	"github.com/unnoise/unnoise/weights"
)

// fewDigits writes a set of MNIST's first digits, on which the classifier is trained in no time.
func fewDigits(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	train, test, err := dataset.MNIST()
	if err != nil {
		t.Fatal(err)
	}
	write := func(name string, data []byte, dims ...uint32) {
		head := []byte{0, 0, 8, byte(len(dims))}
		for _, d := range dims {
			head = append(head, byte(d>>24), byte(d>>16), byte(d>>8), byte(d))
		}
		if err := os.WriteFile(filepath.Join(dir, name), append(head, data...), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for name, set := range map[string]*dataset.Labeled{"train": train.Head(300), "t10k": test.Head(100)} {
		write(name+"-images-idx3-ubyte", set.Images, uint32(set.Len()), 28, 28)
		write(name+"-labels-idx1-ubyte", set.Labels, uint32(set.Len()))
	}
	return dir
}

// evalIn runs eval with a cache folder of its own.
func evalIn(t *testing.T, cache string, args ...string) result {
	t.Helper()
	cmd := command(t, append([]string{"eval"}, args...)...)
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+cache)
	if path := onednn.Library().Path; path != "" {
		cmd.Env = append(cmd.Env, "ONEDNN_LIBRARY="+path)
	}
	return finish(t, cmd)
}

func mustEval(t *testing.T, cache string, args ...string) (r evaluation.Report) {
	t.Helper()
	out := evalIn(t, cache, append(args, "--json")...)
	if out.code != 0 {
		t.Fatalf("eval %v: exit code %d\n%s", args, out.code, out.stderr)
	}
	decode(t, out.stdout, &r)
	return r
}

func readReport(t *testing.T, path string) (r evaluation.Report) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestEval(t *testing.T) {
	data, cache := fewDigits(t), t.TempDir()
	run := small(t, "--data", data, "--no-samples")
	file := filepath.Join(run, "report.json")
	r := mustEval(t, cache, "--model", run, "--sampler", "ddim:3,dpm++:2", "--guidance", "1,4", "--count", "25",
		"--out", file)
	if !r.Complete || r.Data != data || r.Config == nil || r.Config.Dim != 4 || r.Classifier == nil ||
		len(r.Rows) != 4 {
		t.Fatalf("report %+v", r)
	}
	if all := r.Baselines[0]; all.Images < 150 || all.Images%10 != 0 || !all.Even || r.Baselines[1].Images != 25 ||
		r.Baselines[1].Groups < 6 || !(all.Frechet < r.Baselines[1].Frechet) {
		t.Errorf("baselines %+v", r.Baselines)
	}
	for i, want := range []struct {
		sampler     string
		steps       int
		guidance    float64
		evaluations int
	}{{"ddim", 3, 1, 3}, {"ddim", 3, 4, 6}, {"dpm++", 2, 1, 2}, {"dpm++", 2, 4, 4}} {
		row := r.Rows[i]
		if row.Sampler != want.sampler || row.Steps != want.steps || row.Guidance == nil ||
			*row.Guidance != want.guidance || row.Evaluations != want.evaluations {
			t.Errorf("row %d is %+v, want %+v", i, row, want)
		}
		asked, read := 0, 0
		for _, c := range row.Classes {
			asked, read = asked+c.Asked, read+c.Read
		}
		if asked != 25 || read != 25 || row.Images != 25 || row.Classes[0].Asked != 3 || row.Classes[9].Asked != 2 ||
			row.Accuracy == nil || row.Frechet <= 0 || row.Seconds <= 0 {
			t.Errorf("row %d is %+v", i, row)
		}
	}
	if saved := readReport(t, file); !saved.Complete || len(saved.Rows) != 4 ||
		saved.Rows[3].Frechet != r.Rows[3].Frechet {
		t.Errorf("the file has %+v", saved)
	}

	// The samples that the second row judged, from a file; the classifier is the same one.
	raw := filepath.Join(run, "s.safetensors")
	succeed(t, "sample", "--model", run, "--sampler", "ddim", "--steps", "3", "--guidance", "4", "--count", "25",
		"--out", raw)
	again := mustEval(t, cache, "--samples", raw, "--data", data)
	if len(again.Rows) != 1 || again.Rows[0].Frechet != r.Rows[1].Frechet ||
		*again.Rows[0].Accuracy != *r.Rows[1].Accuracy || again.Classifier.Path != r.Classifier.Path {
		t.Errorf("the same samples from a file got %+v, want %+v", again.Rows, r.Rows[1])
	}
	out := evalIn(t, cache, "--samples", raw, "--data", data)
	if out.code != 0 || !strings.Contains(out.stdout, "Fréchet distance") || strings.Contains(out.stderr, "step") {
		t.Errorf("exit code %d, %q, %q; want a table, and no training", out.code, out.stdout, out.stderr)
	}
	if out := evalIn(t, cache, "--samples", raw, "--data", data, "--retrain"); out.code != 0 ||
		!strings.Contains(out.stderr, "training the classifier") {
		t.Errorf("--retrain: exit code %d, %q", out.code, out.stderr)
	}

	// An epoch's model is measured against the images that its run was trained on; one that does not tell needs --data.
	epoch := training.EpochDir(run, 1)
	if r := mustEval(t, cache, "--model", epoch, "--sampler", "ddim:1", "--count", "10"); r.Data != data {
		t.Errorf("an epoch's model was measured against %q, want %q", r.Data, data)
	}
	alone := filepath.Join(t.TempDir(), "model")
	if err := os.CopyFS(alone, os.DirFS(epoch)); err != nil {
		t.Fatal(err)
	}
	if out := evalIn(t, cache, "--model", alone); out.code != exitUsage || !strings.Contains(out.stderr, "--data") {
		t.Errorf("a model of unknown data: exit code %d, %q", out.code, out.stderr)
	}
}

func TestEvalOtherConditions(t *testing.T) {
	data, cache := fewDigits(t), t.TempDir()
	run := small(t, "--condition", "time", "--data", data, "--no-samples")
	r := mustEval(t, cache, "--model", run, "--sampler", "ddim:2", "--count", "12")
	if len(r.Rows) != 1 || r.Rows[0].Accuracy != nil || r.Rows[0].Guidance != nil || r.Rows[0].Evaluations != 2 {
		t.Errorf("condition time: %+v", r.Rows)
	}
	out := evalIn(t, cache, "--model", run, "--sampler", "ddim:2", "--count", "12")
	if out.code != 0 || !strings.Contains(out.stdout, "read as each class") {
		t.Errorf("condition time: exit code %d, %q, %q", out.code, out.stdout, out.stderr)
	}
	if out := evalIn(t, cache, "--model", run, "--guidance", "3"); out.code != exitUsage ||
		!strings.Contains(out.stderr, "--guidance has no meaning") {
		t.Errorf("guidance of condition time: exit code %d, %q", out.code, out.stderr)
	}
	if out := evalIn(t, cache, "--model", run, "--sampler", "ddim:301"); out.code != exitUsage ||
		!strings.Contains(out.stderr, "--sampler: ddim:301: steps: expected 1 to 300 with this model, found 301") {
		t.Errorf("301 steps: exit code %d, %q", out.code, out.stderr)
	}

	run = small(t, "--objective", "flow", "--data", data, "--no-samples")
	r = mustEval(t, cache, "--model", run, "--sampler", "euler:2,midpoint:2,heun:2,ddim:3", "--guidance", "3",
		"--count", "12")
	var evaluations []int
	for _, row := range r.Rows {
		evaluations = append(evaluations, row.Evaluations)
	}
	if !slices.Equal(evaluations, []int{4, 8, 6, 6}) || r.Rows[1].Accuracy == nil {
		t.Errorf("objective flow: %+v", r.Rows)
	}

	// Samples that nobody asked for have the baselines of any images, and a set of other classes is none to compare
	// with.
	raw := filepath.Join(run, "s.safetensors")
	images, labels := make([]float32, 12*28*28), make([]int32, 12)
	for i := range labels {
		labels[i] = -1
		for j := range 28 * 28 {
			images[28*28*i+j] = float32((i+1)*j%13) / 13
		}
	}
	if err := weights.Write(raw, map[string]weights.Tensor{"images": weights.FromFloat32([]int{12, 1, 28, 28}, images),
		"labels": weights.FromInt32([]int{12}, labels)}, nil); err != nil {
		t.Fatal(err)
	}
	if r := mustEval(t, cache, "--samples", raw, "--data", data); r.Baselines[1].Even || r.Rows[0].Accuracy != nil {
		t.Errorf("samples without classes: %+v", r)
	}
	few := fewDigits(t)
	name := filepath.Join(few, "train-labels-idx1-ubyte")
	head, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := range head[8:] {
		head[8+i] %= 5
	}
	if err := os.WriteFile(name, head, 0o644); err != nil {
		t.Fatal(err)
	}
	if out := evalIn(t, cache, "--model", run, "--data", few); out.code != exitFailure ||
		!strings.Contains(out.stderr, "draws images of the classes 0-9; expected all of them in "+few+", found 0-4") {
		t.Errorf("a set of other classes: exit code %d, %q", out.code, out.stderr)
	}
	if c, err := mnist.ReadConfig(small(t, "--data", few, "--no-samples")); err != nil || c.Network.Classes != 5 {
		t.Errorf("a run on five classes has %d, %v", c.Network.Classes, err)
	}

	// A set that has changed is not the one that the model was trained on.
	for i := range head[8:] {
		head[8+i] = 9 - head[8+i]
	}
	if err := os.WriteFile(filepath.Join(data, "train-labels-idx1-ubyte"), head, 0o644); err != nil {
		t.Fatal(err)
	}
	if out := evalIn(t, cache, "--model", run); out.code != exitFailure ||
		!strings.Contains(out.stderr, "found 300 with") || !strings.Contains(out.stderr, "--data") {
		t.Errorf("a set that has changed: exit code %d, %q", out.code, out.stderr)
	}

	run = small(t, "--condition", "none", "--data", few, "--no-samples")
	r = mustEval(t, cache, "--model", run, "--count", "50")
	if len(r.Denoising) != len(evaluation.NoiseLevels) || r.Rows != nil || r.Classifier != nil {
		t.Fatalf("condition none: %+v", r)
	}
	for i, d := range r.Denoising {
		if d.Sigma != evaluation.NoiseLevels[i] || d.Images != 50 || d.Model <= 0 ||
			d.Constant != r.Denoising[0].Constant {
			t.Errorf("condition none: %+v", d)
		}
	}
}

// TestEvalInterrupt stops an evaluation in its second row.
func TestEvalInterrupt(t *testing.T) {
	data, cache := fewDigits(t), t.TempDir()
	run := small(t, "--data", data, "--no-samples")
	file := filepath.Join(run, "report.json")
	cmd := command(t, "eval", "--model", run, "--sampler", "ddim:1,ddpm", "--count", "400", "--out", file)
	cmd.Env = append(os.Environ(), "XDG_CACHE_HOME="+cache, "ONEDNN_LIBRARY="+onednn.Library().Path)
	waiting := time.NewTicker(50 * time.Millisecond)
	defer waiting.Stop()
	go func() {
		for range waiting.C {
			if _, err := os.Stat(file); err == nil {
				cmd.Process.Signal(os.Interrupt)
				return
			}
		}
	}()
	r := finish(t, cmd)
	if r.code != 130 || !strings.Contains(r.stderr, "stopped by interrupt") || !strings.Contains(r.stdout, "ddim:1") {
		t.Errorf("exit code %d, %q, %q; want 130 and the row that was finished", r.code, r.stdout, r.stderr)
	}
	if saved := readReport(t, file); saved.Complete || len(saved.Rows) != 1 {
		t.Errorf("the file has %+v; want one row, not complete", saved)
	}
}

func TestEvalRefusals(t *testing.T) {
	bad := filepath.Join(t.TempDir(), "bad.safetensors")
	if err := weights.Write(bad, map[string]weights.Tensor{"images": weights.FromFloat32([]int{2, 3},
		make([]float32, 6))}, nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		code int
		args string
		want string
	}{
		{exitUsage, "", "found neither"},
		{exitUsage, "--model a --samples b", "found both"},
		{exitUsage, "--samples b --guidance 3", "--guidance has no meaning with --samples"},
		{exitUsage, "--model a --sampler plms:3",
			`--sampler: expected names with commas, ddpm, ddim, dpm++, euler, midpoint or heun`},
		{exitUsage, "--model a --sampler ddim:0", `found "ddim:0"`},
		{exitUsage, "--model a --sampler ddim,ddim", `found "ddim,ddim"`},
		{exitUsage, "--model a --guidance 1,x",
			`--guidance: expected numbers from -100 to 100 with commas, found "1,x"`},
		{exitUsage, "--model a --guidance NaN", `found "NaN"`},
		{exitUsage, "--model a --count 1", "--count: expected a whole number from 2"},
		{exitUsage, "--model a --out report.txt", "--out: expected a file name that ends with .json"},
		{exitFailure, "--model nowhere", "nowhere"},
		{exitFailure, "--samples nowhere", "nowhere"},
		{exitFailure, "--samples " + bad, `"images" has shape [2 3]`},
	} {
		r := unnoise(t, slices.Concat([]string{"eval"}, strings.Fields(c.args))...)
		if r.code != c.code || !strings.Contains(r.stderr, c.want) {
			t.Errorf("eval %s: exit code %d, %q; want %d and %q", c.args, r.code, r.stderr, c.code, c.want)
		}
	}
}
