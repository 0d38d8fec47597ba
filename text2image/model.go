package text2image

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/dataset/captioned"
	"github.com/unnoise/unnoise/deepfloyd/t5"
	"github.com/unnoise/unnoise/deepfloyd/tokenizer"
	"github.com/unnoise/unnoise/deepfloyd/unet"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/weights"
)

// Model is a saved folder's network, to look at while it is trained.
type Model struct {
	objective Objective
	tokenizer *tokenizer.Tokenizer
	encoder   *t5.Encoder
	unet      *unet.Model
	file      *weights.File
}

// Open opens a folder that [Network.Save] wrote.
func Open(b compute.Backend, dir string, dtype dtypes.DType) (_ *Model, err error) {
	m := &Model{}
	defer func() {
		if err != nil {
			m.Close()
		}
	}()
	if m.objective, err = NewObjective(); err != nil {
		return nil, err
	}
	if m.tokenizer, err = tokenizer.Open(filepath.Join(dir, "tokenizer")); err != nil {
		return nil, err
	}
	if m.encoder, err = t5.Load(b, filepath.Join(dir, "text_encoder"), "", dtype, nil); err != nil {
		return nil, err
	}
	c, err := unet.ReadConfig(filepath.Join(dir, "unet", "config.json"))
	if err != nil {
		return nil, err
	}
	if m.file, err = weights.OpenFolder(filepath.Join(dir, "unet"), ""); err != nil {
		return nil, err
	}
	if m.unet, err = unet.New(b, c, dtype, m.file, nil); err != nil {
		return nil, err
	}
	m.unet.Of = diffusion.V
	return m, nil
}

// Close releases the model.
func (m *Model) Close() {
	if m.encoder != nil {
		m.encoder.Close()
	}
	if m.unet != nil {
		m.unet.Close()
	}
	if m.file != nil {
		m.file.Close()
	}
}

// encode encodes prompts as diffusers' IFPipeline does.
func (m *Model) encode(ctx context.Context, prompts []string) (model.Embeddings, error) {
	var ids, mask [][]int32
	for _, p := range prompts {
		i, k := m.tokenizer.Encode(tokenizer.Preprocess(p), Tokens)
		ids, mask = append(ids, i), append(mask, k)
	}
	return m.encoder.Encode(ctx, ids, mask)
}

// Sampling says how [Model.Draw] draws.
type Sampling struct {
	Size, Steps int
	Guidance    float32
	Seed        uint64
}

// Draw draws an image of each prompt by DDIM.
func (m *Model) Draw(ctx context.Context, prompts []string, s Sampling) (diffusion.Images, error) {
	text, err := m.encode(ctx, prompts)
	if err != nil {
		return diffusion.Images{}, err
	}
	empty, err := m.encode(ctx, []string{""})
	if err != nil {
		return diffusion.Images{}, err
	}
	x := diffusion.NewImages(len(prompts), Channels, s.Size, s.Size)
	diffusion.NewGenerator(s.Seed).Normal(x.Data)
	o := m.objective
	path, err := o.schedule.Path(s.Steps, diffusion.Trailing)
	if err != nil {
		return diffusion.Images{}, err
	}
	guided := m.unet.GuidedDenoiser(unet.Condition{Text: text}, empty, s.Guidance)
	return diffusion.Sampler{Process: o.schedule, Path: path, Method: diffusion.DDIM{}, Clip: diffusion.Clip{Limit: 1}}.Sample(ctx, guided, x)
}

// Guided evaluates the network once, away from the empty prompt, text encoder included: the estimate of v for x at timestep t.
func (m *Model) Guided(ctx context.Context, x diffusion.Images, t int, prompt string, guidance float32) (diffusion.Images, error) {
	text, err := m.encode(ctx, []string{prompt, ""})
	if err != nil {
		return diffusion.Images{}, err
	}
	e, err := m.unet.GuidedDenoiser(unet.Condition{Text: text.Slice(0, 1)}, text.Slice(1, 2), guidance)(ctx, x, t)
	return e.Noise, err
}

// Bands of t, in which errors are told apart: the lowest fifth of the timesteps first.
const Bands = 5

// Errors is the mean squared error of v on the first n pictures in a size, by band of t, with the same noise each time.
func (m *Model) Errors(ctx context.Context, p *Pictures, side, n int) ([Bands]float64, error) {
	const batch = 32
	var sum, count [Bands]float64
	for first := 0; first < n; first += batch {
		drawn, err := captioned.Draw(p.Source, p.Seed, first, batch, side)
		if err != nil {
			return sum, err
		}
		clean := diffusion.Images{N: batch, C: Channels, H: side, W: side, Data: drawn.Pixels}
		text, err := m.encode(ctx, drawn.Captions)
		if err != nil {
			return sum, err
		}
		x, target := clean.Like(), clean.Like()
		diffusion.NewGenerator(uint64(first)).Normal(target.Data)
		t := make([]float64, batch)
		for i := range t {
			at := (2*i + 1) * Timesteps / (2 * batch)
			t[i] = float64(at)
			signal, noise := m.objective.levels(at)
			m.objective.noise(x.Data, target.Data, clean.Data, i*x.Size(), x.Size(), float32(signal), float32(noise))
		}
		y, err := m.unet.Evaluate(ctx, x, t, text, nil)
		if err != nil {
			return sum, err
		}
		for i := range t {
			e, want := y.Slice(i, i+1).Data, target.Slice(i, i+1).Data
			square := 0.0
			for j, v := range want {
				square += float64(e[j]-v) * float64(e[j]-v)
			}
			band := int(t[i]) * Bands / Timesteps
			sum[band] += square / float64(len(want))
			count[band]++
		}
	}
	for i := range sum {
		if count[i] == 0 {
			return sum, fmt.Errorf("expected at least %d pictures to measure with", batch)
		}
		sum[i] /= count[i]
	}
	return sum, nil
}
