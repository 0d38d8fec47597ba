package main

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/internal/golden"
	"github.com/unnoise/unnoise/registry"
	"github.com/unnoise/unnoise/weights"
)

// copyModel copies one of the golden models to dir.
func copyModel(t *testing.T, name, dir string) {
	t.Helper()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(golden.Dir(t), name))); err != nil {
		t.Fatal(err)
	}
}

func TestPipelineInfo(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "tiny")
	copyModel(t, "if_tiny", dir)
	if err := os.RemoveAll(filepath.Join(dir, "text_encoder")); err != nil { // as model pull --without leaves it
		t.Fatal(err)
	}
	f, err := weights.OpenFolder(filepath.Join(dir, "unet"), "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	parameters := 0
	for _, name := range f.Names() {
		x, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		parameters += x.Size()
	}
	file, err := os.Stat(f.Path())
	if err != nil {
		t.Fatal(err)
	}

	var r registry.PipelineReport
	decode(t, succeed(t, "model", "info", dir, "--json", "--dtype", "f32", "--threads", "1").stdout, &r)
	if r.Class != "IFPipeline" || r.Folder != dir || len(r.Parts) != 4 || r.DType != "f32" || r.Threads != 1 {
		t.Fatalf("report %+v", r)
	}
	if p := r.Parts[1]; p.Name != "text_encoder" || !p.Missing || p.Estimate != nil {
		t.Errorf("the part that is not there: %+v", p)
	}
	u := r.Parts[2]
	if u.Name != "unet" || u.Estimate == nil || u.Parameters != parameters || u.DTypes[weights.F32] != parameters ||
		u.Bytes != file.Size() || !slices.Equal(u.Files, []string{filepath.Base(f.Path())}) {
		t.Fatalf("UNet %+v, want %d parameters in %d bytes", u, parameters, file.Size())
	}
	if u.WeightBytes != 4*parameters || u.MemoryBytes <= u.WeightBytes || u.MultiplyAdds <= 0 {
		t.Errorf("UNet %+v", u.Estimate)
	}
	slow, fast := min(r.Rates.Convolution, r.Rates.Product), max(r.Rates.Convolution, r.Rates.Product)
	if least, most := float64(u.MultiplyAdds)/fast, float64(u.MultiplyAdds)/slow; !(slow > 0) || math.IsInf(fast, 0) ||
		u.Seconds < least*0.999 || u.Seconds > most*1.001 {
		t.Errorf("%g s for %d multiply-adds at %+v", u.Seconds, u.MultiplyAdds, r.Rates)
	}

	// By its name in the hub's cache.
	hub, commit := t.TempDir(), strings.Repeat("a", 40)
	t.Setenv("HF_HUB_CACHE", hub)
	repo := filepath.Join(hub, "models--owner--tiny")
	copyModel(t, "if_sr_tiny", filepath.Join(repo, "snapshots", commit))
	if err := os.MkdirAll(filepath.Join(repo, "refs"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(repo, "refs", "main"), []byte(commit), 0o644); err != nil {
		t.Fatal(err)
	}
	out := succeed(t, "model", "info", "owner/tiny").stdout
	for _, want := range []string{"IFSuperResolutionPipeline", "image_noising_scheduler", "2 images of 32×32",
		"estimates"} {
		if !strings.Contains(out, want) {
			t.Errorf("no %q in %s", want, out)
		}
	}

	// A folder of a text encoder alone, as far as its index says.
	out = succeed(t, "model", "info", replaced(t, "model_index.json", `"unet"`, `"watermarker"`)).stdout
	if !strings.Contains(out, "T5EncoderModel") || strings.Contains(out, "UNet2D") ||
		!strings.Contains(out, "watermarker") {
		t.Errorf("without a UNet: %s", out)
	}

	for want, c := range map[string]struct {
		code int
		args []string
	}{
		`no weights of the variant "fp16"`: {exitFailure, []string{dir, "--variant", "fp16"}},
		"unnoise model pull owner/other":   {exitFailure, []string{"owner/other"}},
		"--variant is for pipelines":       {exitUsage, []string{"mnist-class", "--variant", "fp16"}},
		"neither a model folder (with model.safetensors or model_index.json) nor a training run": {exitFailure,
			[]string{t.TempDir()}},
		"config.json: _class_name is \"Unheard\"": {exitFailure,
			[]string{replaced(t, "unet/config.json", "UNet2DConditionModel", "Unheard")}},
		"_class_name is \"OtherPipeline\"": {exitFailure,
			[]string{replaced(t, "model_index.json", "IFPipeline", "OtherPipeline")}},
		"text_encoder/model.safetensors: tensor": {exitFailure,
			[]string{replaced(t, "text_encoder/config.json", `"num_layers": 2`, `"num_layers": 1`)}},
		"sample_size is 0×0": {exitFailure,
			[]string{replaced(t, "unet/config.json", `"sample_size": 16`, `"sample_size": null`)}},
		"diffusion_pytorch_model.safetensors is not a ": {exitFailure,
			[]string{replaced(t, "unet/diffusion_pytorch_model.safetensors", `"dtype":"F32"`, `"dtype":"Q32"`)}},
	} {
		if r := unnoise(t, append([]string{"model", "info"}, c.args...)...); r.code != c.code ||
			!strings.Contains(r.stderr, want) {
			t.Errorf("%v: exit code %d, %q; want %d and %q", c.args, r.code, r.stderr, c.code, want)
		}
	}
}

// replaced is a pipeline with other words in one of its files.
func replaced(t *testing.T, file, from, to string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "tiny")
	copyModel(t, "if_tiny", dir)
	path := filepath.Join(dir, filepath.FromSlash(file))
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(strings.ReplaceAll(string(data), from, to)), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}
