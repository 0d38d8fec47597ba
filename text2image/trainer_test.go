package text2image

import (
	"math"
	"path/filepath"
	"slices"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/deepfloyd/t5"
	"github.com/unnoise/unnoise/deepfloyd/unet"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/enginetest"
	"github.com/unnoise/unnoise/internal/golden"
	"github.com/unnoise/unnoise/weights"
)

// tiny is a network that trains in milliseconds.
func tiny(t testing.TB) Network {
	dir := filepath.Join(golden.Dir(t), "if_tiny")
	var n Network
	var err error
	if n.UNet, err = unet.ReadConfig(filepath.Join(dir, "unet", "config.json")); err != nil {
		t.Fatal(err)
	}
	if n.Text, err = t5.ReadConfig(filepath.Join(dir, "text_encoder", "config.json")); err != nil {
		t.Fatal(err)
	}
	return n
}

// noise is a batch of n images of noise, and texts of which the second half is hidden.
func noise(n Network, images, tokens int, seed uint64) Batch {
	g := diffusion.NewGenerator(seed)
	side := n.UNet.SampleSize
	b := Batch{X: diffusion.NewImages(images, n.UNet.InChannels, side.H, side.W), Target: diffusion.NewImages(images, Channels, side.H, side.W),
		T: make([]int, images), Weight: slices.Repeat([]float32{1}, images)}
	g.Normal(b.X.Data)
	g.Normal(b.Target.Data)
	g.IntN(b.T, Timesteps)
	for i := range images {
		ids, mask := make([]int32, tokens), make([]int32, tokens)
		for j := range tokens / 2 {
			ids[j], mask[j] = int32((i*31+j*7)%n.Text.VocabSize), 1
		}
		b.IDs, b.Mask = append(b.IDs, ids), append(b.Mask, mask)
	}
	return b
}

// TestTrainer learns a batch by heart, and goes on from its state to the same bits.
func TestTrainer(t *testing.T) {
	n := tiny(t)
	b := enginetest.Backend(t)
	tr, err := New(b, n, dtypes.Float32, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	batch := noise(n, 4, 8, 1)
	step := func(tr *Trainer) Loss {
		l, err := tr.Step(batch, 2e-3)
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	first := step(tr)
	if mean := (first.Each[0] + first.Each[1] + first.Each[2] + first.Each[3]) / 4; math.Abs(first.Loss-float64(mean)) > 1e-5 || math.Abs(first.Loss-1) > 0.1 {
		t.Errorf("the first loss is %g and the mean of the errors %g, want both the noise's variance", first.Loss, mean)
	}
	for range 20 {
		step(tr)
	}
	state, err := tr.State()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "state.safetensors")
	if err := weights.Write(path, state, nil); err != nil {
		t.Fatal(err)
	}
	f, err := weights.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	again, err := Restore(b, n, dtypes.Float32, f, tr.Steps())
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	var last Loss
	for range 10 {
		last = step(tr)
		if l := step(again); l.Loss != last.Loss {
			t.Fatalf("after %d steps the loss is %g, and %g for the trainer that went on from the state", tr.Steps(), last.Loss, l.Loss)
		}
	}
	if !(last.Loss < 0.7*first.Loss) {
		t.Errorf("after %d steps on one batch the loss is %g, want less than 0.7 of the first, %g", tr.Steps(), last.Loss, first.Loss)
	}
	mean, err := tr.Loss(batch)
	if err != nil {
		t.Fatal(err)
	}
	if !(mean.Loss < 0.7*first.Loss) || mean.Loss == last.Loss {
		t.Errorf("with the running means of the parameters the loss is %g, want less than 0.7 of the first, %g", mean.Loss, first.Loss)
	}
}

// TestRepeatedToken compares the network on texts of TrainTokens, whose last token stands for those up to Tokens, with the one on
// texts of Tokens, as it will be used.
func TestRepeatedToken(t *testing.T) {
	dir := t.TempDir()
	if err := Create(dir, []string{"a red rocket on a blue ground", "two cats"}, 100); err != nil {
		t.Fatal(err)
	}
	f, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	n := tiny(t) // with the shipped encoder's distances
	n.Text.RelativeAttentionNumBuckets, n.Text.RelativeAttentionMaxDistance = f.Network.Text.RelativeAttentionNumBuckets, f.Network.Text.RelativeAttentionMaxDistance
	n.Tokens = f.Network.Tokens
	tr, err := New(enginetest.Backend(t), n, dtypes.Float32, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	short := noise(n, 2, TrainTokens, 1)
	short.IDs, short.Mask = f.Encode([]string{"a red rocket on a blue ground and on a red ground on a", "two cats"})
	if short.Mask[0][captionTokens-1] != 1 {
		t.Fatalf("the first text is too short for this test: %v", short.Mask[0])
	}
	for range 3 { // so that no layer is zero
		if _, err := tr.Step(short, 1e-2); err != nil {
			t.Fatal(err)
		}
	}
	long := short
	long.IDs, long.Mask = nil, nil
	for i := range short.IDs {
		fill := make([]int32, Tokens-TrainTokens)
		long.IDs, long.Mask = append(long.IDs, append(slices.Clone(short.IDs[i]), fill...)), append(long.Mask, append(slices.Clone(short.Mask[i]), fill...))
	}
	want, err := tr.Evaluate(long)
	if err != nil {
		t.Fatal(err)
	}
	got, err := tr.Evaluate(short)
	if err != nil {
		t.Fatal(err)
	}
	golden.Close(t, got.Data, want.Data, 1e-5, "repeated token")
	other := short
	other.IDs = slices.Clone(short.IDs)
	other.IDs[0], other.IDs[1] = other.IDs[1], other.IDs[0]
	y, err := tr.Evaluate(other)
	if err != nil {
		t.Fatal(err)
	}
	if slices.Equal(y.Data, got.Data) {
		t.Error("other texts give the same")
	}
}
