package text2image

import (
	"context"
	"encoding/json"
	"fmt"
	"math"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/dataset/captioned"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/internal/nn"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/training"
	"github.com/unnoise/unnoise/weights"
)

// TextStage is a first stage's text encoder that learns before the UNet does. From the mean of a caption's embeddings a
// small network estimates the picture in half the size. The best estimate is the mean of all pictures with that
// caption, which is also the best estimate of x_0 from nothing but noise. It is learned in a small part of the time that
// the UNet would take for it.
type TextStage struct {
	First *Network `json:"first_stage"`
}

// NewTextStage makes the text stage of a first stage.
func NewTextStage(first *Network) *TextStage {
	own := *first
	own.Half = math.MaxInt32 // all its pictures come in half the size
	return &TextStage{&own}
}

// ReadTextStage reads what a run's config.json says of its network.
func ReadTextStage(config json.RawMessage) (*TextStage, error) {
	var n TextStage
	if err := decode(config, &n); err != nil {
		return nil, fmt.Errorf("expected a text stage, found another network: %w", err)
	}
	if n.First == nil {
		return nil, fmt.Errorf("expected a text stage's first_stage, found none")
	}
	_, err := n.First.parse()
	return &n, err
}

const (
	meanPrefix = "mean."
	meanWidth  = 1024 // channels of the hidden layer
)

func (n *TextStage) side() int { return n.First.Side() / 2 }

// Params lists the parameters of the text encoder, and of the network that estimates the picture.
func (n *TextStage) Params() []nn.Param {
	all := prefixed(textPrefix, n.First.text.Params())
	all = append(all, nn.Linear(meanPrefix+"hidden", n.First.text.DModel, meanWidth)...)
	return append(all, nn.Linear(meanPrefix+"out", meanWidth, Channels*n.side()*n.side())...)
}

// Parameters returns the number of trained values.
func (n *TextStage) Parameters() int { return nn.Count(n.Params()) }

// estimate is the pictures of texts, [N, C·H·W].
func (n *TextStage) estimate(l *nn.Layers, ids, mask *Node) *Node {
	text := ReduceMean(n.First.text.Apply(part(textPrefix, l.Params), l.DType, ids, mask), 1)
	return l.Linear(meanPrefix+"out", nn.GELU(l.Linear(meanPrefix+"hidden", text)))
}

// Loss is the squared error of the estimated pictures.
func (n *TextStage) Loss(l *nn.Layers, in map[string]*Node) *Node {
	y := n.estimate(l, in["ids"], in["mask"])
	return nn.MeanSquare(y, Reshape(in["target"], y.Shape().Dimensions...), nil)
}

const meanFile = "mean/model.safetensors"

// Save writes the tokenizer and the text encoder as in the hub's layout, and the values of the network that estimates
// pictures, in bfloat16.
func (n *TextStage) Save(dir string, values map[string]weights.Tensor) error {
	parts, files := n.First.textParts()
	return save(dir, "TextStage", parts, files, map[string]map[string]weights.Tensor{
		textFile: part(textPrefix, values), meanFile: part(meanPrefix, values),
	})
}

// Means is the text stage's objective: the clean image.
type Means struct{}

// Fill makes "target".
func (Means) Fill(b *training.Batch, _ *diffusion.Generator) error {
	copy(b.Float32("target", b.Shape...), b.Clean)
	return nil
}

// TextLook looks at text stages that are kept.
type TextLook struct {
	Backend compute.Backend
	DType   dtypes.DType
	Stage   *TextStage
	Held    captioned.Source // nil where nothing is held out
}

// estimate estimates the pictures of captions, in [-1,1].
func (l TextLook) estimate(k training.Kept, captions []string) (diffusion.Images, error) {
	n, count := l.Stage, len(captions)
	x := diffusion.NewImages(count, Channels, n.side(), n.side())
	params := n.Params()
	values, err := readParts(k.ModelDir, map[string]string{textPrefix: "text_encoder", meanPrefix: "mean"})
	if err != nil {
		return x, err
	}
	value, err := nn.FromTensors(k.ModelDir, params, values)
	if err != nil {
		return x, err
	}
	buffers, err := nn.Buffers(l.Backend, params, value)
	if err != nil {
		return x, err
	}
	defer nn.Finalize(buffers)
	ids, mask := make([]int32, count*TrainTokens), make([]float32, count*TrainTokens)
	for i, caption := range captions {
		n.First.encode(caption, ids[i*TrainTokens:(i+1)*TrainTokens], mask[i*TrainTokens:(i+1)*TrainTokens])
	}
	texts := shapes.Make(dtypes.Int32, count, TrainTokens)
	e, err := nn.Compile(l.Backend, "means", func(g *Graph) []*Node {
		tokens := Parameter(g, "ids", texts)
		seen := Parameter(g, "mask", shapes.Make(dtypes.Float32, count, TrainTokens))
		return []*Node{n.estimate(nn.NewLayers(g, params, l.DType, false), tokens, seen)}
	})
	if err != nil {
		return x, err
	}
	defer e.Finalize()
	first, err := l.Backend.BufferFromFlatData(0, ids, texts)
	if err != nil {
		return x, err
	}
	second, err := nn.Buffer(l.Backend, mask, count, TrainTokens)
	if err != nil {
		return x, err
	}
	in := []compute.Buffer{first, second}
	defer nn.Finalize(in)
	out, err := e.Execute(append(in[:2:2], buffers...), nil, 0)
	if err != nil {
		return x, err
	}
	defer nn.Finalize(out)
	return x, out[0].ToFlatData(x.Data)
}

// Draw draws a sheet of the means of prompts.
func (l TextLook) Draw(_ context.Context, k training.Kept) error {
	x, err := l.estimate(k, Prompts)
	if err != nil {
		return err
	}
	const columns, pixels = 4, 128
	return figure.Grid{Images: model.MinusOneToOne.To(model.ZeroToOne, x), Columns: columns,
		Scale: max(1, pixels/x.H), Padding: 4}.WritePNG(k.Sample, about(k))
}

// Measure tells the error on pictures that are held out.
func (l TextLook) Measure(_ context.Context, k training.Kept) (map[string]float64, error) {
	if l.Held == nil {
		return nil, nil
	}
	const pictures = 512
	drawn, err := captioned.Draw(l.Held, 0, 0, pictures, l.Stage.side())
	if err != nil {
		return nil, err
	}
	x, err := l.estimate(k, drawn.Captions)
	if err != nil {
		return nil, err
	}
	sum := 0.0
	for i, v := range x.Data {
		d := float64(v - drawn.Pixels[i])
		sum += d * d
	}
	return map[string]float64{"error": sum / float64(len(x.Data))}, nil
}
