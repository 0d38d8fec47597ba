package text2image

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"path/filepath"

	. "github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/deepfloyd/unet"
	"github.com/unnoise/unnoise/internal/hubfile"
	"github.com/unnoise/unnoise/internal/nn"
	"github.com/unnoise/unnoise/weights"
)

// SecondStage draws images in four times the size of a first stage's, from these alone: it reads no text. It is
// convolutions only, so that it learns from crops. It has the content of the files of its folder in the hub's layout,
// but for the weights.
type SecondStage struct {
	UNetConfig json.RawMessage `json:"unet"`                    // its config.json
	Scheduler  json.RawMessage `json:"scheduler"`               // its scheduler_config.json
	Noising    json.RawMessage `json:"image_noising_scheduler"` // its scheduler_config.json

	unet unet.Config
}

const (
	// Scale is how many times larger than the small ones its images are.
	Scale = 4
	// levels are the timesteps that small images are noised to in training.
	levels = 500
)

var (
	//go:embed config/stage2_unet.json
	secondUNetConfig []byte
	//go:embed config/image_noising_scheduler.json
	noisingConfig []byte
)

// NewSecondStage makes the second stage that is shipped.
func NewSecondStage() (*SecondStage, error) {
	return (&SecondStage{UNetConfig: secondUNetConfig, Scheduler: schedulerConfig, Noising: noisingConfig}).parse()
}

// ReadSecondStage reads what a run's config.json says of its network.
func ReadSecondStage(config json.RawMessage) (*SecondStage, error) {
	var n SecondStage
	if err := decode(config, &n); err != nil {
		return nil, fmt.Errorf("expected a second stage, found another network: %w", err)
	}
	return n.parse()
}

func (n *SecondStage) parse() (*SecondStage, error) {
	var err error
	if n.unet, err = unet.ParseConfig("unet", n.UNetConfig); err != nil {
		return nil, err
	}
	if n.unet.ReadsText() || n.unet.InChannels != 2*Channels || n.unet.ClassEmbedType == nil {
		return nil, fmt.Errorf("unet: expected a network of %d channels without attention, told the noise level",
			2*Channels)
	}
	return n, nil
}

// Side is the height and width of its images.
func (n *SecondStage) Side() int { return n.unet.SampleSize.H }

// crop is the height and width of what it learns from.
func (n *SecondStage) crop() int { return n.Side() / 2 }

// Parameters returns the number of trained values.
func (n *SecondStage) Parameters() int { return n.unet.Parameters() }

// Params lists the parameters.
func (n *SecondStage) Params() []nn.Param { return n.unet.Params() }

// Loss is the squared error of what the network estimates, weighted for each image. As in [Network.Loss], nothing
// teaches the variance.
func (n *SecondStage) Loss(l *nn.Layers, in map[string]*Node) *Node {
	images := in["x"].Shape().Dimensions[0]
	y := n.unet.Apply(l.Params, l.DType, unet.Inputs{X: Concatenate([]*Node{in["x"], in["beside"]}, 1),
		T: Reshape(in["t"], images), Class: Reshape(in["level"], images)})
	return nn.MeanSquare(Slice(y, AxisRange(), AxisRange(0, Channels)), in["target"], in["weight"])
}

// Save writes a folder in the hub's layout, with the weights in bfloat16. It has no text encoder: diffusers' pipeline is
// given the first stage's embeddings.
func (n *SecondStage) Save(dir string, values map[string]weights.Tensor) error {
	return save(dir, "IFSuperResolutionPipeline", map[string][]string{
		"unet": {"diffusers", "UNet2DConditionModel"}, "scheduler": {"diffusers", "DDPMScheduler"},
		"image_noising_scheduler": {"diffusers", "DDPMScheduler"},
	}, map[string]any{
		filepath.Join("unet", hubfile.Network):                      n.UNetConfig,
		filepath.Join("scheduler", hubfile.Scheduler):               n.Scheduler,
		filepath.Join("image_noising_scheduler", hubfile.Scheduler): n.Noising,
	}, map[string]map[string]weights.Tensor{unetFile: values})
}
