package deepfloyd

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/internal/golden"
	"github.com/unnoise/unnoise/model"
)

// What is not asked for is as in diffusers' pipelines, with as many steps as a short schedule has.
func TestUsualSampling(t *testing.T) {
	first, second := filepath.Join(golden.Dir(t), "if_tiny"), filepath.Join(golden.Dir(t), "if_sr_tiny")
	short := filepath.Join(t.TempDir(), "short")
	if err := os.CopyFS(short, os.DirFS(first)); err != nil {
		t.Fatal(err)
	}
	config := `{"_class_name": "DDPMScheduler", "num_train_timesteps": 50, "steps_offset": 1, "variance_type": "learned_range"}`
	if err := os.WriteFile(filepath.Join(short, "scheduler", "scheduler_config.json"), []byte(config),
		0o644); err != nil {
		t.Fatal(err)
	}
	open := func(dir string) *Pipeline {
		p, err := OpenPipeline(nil, dir, Options{DType: dtypes.Float32})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(p.Close)
		return p
	}
	for _, c := range []struct {
		dir, asked, sampler string
		steps               int
		guidance            float64
	}{
		{first, "", "ddpm", 100, 7}, {first, "dpm++", "dpm++", 50, 7}, {first, "ddim", "ddim", 50, 7},
		{second, "", "ddpm", 50, 4}, {short, "dpm++", "dpm++", 49, 7}, {short, "", "ddpm", 49, 7},
	} {
		s, sampler, err := open(c.dir).Plan(model.Sampling{Sampler: c.asked})
		if err != nil {
			t.Fatal(err)
		}
		if s.Sampler != c.sampler || s.Steps != c.steps || len(sampler.Path) != c.steps || s.Guidance == nil ||
			*s.Guidance != c.guidance {
			t.Errorf("%s by %q: %+v with %d moves, want %d of %s, γ = %g", filepath.Base(c.dir), c.asked, s,
				len(sampler.Path), c.steps, c.sampler, c.guidance)
		}
	}
	if spec := open(second).Spec(); spec.NoiseLevel != 250 {
		t.Errorf("small images are noised to %d, want 250", spec.NoiseLevel)
	}

	s, sampler, err := open(first).Plan(model.Sampling{Timesteps: "fast27"})
	if err != nil || len(sampler.Path) != 27 || s.Steps != 0 {
		t.Errorf("fast27: %+v with %d moves, %v", s, len(sampler.Path), err)
	}
	var field *model.FieldError
	if _, _, err := open(short).Plan(model.Sampling{Timesteps: "fast27"}); !errors.As(err, &field) ||
		field.Field != "timesteps" || !strings.Contains(err.Error(), "ends at 49") {
		t.Errorf("fast27 of 50 timesteps: %v", err)
	}
}
