package main

import (
	"image"
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/internal/bench"
	"github.com/unnoise/unnoise/training"
	"github.com/unnoise/unnoise/weights"
)

// coloredPictures are pictures of one color each, with captions beside them.
func coloredPictures(t *testing.T) string {
	dir := t.TempDir()
	for name, c := range map[string]color.RGBA{"red": {255, 0, 0, 255}, "blue": {0, 0, 255, 255}} {
		m := image.NewRGBA(image.Rect(0, 0, 32, 32))
		for at := range 32 * 32 {
			m.Set(at%32, at/32, c)
		}
		f, err := os.Create(filepath.Join(dir, name+".png"))
		if err != nil {
			t.Fatal(err)
		}
		if err := png.Encode(f, m); err != nil {
			t.Fatal(err)
		}
		if err := f.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name+".txt"), []byte("a "+name+" square"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// TestTrainText2Image makes a step in half the size, goes on, and draws with the run.
func TestTrainText2Image(t *testing.T) {
	data, run := coloredPictures(t), filepath.Join(t.TempDir(), "run")
	succeed(t, "train", "text2image", "--data", data, "--out", run, "--steps", "1", "--batch", "2", "--half", "100",
		"--no-samples")
	out := succeed(t, "train", "text2image", "--resume", run, "--steps", "2", "--no-samples").stdout
	if !strings.Contains(out, "step 2/2") {
		t.Errorf("the run says %q, expected it to end with its second step", out)
	}
	picture := filepath.Join(run, "red.png")
	succeed(t, "generate", "--model", run, "--prompt", "a red square", "--steps", "1", "--no-cache", "--out", picture)
	if _, err := os.Stat(picture); err != nil {
		t.Error(err)
	}
	second := filepath.Join(t.TempDir(), "second")
	succeed(t, "train", "text2image", "--stage", "2", "--data", data, "--out", second, "--steps", "1", "--batch", "2",
		"--no-samples")
	if out := succeed(t, "train", "text2image", "--resume", second, "--steps", "2",
		"--no-samples").stdout; !strings.Contains(out, "step 2/2") {
		t.Errorf("the second stage's run says %q, expected it to end with its second step", out)
	}
	var large struct{ Width int }
	decode(t, succeed(t, "generate", "--model", run, "--upscale", second, "--prompt", "a red square", "--steps", "1",
		"--upscale-steps", "1", "--no-cache", "--out", filepath.Join(run, "large.png"), "--json").stdout, &large)
	if large.Width != 128 {
		t.Errorf("the second stage draws images of %d pixels, want 128", large.Width)
	}
	words, sharp := filepath.Join(t.TempDir(), "words"), filepath.Join(t.TempDir(), "sharp")
	succeed(t, "train", "text2image", "--stage", "0", "--from", run, "--data", data, "--out", words, "--steps", "1",
		"--batch", "2", "--no-samples")
	succeed(t, "train", "text2image", "--stage", "2", "--from", second, "--data", data, "--out", sharp, "--steps", "1",
		"--batch", "2", "--no-samples", "--lr", "1e-30")
	same(t, valuesOf(t, sharp, "unet"), valuesOf(t, second, "unet"))
	fixed := filepath.Join(t.TempDir(), "fixed")
	succeed(t, "train", "text2image", "--from", run, "--text", words, "--freeze-text", "--data", data, "--out", fixed,
		"--steps", "2", "--batch", "2", "--half", "100", "--no-samples")
	same(t, valuesOf(t, fixed, "text_encoder"), valuesOf(t, words, "text_encoder"))
	for flag, args := range map[string][]string{
		"--half": {"--stage", "2", "--half", "1"},
		"--from": {"--stage", "2", "--from", run, "--data", data, "--out", filepath.Join(t.TempDir(), "none")},
		"--lr":   {"--resume", run, "--lr", "0.1"},
		"--data": {"--data", filepath.Join(run, "nothing")},
	} {
		if r := unnoise(t, append([]string{"train", "text2image"}, args...)...); r.code == 0 {
			t.Errorf("%s: expected an error, found %q", flag, r.stdout)
		}
	}
}

// same checks that a part which should have learned nothing is what it began with.
func same(t *testing.T, found, began map[string][]float32) {
	t.Helper()
	for name, values := range began {
		for i, v := range values {
			if d := math.Abs(float64(found[name][i] - v)); d > 1e-3*math.Abs(float64(v))+1e-9 {
				t.Fatalf("%s: value %d is %g after no learning, began with %g", name, i, found[name][i], v)
			}
		}
	}
}

// valuesOf are the values of a part of the model that a run has kept last.
func valuesOf(t *testing.T, run, part string) map[string][]float32 {
	t.Helper()
	dir, err := training.ModelDir(run)
	if err != nil {
		t.Fatal(err)
	}
	f, err := weights.OpenFolder(filepath.Join(dir, part), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	values := map[string][]float32{}
	for _, name := range f.Names() {
		tensor, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		if values[name], err = tensor.Float32(); err != nil {
			t.Fatal(err)
		}
	}
	return values
}

func TestBenchText2Image(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "network")
	var r bench.Report
	decode(t, succeed(t, "bench", "text2image", "--batch", "1", "--runs", "1", "--folder", folder, "--json").stdout, &r)
	if r.Batch != 1 || r.Parameters < 8_000_000 || r.Parameters > 12_000_000 ||
		!(r.BestSeconds > 0 && r.GuidedBestSeconds > 0 && r.ImagesPerSecond > 0 && r.PeakBytes > 0) {
		t.Errorf("the report is %+v", r)
	}
	for _, name := range []string{"unet/config.json", "text_encoder/config.json"} {
		if _, err := os.Stat(filepath.Join(folder, name)); err != nil {
			t.Error(err)
		}
	}
}
