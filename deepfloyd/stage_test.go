package deepfloyd

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/deepfloyd/unet"
	"github.com/unnoise/unnoise/internal/enginetest"
	"github.com/unnoise/unnoise/internal/golden"
	"github.com/unnoise/unnoise/internal/hubfile"
	"github.com/unnoise/unnoise/model"
)

// copyStage copies a stage's configurations, not its weights, and replaces words in them.
func copyStage(t testing.TB, model string, replace ...string) string {
	t.Helper()
	dir := t.TempDir()
	for _, name := range []string{hubfile.Index, "unet/config.json", "scheduler/" + hubfile.Scheduler,
		"image_noising_scheduler/" + hubfile.Scheduler} {
		data, err := os.ReadFile(filepath.Join(golden.Dir(t), model, filepath.FromSlash(name)))
		if err != nil {
			continue
		}
		data = []byte(strings.NewReplacer(replace...).Replace(string(data)))
		path := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// openStage opens and loads a stage; it is closed with the test.
func openStage(t testing.TB, b compute.Backend, dir string) *Stage {
	t.Helper()
	s, err := OpenStage(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	if err := s.Load(b, dtypes.Float32); err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBrokenStages(t *testing.T) {
	without := func(dir, name string) string {
		if err := os.RemoveAll(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	with := func(dir, weights string) string {
		const name = "unet/diffusion_pytorch_model.safetensors"
		data, err := os.ReadFile(filepath.Join(golden.Dir(t), weights, name))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
		return dir
	}
	for what, c := range map[string]struct{ dir, words string }{
		"another's weights": {with(copyStage(t, "if_tiny"), "if_sr_tiny"), "has no place in this network"},
		"wider weights": {with(copyStage(t, "if_tiny", `"out_channels": 6`, `"out_channels": 3`,
			`"learned_range"`, `"fixed_small"`), "if_tiny"), `tensor "conv_out.weight" has shape [6`},
		"no size": {copyStage(t, "if_tiny", `"sample_size": 16`, `"sample_size": null`),
			"sample_size is 0×0, expected multiples of 2"},
		"an odd size": {copyStage(t, "if_tiny", `"sample_size": 16`, `"sample_size": 15`),
			"sample_size is 15×15, expected multiples of 2"},
		"no index": {without(copyStage(t, "if_tiny"), hubfile.Index),
			"expected a folder as the hub has it"},
		"an unknown part": {copyStage(t, "if_tiny", `"text_encoder"`, `"prior"`), `unknown field "prior"`},
		"an unknown class": {copyStage(t, "if_tiny", `"T5EncoderModel"`, `"CLIPTextModel"`),
			"text_encoder is CLIPTextModel, expected T5EncoderModel"},
		"another pipeline": {copyStage(t, "if_tiny", `"IFPipeline"`, `"StableDiffusionPipeline"`),
			`_class_name is "StableDiffusionPipeline", expected a pipeline of DeepFloyd IF`},
		"no UNet in the index": {copyStage(t, "if_tiny", `"unet"`, `"watermarker"`),
			"unet is missing, expected UNet2DConditionModel"},
		"a part of no class": {copyStage(t, "if_tiny", `"T5EncoderModel"`, `"T5EncoderModel", 3`),
			"where a library and a class were expected"},
		"two schedulers": {copyStage(t, "if_tiny", `"diffusers",`+"\n  "+`"DDPMScheduler"`,
			`"diffusers", "DDIMScheduler"`), "_class_name is DDPMScheduler, and"},
		"no small image": {copyStage(t, "if_sr_tiny", `"IFSuperResolutionPipeline"`, `"IFPipeline"`),
			"expected IFSuperResolutionPipeline"},
		"no noise for it": {copyStage(t, "if_tiny", `"IFPipeline"`, `"IFSuperResolutionPipeline"`),
			"image_noising_scheduler is missing"},
		"no weights":   {copyStage(t, "if_tiny"), "diffusion_pytorch_model.safetensors"},
		"no scheduler": {without(copyStage(t, "if_tiny"), "scheduler"), hubfile.Scheduler},
		"no UNet":      {without(copyStage(t, "if_tiny"), "unet"), "config.json"},
		"no noising":   {without(copyStage(t, "if_sr_tiny"), "image_noising_scheduler"), hubfile.Scheduler},
		"no class": {copyStage(t, "if_sr_tiny", `"class_embed_type": "timestep"`,
			`"class_embed_type": null`), "class_embed_type is null, expected timestep"},
		"an odd input": {copyStage(t, "if_sr_tiny", `"in_channels": 6`, `"in_channels": 7`),
			"in_channels is 7"},
		"a class label": {copyStage(t, "if_tiny", `"class_embed_type": null`, `"class_embed_type": "timestep"`),
			"has no image_noising_scheduler"},
		"no variance": {copyStage(t, "if_tiny", `"out_channels": 6`, `"out_channels": 3`),
			"out_channels is 3, expected 6: the scheduler's variance_type"},
		"five output channels": {copyStage(t, "if_tiny", `"out_channels": 6`, `"out_channels": 5`),
			"out_channels is 5, expected 3, or 6"},
	} {
		if s, err := OpenStage(c.dir, ""); err == nil || !strings.Contains(err.Error(), c.words) ||
			!strings.Contains(err.Error(), c.dir) {
			t.Errorf("%s: %v; want the folder's name and %q", what, err, c.words)
			if err == nil {
				s.Close()
			}
		}
	}
}

// What is read of the weights is told, to the end, by the first step at the latest.
func TestStageProgress(t *testing.T) {
	b := enginetest.Backend(t, "winograd")
	s, err := OpenStage(filepath.Join(golden.Dir(t), "if_tiny"), "")
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	want := 4 * s.Config.Parameters()
	done := 0
	s.Progress = func(now, total int) {
		if now <= done || total != want {
			t.Errorf("%d of %d bytes after %d, expected more, of %d", now, total, done, want)
		}
		done = now
	}
	if err := s.Load(b, dtypes.BFloat16); err != nil {
		t.Fatal(err)
	}
	text := model.Embeddings{N: 1, Tokens: 2, Dim: s.Config.TextDim(), Data: make([]float32, 2*s.Config.TextDim())}
	for range 2 {
		if _, err := s.UNet.Denoiser(unet.Condition{Text: text})(t.Context(), s.Images(1), 0); err != nil {
			t.Fatal(err)
		}
	}
	if done != want {
		t.Errorf("%d of %d bytes were told", done, want)
	}
}
