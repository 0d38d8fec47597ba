package unet

import (
	"context"
	"errors"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/golden"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/weights"
)

// open loads a network of testdata with its reference.
func open(t testing.TB, name string, dtype dtypes.DType) (*Model, *weights.File) {
	t.Helper()
	dir := filepath.Join("testdata", name)
	f, err := weights.Open(filepath.Join(dir, "reference.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return load(t, dir, dtype), f
}

func normal(seed uint64, n, c, h, w int) diffusion.Images {
	x := diffusion.NewImages(n, c, h, w)
	diffusion.NewGenerator(seed).Normal(x.Data)
	return x
}

// Products in bfloat16 come near those in float32.
func TestBFloat16(t *testing.T) {
	for _, name := range []string{"lists", "classes", "odd"} {
		m, f := open(t, name, dtypes.BFloat16)
		x := images(t, f, "unet.x")
		var class []float64
		want := "unet.t321"
		if m.Config.ClassEmbedType != nil {
			class, want = []float64{123, 123}, want+".noise123"
		}
		y, err := m.Evaluate(t.Context(), x, []float64{321, 321}, embeddings(t, f, "text"), class)
		if err != nil {
			t.Fatal(err)
		}
		w, _ := golden.Float32(t, f, want)
		var off, all float64
		for i, v := range y.Data {
			off += math.Pow(float64(v-w[i]), 2)
			all += math.Pow(float64(w[i]), 2)
		}
		if relative := math.Sqrt(off / all); !(relative < 0.03) || off == 0 {
			t.Errorf("%s: off by %.3g of the output's norm", name, relative)
		}
	}
}

// One evaluation of twice the batch gives what two evaluations give; one text and one image beside stand for all.
func TestGuidedDenoiser(t *testing.T) {
	m, f := open(t, "classes", dtypes.Float32)
	texts := embeddings(t, f, "text")
	x, low := normal(1, 3, 3, 8, 8), normal(2, 3, 3, 8, 8)
	each := Condition{Text: model.Embeddings{N: 3, Tokens: texts.Tokens, Dim: texts.Dim,
		Data: slices.Concat(texts.Data, texts.Slice(0, 1).Data)}, Beside: low, Class: 40}
	one := Condition{Text: texts.Slice(0, 1), Beside: low.Slice(0, 1), Class: 40}
	negative := texts.Slice(1, 2)
	for _, c := range []Condition{each, one} {
		uncond := c
		uncond.Text = negative
		for _, scale := range []float32{0, 1, 7} {
			got, err := m.GuidedDenoiser(c, negative, scale)(t.Context(), x, 321)
			if err != nil {
				t.Fatal(err)
			}
			want, err := diffusion.Guided(m.Denoiser(c), m.Denoiser(uncond), scale)(t.Context(), x, 321)
			if err != nil {
				t.Fatal(err)
			}
			golden.Close(t, got.Value.Data, want.Value.Data, 1e-4, "guided noise")
			golden.Close(t, got.Variance.Data, want.Variance.Data, 1e-4, "guided variance")
		}
	}
	// Three images at once are the images one by one.
	all, err := m.Denoiser(each)(t.Context(), x, 321)
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		c := Condition{Text: each.Text.Slice(n, n+1), Beside: low.Slice(n, n+1), Class: 40}
		alone, err := m.Denoiser(c)(t.Context(), x.Slice(n, n+1), 321)
		if err != nil {
			t.Fatal(err)
		}
		golden.Close(t, alone.Value.Data, all.Value.Slice(n, n+1).Data, 1e-4, "one image")
	}
}

// A network of as many output channels as the images have estimates no variance.
func TestNoVariance(t *testing.T) {
	m, f := open(t, "odd", dtypes.Float32)
	e, err := m.Denoiser(Condition{Text: embeddings(t, f, "text").Slice(0, 1)})(t.Context(), normal(1, 1, 3, 4, 4), 0)
	if err != nil || e.Variance != nil || e.Value.C != 3 {
		t.Errorf("noise %s, variance %v, %v", e.Value.Shape(), e.Variance, err)
	}
}

func TestMisuse(t *testing.T) {
	m, f := open(t, "classes", dtypes.Float32)
	plain, g := open(t, "odd", dtypes.Float32)
	text, plainText := embeddings(t, f, "text"), embeddings(t, g, "text")
	low := normal(2, 2, 3, 8, 8)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	x := normal(1, 2, 3, 8, 8)
	estimate := func(ctx context.Context, d diffusion.Denoiser, x diffusion.Images) error {
		_, err := d(ctx, x, 3)
		return err
	}
	short := model.Embeddings{N: 2, Tokens: 3, Dim: text.Dim, Data: make([]float32, 6*text.Dim)}
	evaluate := func(times []float64, class []float64) error {
		_, err := m.Evaluate(t.Context(), normal(1, 2, 6, 8, 8), times, text, class)
		return err
	}
	for what, c := range map[string]struct {
		err   error
		words string
	}{
		"nothing beside": {estimate(t.Context(), m.Denoiser(Condition{Text: text}), x), "images [N,6,H,W]"},
		"another size": {estimate(t.Context(), m.Denoiser(Condition{Text: text, Beside: low}),
			normal(1, 2, 3, 4, 8)), "beside x_t are [2,3,8,8]"},
		"too many beside": {estimate(t.Context(), m.Denoiser(Condition{Text: text.Slice(0, 1), Beside: low}),
			normal(1, 3, 3, 8, 8)), "expected [3,C,8,8]"},
		"an odd size": {estimate(t.Context(), plain.Denoiser(Condition{Text: plainText}), normal(1, 2, 3, 7, 8)),
			"multiples of 2, got [2,3,7,8]"},
		"another text": {estimate(t.Context(), plain.Denoiser(Condition{Text: text}), x),
			"12 numbers a token, the network takes 8"},
		"three texts": {estimate(t.Context(),
			m.Denoiser(Condition{Text: model.Embeddings{N: 3, Tokens: 1, Dim: 12, Data: make([]float32, 36)},
				Beside: low}), x), "3 texts for 2 images"},
		"no text": {estimate(t.Context(), m.Denoiser(Condition{Beside: low}), x), "[0,0,0]"},
		"negative's tokens": {estimate(t.Context(), m.GuidedDenoiser(Condition{Text: text, Beside: low}, short, 3), x),
			"of 5 tokens and the negative prompt's of 3"},
		"a class": {estimate(t.Context(), plain.Denoiser(Condition{Text: plainText, Class: 3}), x),
			"class label is 3"},
		"five channels": {estimate(t.Context(), plain.Denoiser(Condition{Text: plainText}), normal(1, 2, 5, 8, 8)),
			"3 output channels"},
		"an ended context": {estimate(ended, m.Denoiser(Condition{Text: text, Beside: low}), x), "canceled"},
		"one timestep":     {evaluate([]float64{1}, []float64{1, 1}), "1 timesteps for 2 images"},
		"one label":        {evaluate([]float64{1, 1}, []float64{1}), "1 class labels for 2 images"},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.words) {
			t.Errorf("%s: %v; want a word on %q", what, c.err, c.words)
		}
	}
	m.Close()
	if err := estimate(t.Context(), m.Denoiser(Condition{Text: text, Beside: low}), x); err == nil ||
		!strings.Contains(err.Error(), "closed") {
		t.Errorf("a closed model: %v", err)
	}
}

// Batches that are cut into several evaluations come to the same.
func TestBatch(t *testing.T) {
	m, f := open(t, "classes", dtypes.Float32)
	x := normal(3, 5, m.Config.InChannels, 8, 8)
	text := embeddings(t, f, "text").Slice(0, 1)
	ts, class := []float64{1, 2, 300, 400, 500}, []float64{7, 70, 700, 1, 2}
	want, err := m.Evaluate(t.Context(), x, ts, text, class)
	if err != nil {
		t.Fatal(err)
	}
	for batch, shapes := range map[int]int{1: 1, 2: 2, 4: 2, 5: 1, 9: 1} {
		m, _ := open(t, "classes", dtypes.Float32)
		m.Batch = batch
		y, err := m.Evaluate(t.Context(), x, ts, text, class)
		if err != nil {
			t.Fatal(err)
		}
		golden.Close(t, y.Data, want.Data, 1e-5, "in parts")
		for s := range m.evals {
			if s.images > batch {
				t.Errorf("an evaluation of %d images, Batch is %d", s.images, batch)
			}
		}
		if len(m.evals) != shapes {
			t.Errorf("Batch %d: %d shapes were compiled, expected %d", batch, len(m.evals), shapes)
		}
	}
}

// Texts are read once for the evaluations that follow each other, and again where they change.
func TestTextsAreReadOnce(t *testing.T) {
	m, f := open(t, "classes", dtypes.Float32)
	x, both := normal(3, 1, m.Config.InChannels, 8, 8), embeddings(t, f, "text")
	evaluate := func(text model.Embeddings) []float32 {
		t.Helper()
		y, err := m.Evaluate(t.Context(), x, []float64{300}, text, []float64{7})
		if err != nil {
			t.Fatal(err)
		}
		if len(m.read) != 1 || len(m.readers) != 1 {
			t.Fatalf("%d readings by %d graphs are kept, expected one", len(m.read), len(m.readers))
		}
		return y.Data
	}
	first := evaluate(both.Slice(0, 1))
	told := m.read[0].told
	if again := evaluate(both.Slice(0, 1)); !slices.Equal(again, first) || &m.read[0].told[0] != &told[0] {
		t.Error("the same text was read again")
	}
	if other := evaluate(both.Slice(1, 2)); slices.Equal(other, first) {
		t.Error("another text changed nothing")
	}
	if back := evaluate(both.Slice(0, 1)); !slices.Equal(back, first) {
		t.Error("the first text came to something else after another one")
	}
	// A caller may use its memory again.
	own := both.Slice(0, 1)
	own.Data = slices.Clone(own.Data)
	evaluate(own)
	copy(own.Data, both.Slice(1, 2).Data)
	if other := evaluate(own); slices.Equal(other, first) {
		t.Error("another text in the same memory was taken for the first one")
	}
}

// Parts of one evaluation share what was made of the same text.
func TestPartsShareTexts(t *testing.T) {
	m, f := open(t, "classes", dtypes.Float32)
	m.Batch = 1
	both := embeddings(t, f, "text")
	for _, c := range []struct {
		text model.Embeddings
		want int
	}{{both.Slice(0, 1), 1}, {both, 2}, {both.Slice(1, 2), 1}} {
		if _, err := m.Evaluate(t.Context(), normal(3, 2, m.Config.InChannels, 8, 8), []float64{300, 300}, c.text,
			[]float64{7, 7}); err != nil {
			t.Fatal(err)
		}
		if len(m.read) != c.want {
			t.Errorf("%d readings of %d texts are kept", len(m.read), c.want)
		}
	}
}

// ending is a context that is cancelled after it was asked a number of times.
type ending struct {
	context.Context
	asked int
}

func (e *ending) Err() error {
	if e.asked--; e.asked < 0 {
		return context.Canceled
	}
	return nil
}

func TestCancelledBetweenParts(t *testing.T) {
	m, f := open(t, "classes", dtypes.Float32)
	m.Batch = 1
	ctx := &ending{t.Context(), 1}
	if _, err := m.Evaluate(ctx, normal(3, 3, m.Config.InChannels, 8, 8), []float64{1, 2, 3},
		embeddings(t, f, "text").Slice(0, 1), []float64{7, 7, 7}); !errors.Is(err, context.Canceled) {
		t.Errorf("%v, want %v", err, context.Canceled)
	}
	if ctx.asked != -1 {
		t.Errorf("the context was asked again after it had ended: %d", ctx.asked)
	}
}
