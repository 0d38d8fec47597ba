package main

import (
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/internal/bench"
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
	for flag, args := range map[string][]string{
		"--half": {"--stage", "2", "--half", "1"},
		"--lr":   {"--resume", run, "--lr", "0.1"},
		"--data": {"--data", filepath.Join(run, "nothing")},
	} {
		if r := unnoise(t, append([]string{"train", "text2image"}, args...)...); r.code == 0 {
			t.Errorf("%s: expected an error, found %q", flag, r.stdout)
		}
	}
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
