package bench

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/deepfloyd"
	"github.com/unnoise/unnoise/deepfloyd/t5"
	"github.com/unnoise/unnoise/deepfloyd/unet"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/nn"
	"github.com/unnoise/unnoise/text2image"
)

// Text2ImageNetwork is the first stage that is shipped, with about as many words as the captions of the emoji have.
func Text2ImageNetwork() (*text2image.Network, error) {
	var words []string
	for i := range 3000 {
		words = append(words, fmt.Sprintf("word%d", i))
	}
	return text2image.New(words, len(words))
}

// TrainText2Image makes a trainer of a network with initial values. It returns a step on n images, and what releases
// it.
func TrainText2Image(b compute.Backend, network *text2image.Network, dtype dtypes.DType, n int) (once func() error,
	release func(), err error) {
	g := diffusion.NewGenerator(0)
	recipe := text2image.Recipe()
	t, err := nn.NewTrainer(b, network, nn.TrainerOptions{DType: dtype, Clip: recipe.Clip, Average: true},
		func(p nn.Param) ([]float32, error) { return p.Initial(g), nil })
	if err != nil {
		return nil, nil, err
	}
	batch := network.Random(n, g)
	return func() error {
		_, err := t.Step(batch, recipe.LearningRate, recipe.EMA)
		return err
	}, t.Close, nil
}

// EvaluateText2Image loads a first stage's folder with its text encoder. It returns an evaluation as in sampling, but
// that the text is another one each time: a prompt and the empty one are encoded, and the UNet applied to one image
// with both.
func EvaluateText2Image(ctx context.Context, b compute.Backend, dir string, dtype dtypes.DType) (once func() error,
	release func(), err error) {
	s, err := deepfloyd.OpenStage(dir, "")
	if err != nil {
		return nil, nil, err
	}
	if err := s.Load(b, dtype); err != nil {
		s.Close()
		return nil, nil, err
	}
	encoder, err := t5.Load(b, filepath.Join(dir, "text_encoder"), "", dtype, nil)
	if err != nil {
		s.Close()
		return nil, nil, err
	}
	x := s.Images(1)
	diffusion.NewGenerator(0).Normal(x.Data)
	ids, mask := make([][]int32, 2), make([][]int32, 2)
	for i := range ids {
		ids[i], mask[i] = make([]int32, deepfloyd.TextTokens), make([]int32, deepfloyd.TextTokens)
		mask[i][0], mask[i][1] = 1, 1
	}
	run := 0
	return func() error {
		run++
		ids[0][0] = int32(run % encoder.Config.VocabSize)
		text, err := encoder.Encode(ctx, ids, mask)
		if err != nil {
			return err
		}
		e, err := s.UNet.GuidedDenoiser(unet.Condition{Text: text.Slice(0, 1)}, text.Slice(1, 2), 3)(ctx, x, 500)
		return finite(e.Value.Data, err)
	}, func() { encoder.Close(); s.Close() }, nil
}
