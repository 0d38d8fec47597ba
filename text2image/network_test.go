package text2image

import (
	"encoding/json"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/deepfloyd"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/enginetest"
	"github.com/unnoise/unnoise/internal/golden"
	"github.com/unnoise/unnoise/internal/nn"
	"github.com/unnoise/unnoise/weights"
)

// tiny is a network that trains in milliseconds, with the vocabulary of a few captions.
func tiny(t testing.TB) *Network {
	n, err := New([]string{"a red rocket on a blue ground", "two cats"}, 100)
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(golden.Dir(t), "if_tiny")
	for name, to := range map[string]*json.RawMessage{"unet": &n.UNetConfig, "text_encoder": &n.TextConfig} {
		if *to, err = os.ReadFile(filepath.Join(dir, name, "config.json")); err != nil {
			t.Fatal(err)
		}
	}
	if n, err = n.parse(); err != nil {
		t.Fatal(err)
	}
	return n
}

// trainer makes a trainer with initial values that seed 0 determines.
func trainer(t testing.TB, n *Network, o nn.TrainerOptions) *nn.Trainer {
	g := diffusion.NewGenerator(0)
	o.DType = dtypes.Float32
	tr, err := nn.NewTrainer(enginetest.Backend(t), n, o, func(p nn.Param) ([]float32, error) {
		return p.Initial(g),
			nil
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.Close)
	return tr
}

// inputs are a batch of two images of noise with texts of a number of tokens.
func inputs(n *Network, side, tokens int, captions ...string) []nn.Input {
	const images = 2
	g := diffusion.NewGenerator(1)
	float := func(name string, shape ...int) nn.Input {
		v := make([]float32, images*nn.Size(shape))
		g.Normal(v)
		return nn.Input{Name: name, Shape: slices.Concat([]int{images}, shape), Values: v}
	}
	ids, mask := make([]int32, images*tokens), slices.Repeat([]float32{-math.MaxFloat32}, images*tokens)
	for i, c := range captions {
		n.encode(c, ids[i*tokens:][:TrainTokens], mask[i*tokens:][:TrainTokens])
	}
	return []nn.Input{
		float("x", Channels, side, side), float("target", Channels, side, side),
		{Name: "t", Shape: []int{images, 1}, Values: []float32{17, 803}},
		{Name: "weight", Shape: []int{images, 1}, Values: []float32{1, 1}},
		{Name: "ids", Shape: []int{images, tokens}, Values: ids},
		{Name: "mask", Shape: []int{images, tokens}, Values: mask},
	}
}

// TestGradients compares the loss and the gradients of both parts with PyTorch's, which testdata/gradients.py recorded.
func TestGradients(t *testing.T) {
	n := tiny(t)
	n.tokens = 0
	dir := filepath.Join(golden.Dir(t), "if_tiny")
	files := map[string]*weights.File{}
	for prefix, part := range map[string]string{unetPrefix: "unet", textPrefix: "text_encoder"} {
		f, err := weights.OpenFolder(filepath.Join(dir, part), "")
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files[prefix] = f
	}
	tr, err := nn.NewTrainer(enginetest.Backend(t), n, nn.TrainerOptions{DType: dtypes.Float32},
		func(p nn.Param) ([]float32, error) {
			prefix := unetPrefix
			if strings.HasPrefix(p.Name, textPrefix) {
				prefix = textPrefix
			}
			p.Name = strings.TrimPrefix(p.Name, prefix)
			return p.Read(files[prefix], "")
		})
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()

	f, err := weights.Open(filepath.Join("testdata", "gradients.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	floats := func(name string) []float32 {
		tensor, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		v, err := tensor.Float32()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	var batch []nn.Input
	for _, name := range []string{"x", "target", "t", "weight", "ids", "mask"} {
		tensor, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		in := nn.Input{Name: name, Shape: tensor.Shape}
		if name == "ids" {
			in.Values, err = tensor.Int32()
		} else {
			in.Values, err = tensor.Float32()
		}
		if err != nil {
			t.Fatal(err)
		}
		batch = append(batch, in)
	}
	loss, gradients, err := tr.Gradients(batch)
	if err != nil {
		t.Fatal(err)
	}
	golden.Close(t, []float32{float32(loss)}, floats("loss"), 1e-5, "loss")
	for _, p := range n.Params() {
		v, err := gradients[p.Name].Float32()
		if err != nil {
			t.Fatal(err)
		}
		norm := 0.0
		for _, x := range v {
			norm += float64(x) * float64(x)
		}
		norm = math.Sqrt(norm)
		want := float64(floats("norm." + p.Name)[0])
		if !(math.Abs(norm-want) <= 1e-3*want+1e-7) {
			t.Errorf("the gradient of %s has norm %g, PyTorch's %g", p.Name, norm, want)
		}
		stride := max(1, len(v)/32)
		for i, w := range floats("gradient." + p.Name) {
			if g := v[i*stride]; !(math.Abs(float64(g-w)) <= 2e-3*want+1e-7) {
				t.Errorf("the gradient of %s at %d is %g, PyTorch's %g; the norm is %g", p.Name, i*stride, g, w, want)
				break
			}
		}
	}
}

// TestRepeatedToken compares texts of TrainTokens, whose last token stands for those up to Tokens, with texts of
// Tokens, as the network will be used. The longest caption has as many tokens as one may have.
func TestRepeatedToken(t *testing.T) {
	shipped, err := New([]string{"a red rocket on a blue ground", "two cats"}, 100)
	if err != nil {
		t.Fatal(err)
	}
	n := tiny(t)
	n.text.RelativeAttentionNumBuckets, n.text.RelativeAttentionMaxDistance = shipped.text.RelativeAttentionNumBuckets,
		shipped.text.RelativeAttentionMaxDistance
	tr := trainer(t, n, nn.TrainerOptions{})
	long := "a red rocket on a blue ground on a red ground on a blue ground on a red ground on a blue ground"
	if ids := n.tokenizer.IDs(long); len(ids) != captionTokens-1 {
		t.Fatalf("the caption has %d tokens, this test wants %d", len(ids), captionTokens-1)
	}
	learn := inputs(n, n.Side(), TrainTokens, long, "two cats")
	for range 3 { // so that no layer is zero
		if _, err := tr.Step(learn, 1e-2, 0); err != nil {
			t.Fatal(err)
		}
	}
	loss := func(batch []nn.Input) float32 {
		l, err := tr.Loss(batch)
		if err != nil {
			t.Fatal(err)
		}
		return float32(l)
	}
	want, other := loss(inputs(n, n.Side(), Tokens, long, "two cats")), loss(inputs(n, n.Side(), Tokens, long, "a rocket"))
	if got := loss(learn); math.Abs(float64(got-want)) > 1e-6 || math.Abs(float64(other-want)) < 1e-5 {
		t.Errorf("the loss is %g, with all tokens %g, and with another text %g", got, want, other)
	}
}

// TestSave saves a network that has learned and draws with the saved folder.
func TestSave(t *testing.T) {
	n := tiny(t)
	tr := trainer(t, n, nn.TrainerOptions{Clip: 1, Average: true})
	batch := inputs(n, n.Side(), TrainTokens, "a red rocket", "two cats")
	var first, last nn.StepResult
	var err error
	for i := range 30 {
		if last, err = tr.Step(batch, 2e-3, 0.5); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			first = last
		}
	}
	if !(last.Loss < 0.7*first.Loss) {
		t.Errorf("after 30 steps on one batch the loss is %g, want less than 0.7 of the first, %g", last.Loss,
			first.Loss)
	}
	values, err := tr.Tensors()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := n.Save(dir, values); err != nil {
		t.Fatal(err)
	}
	m, err := deepfloyd.OpenPipeline(enginetest.Backend(t), dir, deepfloyd.Options{DType: dtypes.Float32})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	draw := func(prompts []string, seed uint64) diffusion.Images {
		x, err := Draw(t.Context(), m, prompts, Sampling{Size: 16, Steps: 4, Guidance: 3, Seed: seed})
		if err != nil {
			t.Fatal(err)
		}
		return x
	}
	a, b := draw([]string{"a red rocket", "two cats"}, 1), draw([]string{"a red rocket", "a rocket"}, 1)
	if !slices.Equal(a.Slice(0, 1).Data, b.Slice(0, 1).Data) || slices.Equal(a.Slice(1, 2).Data, b.Slice(1, 2).Data) {
		t.Error("the same prompt should give the same image, and another one another")
	}

	raw, err := json.Marshal(n)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Read(raw)
	if err != nil {
		t.Fatal(err)
	}
	if second, err := json.Marshal(again); err != nil || !slices.Equal(raw, second) {
		t.Errorf("the network's JSON changes when it is read and written: %v", err)
	}
}
