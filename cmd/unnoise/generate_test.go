package main

import (
	"image/color"
	"image/png"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/unnoise/unnoise/deepfloyd"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/internal/golden"
	"github.com/unnoise/unnoise/weights"
)

// oneDNN is looked for in the cache folder, which tests of embeddings set elsewhere.
func ownCache(t *testing.T) {
	t.Helper()
	if os.Getenv("ONEDNN_LIBRARY") == "" {
		if dir, err := os.UserCacheDir(); err == nil {
			found, _ := filepath.Glob(filepath.Join(dir, "unnoise", "onednn", "*", "libdnnl.so.3"))
			if len(found) > 0 {
				t.Setenv("ONEDNN_LIBRARY", found[0])
			}
		}
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
}

func floats(t *testing.T, path, tensor string) ([]float32, []int) {
	t.Helper()
	f, err := weights.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	return golden.Float32(t, f, tensor)
}

// samePicture reports whether a PNG is the grid of images in [-1,1]; of no values, only whether it has its size.
func samePicture(t *testing.T, path string, values []float32, shape []int, columns, padding int) {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	picture, err := png.Decode(file)
	if err != nil {
		t.Fatal(err)
	}
	n, channels, height, width := shape[0], shape[1], shape[2], shape[3]
	if size := picture.Bounds().Size(); size.X != padding+columns*(width+padding) ||
		size.Y != padding+(n+columns-1)/columns*(height+padding) {
		t.Fatalf("%s has %v pixels", path, size)
	}
	if values == nil {
		return
	}
	for i := range n {
		for y := range height {
			for x := range width {
				c := color.NRGBAModel.Convert(picture.At(padding+i%columns*(width+padding)+x,
					padding+i/columns*(height+padding)+y)).(color.NRGBA)
				for k, got := range []uint8{c.R, c.G, c.B} {
					v := float64(values[((i*channels+k)*height+y)*width+x])/2 + 0.5
					if want := math.Min(math.Max(v, 0), 1) * 255; math.Abs(float64(got)-want) > 0.51 {
						t.Fatalf("%s: image %d, pixel %d, %d, channel %d is %d, want %g", path, i, x, y, k, got, want)
					}
				}
			}
		}
	}
}

// The command line draws what diffusers' pipelines draw of the same prompts and seed.
func TestGenerateEqualsDiffusers(t *testing.T) {
	ownCache(t)
	models := filepath.Join("..", "..", "testdata", "golden") // those of the record, whatever UNNOISE_GOLDEN names
	recorded := filepath.Join("..", "..", "deepfloyd", "testdata", "pipelines.safetensors")
	f, err := weights.Open(recorded)
	if err != nil {
		t.Fatal(err)
	}
	texts := f.Metadata()
	f.Close()
	absolute := func(name string) string {
		path, err := filepath.Abs(filepath.Join(models, name))
		if err != nil {
			t.Fatal(err)
		}
		return path
	}
	raw := filepath.Join(t.TempDir(), "a.safetensors")
	r := succeed(t, "generate", "--model", absolute("if_tiny"), "--upscale", absolute("if_sr_tiny"), "--prompt",
		texts["prompt.0"], "--prompt", texts["prompt.1"], "--negative", texts["negative"],
		"--count", "2", "--steps", "4", "--guidance", "5", "--upscale-steps", "4", "--upscale-guidance", "2",
		"--noise-level", "100", "--seed", "4294967303", "--dtype", "f32", "--out", raw)
	if !strings.Contains(r.stderr, "only the first 76 are read") {
		t.Errorf("no word on the long prompt in %q", r.stderr)
	}
	for tensor, c := range map[string]struct {
		name      string
		tolerance float64
	}{"small": {"small", 1e-3}, "images": {"large", 5e-3}} {
		want, _ := floats(t, recorded, c.name)
		got, _ := floats(t, raw, tensor)
		golden.Close(t, got, want, c.tolerance, tensor)
	}
}

func TestGenerate(t *testing.T) {
	ownCache(t)
	first, second, dir := filepath.Join(golden.Dir(t), "if_tiny"), filepath.Join(golden.Dir(t), "if_sr_tiny"),
		t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	png, raw := path("a.png"), path("a.safetensors")
	args := []string{"generate", "--model", first, "--upscale", second, "--prompt", "a photo of a man", "--prompt",
		"Zürich ☂", "--count", "2", "--steps", "5", "--upscale-steps", "3",
		"--upscale-guidance", "1", "--seed", "9", "--scale", "1", "--dtype", "f32"}
	r := succeed(t, append(args, "--previews", "2", "--out", png, "--out", raw, "--out", path("second.png"),
		"--json")...)
	var report struct {
		Images, Height, Width int
		PeakBytes             int64 `json:"peak_bytes"`
		Files                 []string
	}
	decode(t, r.stdout, &report)
	images, shape := floats(t, raw, "images")
	small, smallShape := floats(t, raw, "small")
	samePicture(t, png, images, shape, 2, 2)
	samePicture(t, path("second.png"), images, shape, 2, 2)
	samePicture(t, path("a-step2.png"), nil, smallShape, 2, 2)
	if report.Images != 4 || report.PeakBytes <= 0 || !slices.Equal(report.Files, []string{png, raw,
		path("second.png")}) || !slices.Equal(shape, []int{4, 3, report.Height, report.Width}) ||
		smallShape[3] >= shape[3] || r.stderr != "" {
		t.Errorf("report %+v, images %d, small %d, stderr %q", report, shape, smallShape, r.stderr)
	}
	p, err := figure.ReadParametersFile(png)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"model": first, "upscale": second, "prompt 1": "a photo of a man",
		"prompt 2": "Zürich ☂", "count": "2", "steps": "5", "guidance": "7",
		"sampler": "ddpm", "upscale-sampler": "ddpm", "upscale-steps": "3", "upscale-guidance": "1",
		"noise-level": "250", "seed": "9", "dtype": "f32"} {
		if got, ok := p.Get(key); got != want || !ok {
			t.Errorf("parameter %s is %q, want %q", key, got, want)
		}
	}
	for _, name := range []string{"a-step2.png", "a-step4.png", "a-upscale-step2.png"} {
		p, err := figure.ReadParametersFile(path(name))
		if err != nil {
			t.Error(err)
		} else if preview,
			_ := p.Get("preview"); !strings.Contains(preview, "step "+name[len(name)-5:len(name)-4]+" of") {
			t.Errorf("%s is of %q", name, preview)
		}
	}

	// A preview that can't be written doesn't cost the picture.
	whole := path("whole.safetensors")
	if err := os.Mkdir(path("whole-step1.png"), 0o755); err != nil {
		t.Fatal(err)
	}
	r = unnoise(t, append(args, "--previews", "1", "--out", whole, "--out", path("whole.png"))...)
	if r.code != exitFailure || strings.Count(r.stderr, "warning") != 1 ||
		strings.Count(r.stderr, path("whole-step1.png")) < 2 {
		t.Errorf("a preview that can't be written: exit code %d, %q", r.code, r.stderr)
	}
	if got, _ := floats(t, whole, "images"); !slices.Equal(got, images) {
		t.Error("without a preview the images differ")
	}

	// Embeddings from a file draw the same, in other batches too.
	prompts := path("p.safetensors")
	succeed(t, "embed", "--model", first, "--prompt", "a photo of a man", "--prompt", "Zürich ☂", "--dtype", "f32",
		"--out", prompts)
	if all, err := deepfloyd.ReadPrompts(prompts); err != nil ||
		!slices.Equal(all.Texts, []string{"a photo of a man", "Zürich ☂", ""}) {
		t.Errorf("%q, %v", all.Texts, err)
	}
	again := path("b.safetensors")
	// Without --prompt the negative one is left out, however it is written.
	succeed(t,
		append(slices.DeleteFunc(slices.Clone(args), func(s string) bool {
			return s == "--prompt" ||
				s == "a photo of a man" || s == "Zürich ☂"
		}), "--embeds", prompts, "--negative", " ", "--batch", "3",
			"--out", again)...)
	told, err := weights.Open(again)
	if err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"prompt 1": "a photo of a man", "prompt 2": "Zürich ☂", "negative": " ",
		"embeds": prompts, "upscale-sampler": "ddpm", "upscale-steps": "3"} {
		if got := told.Metadata()[key]; got != want {
			t.Errorf("embeddings from a file: parameter %s is %q, want %q", key, got, want)
		}
	}
	told.Close()
	got, _ := floats(t, again, "images")
	// bounds what other batches' rounding comes to
	golden.Close(t, got, images, 1e-2, "images by embeddings from a file")
	got, _ = floats(t, again, "small")
	golden.Close(t, got, small, 1e-3, "small images by embeddings from a file")
	succeed(t, "generate", "--model", first, "--embeds", prompts, "--prompt", "ZÜRICH ☂", "--sampler", "dpm++",
		"--timesteps", "fast27", "--guidance", "1", "--out", png)
	if p, err = figure.ReadParametersFile(png); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]string{"sampler": "dpm++", "timesteps": "fast27", "embeds": prompts} {
		if got, _ := p.Get(key); got != want {
			t.Errorf("parameter %s is %q, want %q", key, got, want)
		}
	}

	kept, _ := filepath.Glob(filepath.Join(os.Getenv("XDG_CACHE_HOME"), "unnoise", "embeddings", "*", "*.safetensors"))
	if len(kept) != 3 {
		t.Errorf("%d embeddings are kept, expected 3", len(kept))
	}
	succeed(t, "embed", "--model", first, "--prompt", "another", "--no-cache", "--out", prompts)
	if again, _ := filepath.Glob(filepath.Join(os.Getenv("XDG_CACHE_HOME"), "unnoise", "embeddings", "*",
		"*.safetensors")); len(again) != len(kept) {
		t.Error("--no-cache kept embeddings")
	}
	cats := path("cats.safetensors")
	succeed(t, "embed", "--model", first, "--prompt", "a cat", "--out", cats)
	for want, c := range map[string]struct {
		code int
		args []string
	}{
		`--model: ` + second + ` is a stage of super-resolution`: {exitUsage,
			[]string{"--model", second}},
		`--upscale: ` + first + ` draws from a text alone`: {exitUsage,
			[]string{"--model", first, "--upscale", first}},
		`--noise-level: expected at most `: {exitUsage,
			[]string{"--model", first, "--upscale", second, "--noise-level", "100000"}},
		dir + ` is neither a model folder (with model.safetensors or model_index.json) nor`: {exitFailure,
			[]string{"--model", dir}},
		`no weights of the variant "fp16"`: {exitFailure,
			[]string{"--model", first, "--variant", "fp16"}},
		`--steps: the number of steps is 9999, expected 1 to`: {exitUsage,
			[]string{"--model", first, "--steps", "9999"}},
		`--upscale-steps: the number of steps is 9999, expected 1 to`: {exitUsage,
			[]string{"--model", first, "--upscale", second, "--upscale-steps", "9999"}},
		`x.png: a grid of 4000 images in 64 columns at scale 32 would be`: {exitFailure,
			[]string{"--model", first, "--count", "4000", "--scale", "32"}},
		`for the negative prompt: there are no embeddings of the prompt "a dog"`: {exitFailure,
			[]string{"--model", first, "--embeds", cats, "--negative", "a dog"}},
		`no embeddings of the prompt "a cat"`: {exitFailure,
			[]string{"--model", first, "--embeds", prompts}},
		`--previews: expected fewer than the 50 steps, found 50`: {exitUsage,
			[]string{"--model", first, "--steps", "50", "--previews", "50"}},
	} {
		if r := unnoise(t, append([]string{"generate", "--prompt", "a cat", "--out", path("x.png")},
			c.args...)...); r.code != c.code || !strings.Contains(r.stderr, want) {
			t.Errorf("%v: exit code %d, %q; want %d and %q", c.args, r.code, r.stderr, c.code, want)
		}
	}
	if _, err := os.Stat(path("x.png")); err == nil {
		t.Error("a failure wrote a picture")
	}

	// Files that can't be written are found before the work.
	folder := path("folder.png")
	if err := os.Mkdir(folder, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, wrong := range []string{folder, path(strings.Repeat("x", 250) + ".png"), path("none/x.png")} {
		if r := unnoise(t, "generate", "--model", "never opened", "--prompt", "a cat", "--out",
			wrong); r.code != exitFailure || !strings.Contains(r.stderr, "--out: ") {
			t.Errorf("--out %s: exit code %d, %q", wrong, r.code, r.stderr)
		}
	}
	// What the first stage drew is kept where the second one fails.
	broken := path("broken")
	if err := os.CopyFS(broken, os.DirFS(second)); err != nil {
		t.Fatal(err)
	}
	golden.Spoil(t, filepath.Join(broken, "unet", "diffusion_pytorch_model.safetensors"), "conv_out.bias")
	r = unnoise(t, "generate", "--model", first, "--upscale", broken, "--prompt", "a cat", "--steps", "5",
		"--upscale-steps", "3", "--scale", "1", "--dtype", "f32", "--out", path("k.png"), "--out",
		path("k.safetensors"))
	if r.code != exitFailure || !strings.Contains(r.stderr, "NaN") ||
		!strings.Contains(r.stderr,
			"The small images are kept: "+path("k-small.png")+", "+path("k-small.safetensors")) {
		t.Errorf("a second stage that fails: exit code %d, %q", r.code, r.stderr)
	}
	early, earlyShape := floats(t, path("k-small.safetensors"), "images")
	samePicture(t, path("k-small.png"), early, earlyShape, 1, 0)

	// Ctrl-C stops between evaluations and leaves nothing half-written.
	cmd := command(t, "generate", "--model", first, "--prompt", "a cat", "--steps", "1000", "--count", "4", "--out",
		path("x.png"))
	time.AfterFunc(2*time.Second, func() { cmd.Process.Signal(os.Interrupt) })
	if r := finish(t, cmd); r.code != 130 || !strings.Contains(r.stderr, "stopped by interrupt") {
		t.Errorf("Ctrl-C: exit code %d, %q", r.code, r.stderr)
	}
	if _, err := os.Stat(path("x.png")); err == nil {
		t.Error("a stopped walk wrote a picture")
	}
}

// The variant, the sampler and the dtype reach both stages and the text encoder.
func TestGenerateReachesAllParts(t *testing.T) {
	ownCache(t)
	dir := t.TempDir()
	var folders []string
	for _, model := range []string{"if_tiny", "if_sr_tiny"} {
		folder := filepath.Join(dir, model)
		if err := os.CopyFS(folder, os.DirFS(filepath.Join(golden.Dir(t), model))); err != nil {
			t.Fatal(err)
		}
		found, err := filepath.Glob(filepath.Join(folder, "*", "*.safetensors"))
		if err != nil || len(found) == 0 {
			t.Fatalf("%q, %v", found, err)
		}
		for _, path := range found { // what has no variant can't be read
			if err := os.Rename(path, strings.TrimSuffix(path, "safetensors")+"fp16.safetensors"); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(path, []byte("x"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		folders = append(folders, folder)
	}
	draw := func(flags ...string) []float32 {
		t.Helper()
		raw := filepath.Join(dir, "x.safetensors")
		succeed(t, append([]string{"generate", "--model", folders[0], "--upscale", folders[1], "--variant", "fp16",
			"--prompt", "a cat", "--steps", "3", "--upscale-steps", "3", "--out", raw}, flags...)...)
		f, err := weights.Open(raw)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		for key, want := range map[string]string{"variant": "fp16", "sampler": "ddim", "upscale-sampler": "ddim",
			"upscale-guidance": "4", "guidance": "7", "revision": ""} {
			if got := f.Metadata()[key]; got != want {
				t.Errorf("parameter %s is %q, want %q", key, got, want)
			}
		}
		values, _ := golden.Float32(t, f, "images")
		return values
	}
	exact := draw("--sampler", "ddim", "--dtype", "f32")
	if narrow := draw("--sampler", "ddim", "--dtype", "bf16"); slices.Equal(narrow, exact) {
		t.Error("bf16 draws as f32 does, to the last bit")
	}
}
