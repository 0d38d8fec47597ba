// Package synthetic writes DeepFloyd IF's networks in their full sizes with random weights, in the hub's layout, to
// measure time and memory where there are no trained ones.
package synthetic

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"fmt"
	"maps"
	"path/filepath"
	"slices"

	"github.com/unnoise/unnoise/deepfloyd/unet"
	"github.com/unnoise/unnoise/internal/hubfile"
)

// Network is one network of DeepFloyd IF.
type Network struct {
	Size        string // M, L and XL: stage I's UNet; sr-M: stage II's; t5-xxl: the text encoder
	Folder      string // a name for its folder
	TextEncoder bool   // the text encoder, no UNet
	files       map[string]settings
}

// settings are a JSON file's.
type settings map[string]any

var (
	//go:embed unet.json
	unetConfig []byte // stage I's, M
	//go:embed text_encoder.json
	textEncoderConfig []byte
	//go:embed scheduler.json
	schedulerConfig []byte
)

// UNet returns the configuration of a UNet, as Write writes it.
func (n Network) UNet() (unet.Config, error) {
	path := filepath.Join("unet", hubfile.Network)
	text, err := json.Marshal(n.files[path])
	if err != nil {
		return unet.Config{}, err
	}
	return unet.ParseConfig(path, text)
}

// Networks returns the networks, from small to large.
func Networks() []Network {
	encoder := Network{Size: "t5-xxl", Folder: "T5-XXL-random", TextEncoder: true, files: map[string]settings{
		hubfile.Index: index("IFPipeline", "text_encoder"),
		filepath.Join("text_encoder", hubfile.Network): with(textEncoderConfig, nil),
	}}
	return []Network{firstStage("M", 192), secondStage(), firstStage("L", 320), firstStage("XL", 704), encoder}
}

// Find returns the network of a size.
func Find(size string) (Network, error) {
	for _, n := range Networks() {
		if n.Size == size {
			return n, nil
		}
	}
	return Network{}, fmt.Errorf("there is no network of size %q, only %q", size, Sizes())
}

// Sizes returns the networks' sizes.
func Sizes() (sizes []string) {
	for _, n := range Networks() {
		sizes = append(sizes, n.Size)
	}
	return sizes
}

// firstStage is a stage I whose first level has width channels.
func firstStage(size string, width int) Network {
	return Network{Size: size, Folder: "IF-I-" + size + "-random", files: map[string]settings{
		hubfile.Index: index("IFPipeline", "unet", "scheduler"),
		filepath.Join("unet", hubfile.Network): with(unetConfig, settings{
			"block_out_channels": []int{width, 2 * width, 3 * width, 4 * width}, "cross_attention_dim": 4 * width,
		}),
		filepath.Join("scheduler", hubfile.Scheduler): with(schedulerConfig, nil),
	}}
}

// Short returns the configuration of M with one block at each level instead of three, on the way up two instead of
// four: all of its kinds of operations, in little more than half of the time.
func Short() (unet.Config, error) {
	n := firstStage("M", 192)
	n.files[filepath.Join("unet", hubfile.Network)]["layers_per_block"] = 1
	return n.UNet()
}

func secondStage() Network {
	const down, crossDown, up, crossUp = "ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D",
		"ResnetUpsampleBlock2D", "SimpleCrossAttnUpBlock2D"
	return Network{Size: "sr-M", Folder: "IF-II-M-random", files: map[string]settings{
		hubfile.Index: index("IFSuperResolutionPipeline", "unet", "scheduler", "image_noising_scheduler"),
		filepath.Join("unet", hubfile.Network): with(unetConfig, settings{
			"sample_size": 256, "in_channels": 6, "block_out_channels": []int{128, 256, 512, 1024},
			"cross_attention_dim": 1024, "layers_per_block": []int{2, 4, 6, 6},
			"down_block_types": []string{down, down, down, crossDown}, "up_block_types": []string{crossUp, up, up, up},
			"class_embed_type": "timestep", "time_embedding_act_fn": "gelu", "resnet_skip_time_act": true,
			"mid_block_scale_factor": 1.41421356237, "resnet_out_scale_factor": 1.41421356237,
		}),
		filepath.Join("scheduler", hubfile.Scheduler): with(schedulerConfig,
			settings{"sample_max_value": 1.0}),
		filepath.Join("image_noising_scheduler", hubfile.Scheduler): with(schedulerConfig,
			settings{"thresholding": false, "variance_type": "fixed_small"}),
	}}
}

// index is a model_index.json: a pipeline's class, and which parts the folder has.
func index(class string, has ...string) settings {
	all := settings{"_class_name": class}
	for part, c := range map[string][]string{
		"text_encoder": {"transformers", "T5EncoderModel"}, "tokenizer": {"transformers", "T5Tokenizer"},
		"unet":      {"diffusers", "UNet2DConditionModel"},
		"scheduler": {"diffusers", "DDPMScheduler"}, "image_noising_scheduler": {"diffusers", "DDPMScheduler"},
	} {
		if slices.Contains(has, part) {
			all[part] = c
		} else if part != "image_noising_scheduler" {
			all[part] = []any{nil, nil}
		}
	}
	return all
}

// with is a file of this package with other settings in it.
func with(file []byte, other settings) settings {
	d := json.NewDecoder(bytes.NewReader(file))
	d.UseNumber() // transformers refuses 1 where it expects 1.0
	all := settings{}
	if err := d.Decode(&all); err != nil {
		panic(err) // the file is damaged in the program
	}
	maps.Copy(all, other)
	return all
}
