package deepfloyd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"slices"
	"strings"

	"github.com/unnoise/unnoise/internal/hubfile"
)

// Index is the model_index.json of a pipeline's folder: which parts the folder has, and of which classes. Those that
// are null or not named are empty.
//
// A safety_checker, a feature_extractor and a watermarker are left out: diffusers has them look at, and change,
// pictures that are finished.
type Index struct {
	Class string // of the pipeline

	TextEncoder, Tokenizer, UNet, Scheduler, ImageNoisingScheduler Part

	LeftOut []string // the names of the parts that this package does not run
}

// Part is the class of a pipeline's part; empty where it has none.
type Part string

// UnmarshalJSON reads a library and a class in it, two nulls, or one.
func (p *Part) UnmarshalJSON(data []byte) error {
	*p = ""
	if string(data) == "null" {
		return nil
	}
	var names []*string
	if err := json.Unmarshal(data, &names); err != nil || len(names) != 2 {
		return fmt.Errorf("%s where a library and a class were expected", data)
	}
	if names[1] != nil {
		*p = Part(*names[1])
	}
	return nil
}

// ReadIndex reads a folder's model_index.json. Parts, classes and pipelines that this package does not know are refused
// by name. Any part may be null: there are folders of a text encoder alone.
func ReadIndex(dir string) (Index, error) {
	path := filepath.Join(dir, hubfile.Index)
	file, err := hubfile.ReadConfig(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Index{}, fmt.Errorf("%w: expected a folder as the hub has it and diffusers saves it", err)
	}
	if err != nil {
		return Index{}, err
	}
	if _, known := hubfile.SuperResolution[file.Class]; !known {
		return Index{}, fmt.Errorf("%s: %w", path, unknownPipeline(file.Class))
	}
	var parts struct {
		TextEncoder           Part `json:"text_encoder"`
		Tokenizer             Part `json:"tokenizer"`
		UNet                  Part `json:"unet"`
		Scheduler             Part `json:"scheduler"`
		ImageNoisingScheduler Part `json:"image_noising_scheduler"`

		// Left out.
		SafetyChecker         Part `json:"safety_checker"`
		FeatureExtractor      Part `json:"feature_extractor"`
		Watermarker           Part `json:"watermarker"`
		RequiresSafetyChecker any  `json:"requires_safety_checker"`
	}
	if err := file.Decode(&parts); err != nil {
		return Index{}, err
	}
	x := Index{Class: file.Class, TextEncoder: parts.TextEncoder, Tokenizer: parts.Tokenizer, UNet: parts.UNet,
		Scheduler: parts.Scheduler, ImageNoisingScheduler: parts.ImageNoisingScheduler}
	for _, p := range []struct {
		name  string
		class Part
	}{{"safety_checker", parts.SafetyChecker}, {"feature_extractor", parts.FeatureExtractor},
		{"watermarker", parts.Watermarker}} {
		if p.class != "" {
			x.LeftOut = append(x.LeftOut, p.name)
		}
	}
	if err := x.check(false); err != nil {
		return Index{}, fmt.Errorf("%s: %w", path, err)
	}
	return x, nil
}

// unknownPipeline refuses a class of pipelines, and says what it is where people take it for one of DeepFloyd IF.
func unknownPipeline(class string) error {
	what := ""
	switch {
	case strings.HasPrefix(class, "StableDiffusion"), strings.HasPrefix(class, "LatentDiffusion"),
		strings.HasPrefix(class, "Flux"), strings.HasPrefix(class, "PixArt"),
		strings.HasPrefix(class, "Kandinsky"):
		what = ". It draws in the latent space of an autoencoder, which this program does not run: it draws pixels"
	}
	return fmt.Errorf("_class_name is %q, expected a pipeline of DeepFloyd IF: IFPipeline or "+
		"IFSuperResolutionPipeline%s", class, what)
}

// check tells what is wrong with the index, and what it lacks of a stage if it shall have one.
func (x Index) check(stage bool) error {
	noised := hubfile.SuperResolution[x.Class]
	schedulers := []Part{DDPMScheduler, DDIMScheduler, DPMSolverMultistepScheduler}
	replaced := slices.Contains(scheduled, string(x.Scheduler)) // or refused when one samples
	for _, p := range []struct {
		name   string
		class  Part
		needed bool
		known  []Part
	}{
		{"text_encoder", x.TextEncoder, false, []Part{"T5EncoderModel"}},
		{"tokenizer", x.Tokenizer, false, []Part{"T5Tokenizer", "T5TokenizerFast"}},
		{"unet", x.UNet, stage, []Part{"UNet2DConditionModel"}},
		{"scheduler", x.Scheduler, stage, schedulers},
		{"image_noising_scheduler", x.ImageNoisingScheduler, stage && noised, schedulers},
	} {
		if p.name == "scheduler" && replaced || p.class == "" && !p.needed || slices.Contains(p.known, p.class) {
			continue
		}
		var words []string
		for _, k := range p.known {
			words = append(words, string(k))
		}
		found := string(p.class)
		if p.class == "" {
			found = "missing"
		}
		return fmt.Errorf("%s is %s, expected %s", p.name, found, strings.Join(words, " or "))
	}
	if !noised && x.ImageNoisingScheduler != "" {
		return fmt.Errorf("_class_name is %s, and there is an image_noising_scheduler: expected "+
			"IFSuperResolutionPipeline", x.Class)
	}
	return nil
}
