package lab

import (
	"context"
	"reflect"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/model"
)

// bells is a model whose images are normal around a mean for each prompt, of which it knows the noise exactly.
type bells struct {
	means map[string][]float32
	deviation,
	evaluated float64
}

func (b *bells) Spec() model.Spec {
	return model.Spec{Channels: 1, Height: 2, Width: 2, Range: model.MinusOneToOne, Process: diffusion.Flow{},
		Prediction: diffusion.Epsilon}
}

func (b *bells) Plan(s model.Sampling) (model.Sampling, diffusion.Sampler, error) {
	return s, diffusion.Sampler{}, nil
}

func (b *bells) Encode(_ context.Context, texts []string, _ model.Report) (all []model.Prompt, err error) {
	for _, text := range texts {
		all = append(all, model.Prompt{Text: text})
	}
	return all, nil
}

func (b *bells) Bind(_ context.Context, ask model.Ask) (diffusion.Denoiser, error) {
	return func(_ context.Context, x diffusion.Images, t float64) (diffusion.Estimate, error) {
		b.evaluated += float64(x.N)
		signal, noise := diffusion.Flow{}.Levels(t)
		y := x.Like()
		for n := range x.N {
			mean := b.means[ask.Show[n].Text]
			for i, v := range x.Slice(n, n+1).Data {
				y.Slice(n,
					n+1).Data[i] = float32(noise * (float64(v) - signal*float64(mean[i])) / (signal*signal*b.deviation*b.deviation + noise*noise))
			}
		}
		return diffusion.Estimate{Value: y, Of: diffusion.Epsilon}, nil
	}, nil
}

func (b *bells) Close() {}

// Candidates that show in each look what was asked are ranked first, and what is read is what they show.
func TestJudge(t *testing.T) {
	m := &bells{deviation: 0.1, means: map[string][]float32{
		"left": {2, -2, 2, -2}, "right": {-2, 2, -2, 2}, "top": {2, 2, -2, -2}, "bottom": {-2, -2, 2, 2},
		"gray": {0, 0, 0, 0},
	}}
	mirrored := func(x diffusion.Images) diffusion.Images {
		y := x.Like()
		for i := range y.Data {
			y.Data[i] = x.Data[i^1]
		}
		return y
	}
	looks := []Look{{"identity", "left", func(x diffusion.Images) diffusion.Images { return x }},
		{"flip", "right", mirrored}}
	shown := []string{"top", "right", "left", "gray", "left", "bottom"}
	seeds := []uint64{11, 12, 13, 14, 15, 16}
	images := diffusion.NewImages(len(shown), 1, 2, 2)
	noise := diffusion.NewGenerator(3)
	noise.Normal(images.Data)
	for n, text := range shown {
		for i, v := range m.means[text] {
			p := &images.Slice(n, n+1).Data[i]
			*p = v + 0.1**p
		}
	}
	texts := []string{"left", "right", "top", "bottom", "gray"}
	prompts, _ := m.Encode(t.Context(), texts, nil)
	j := Judge{Model: m, Prompts: prompts, Draws: 32}
	verdicts, err := j.Rank(t.Context(), images, seeds, looks)
	if err != nil {
		t.Fatal(err)
	}
	inMirror := map[string]string{"left": "right", "right": "left", "top": "top", "bottom": "bottom", "gray": "gray"}
	for n, v := range verdicts {
		for look, want := range []string{shown[n], inMirror[shown[n]]} {
			for p, gap := range v.Matrix[look] {
				if (gap == 0) != (texts[p] == want) || gap < 0 {
					t.Errorf("image %d, look %d: %s has a gap of %g, and %s is shown", n, look, texts[p], gap, want)
				}
			}
		}
		if right := shown[n] == "left"; (v.Score > 0) != right || right && v.Draws != 32 || v.Seed != seeds[n] {
			t.Errorf("image %d, which shows %s: %+v", n, shown[n], v)
		}
		if n > 0 && shown[n] == "left" && v.Compare(verdicts[0]) >= 0 {
			t.Errorf("image %d is ranked after one that is not as asked", n)
		}
	}
	if all := 6. * 2 * 5 * 32; m.evaluated >= all {
		t.Errorf("%g evaluations, expected fewer than all %g", m.evaluated, all)
	}
	again, err := j.Rank(t.Context(), images, seeds, looks)
	if err != nil || !reflect.DeepEqual(again, verdicts) {
		t.Errorf("judged again: %v, other verdicts", err)
	}
}

// Two looks that are asked to show the same are no rivals of each other.
func TestJudgeOfTwins(t *testing.T) {
	m := &bells{deviation: 0.1, means: map[string][]float32{"gray": {0, 0, 0, 0}, "white": {1, 1, 1, 1}}}
	same := func(x diffusion.Images) diffusion.Images { return x }
	prompts, _ := m.Encode(t.Context(), []string{"gray", "gray", "white"}, nil)
	verdicts, err := Judge{Model: m, Prompts: prompts}.Rank(t.Context(), m.Spec().Images(1), []uint64{1},
		[]Look{{"identity", "gray", same}, {"flip", "gray", same}})
	if err != nil || verdicts[0].Score <= 0 {
		t.Errorf("an image that shows what is asked: %+v, %v", verdicts, err)
	}
	if _, err := (Judge{Model: m, Prompts: prompts[:1]}).Rank(t.Context(), m.Spec().Images(1), []uint64{1},
		[]Look{{"identity", "gray", same}}); err == nil {
		t.Error("a prompt without another was judged")
	}
}
