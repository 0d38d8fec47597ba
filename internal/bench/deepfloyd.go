package bench

import (
	"cmp"
	"context"
	"errors"
	"path/filepath"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/deepfloyd"
	"github.com/unnoise/unnoise/deepfloyd/t5"
	"github.com/unnoise/unnoise/deepfloyd/unet"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/weights"
)

// EvaluateStage loads the UNet in a stage's folder. It returns an evaluation of n images, and what releases it.
func EvaluateStage(ctx context.Context, b compute.Backend, dir string, dtype dtypes.DType, n int) (once func() error,
	release func(), err error) {
	s, err := deepfloyd.OpenStage(dir, "")
	if err != nil {
		return nil, nil, err
	}
	if err := s.Load(b, dtype); err != nil {
		s.Close()
		return nil, nil, err
	}
	return evaluation(ctx, s.UNet, n), s.Close, nil
}

// EvaluateUNet makes a UNet of stage I whose weights are zeros: times don't depend on them. It returns an evaluation of
// n images, and what releases it.
func EvaluateUNet(ctx context.Context, b compute.Backend, c unet.Config, dtype dtypes.DType, n int) (once func() error,
	release func(), err error) {
	of := map[dtypes.DType]weights.DType{dtypes.BFloat16: weights.BF16}[dtype]
	u, err := unet.New(b, c, dtype, weights.Zeros(cmp.Or(of, weights.F32), c.Shapes()), nil)
	if err != nil {
		return nil, nil, err
	}
	return evaluation(ctx, u, n), u.Close, nil
}

// evaluation applies a UNet to n images.
func evaluation(ctx context.Context, u *unet.Model, n int) (once func() error) {
	c, g := u.Config, diffusion.NewGenerator(0)
	x := diffusion.NewImages(n, c.InChannels, c.SampleSize.H, c.SampleSize.W)
	text := model.Embeddings{N: n, Tokens: deepfloyd.TextTokens, Dim: c.TextDim(),
		Data: make([]float32, n*deepfloyd.TextTokens*c.TextDim())}
	g.Normal(x.Data)
	g.Normal(text.Data)
	var class []float64
	if c.ClassEmbedType != nil {
		class = slices.Repeat([]float64{250}, n)
	}
	return func() error {
		y, err := u.Evaluate(ctx, x, slices.Repeat([]float64{500}, n), text, class)
		return finite(y.Data, err)
	}
}

// EvaluateTextEncoder loads the text encoder of a pipeline's folder. It returns an evaluation of n texts, and what
// releases it.
func EvaluateTextEncoder(ctx context.Context, b compute.Backend, dir string, dtype dtypes.DType,
	n int) (once func() error, release func(), err error) {
	e, err := t5.Load(b, filepath.Join(dir, "text_encoder"), "", dtype, nil)
	if err != nil {
		return nil, nil, err
	}
	ids, mask := make([][]int32, n), make([][]int32, n)
	for i := range ids {
		mask[i] = slices.Repeat([]int32{1}, deepfloyd.TextTokens)
		for j := range deepfloyd.TextTokens {
			ids[i] = append(ids[i], int32((i*deepfloyd.TextTokens+j)*7919%e.Config.VocabSize))
		}
	}
	return func() error {
		y, err := e.Encode(ctx, ids, mask)
		return finite(y.Data, err)
	}, func() { e.Close() }, nil
}

// finite refuses results that no network with such weights has.
func finite(values []float32, err error) error {
	if err == nil && !diffusion.Finite(values) {
		err = errors.New("the network's results are not finite: its folder is damaged, or the engine is wrong; " +
			"delete the folder to write it anew")
	}
	return err
}
