package text2image

import (
	"encoding/json"
	"math"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/internal/enginetest"
	"github.com/unnoise/unnoise/internal/nn"
	"github.com/unnoise/unnoise/weights"
)

// TestGrown compares a network with the one that it grows to, on images whose pixels are doubled. Convolutions of the
// first and the last layer see one pixel alone here: else they see more of a doubled image.
func TestGrown(t *testing.T) {
	n := tiny(t)
	values := n.Initial(3)
	for _, name := range []string{"unet.conv_in.weight", "unet.conv_out.weight"} {
		w, err := values[name].Float32()
		if err != nil {
			t.Fatal(err)
		}
		for i := range w {
			if i%9 != 4 {
				w[i] = 0
			}
		}
		values[name] = weights.FromFloat32(values[name].Shape, w)
	}
	grown, more, err := n.Grown(values, 4)
	if err != nil {
		t.Fatal(err)
	}
	if was, is := n.unet.Parameters(), grown.unet.Parameters(); is <= was {
		t.Errorf("the UNet has %d parameters, before it grew %d", is, was)
	}
	small := inputs(n, TrainTokens, "a red rocket", "two cats")
	large := make([]nn.Input, len(small))
	for i, in := range small {
		large[i] = in
		if len(in.Shape) == 4 {
			large[i] = doubled(in)
		}
	}
	want := loss(t, n, values, small)
	if got := loss(t, grown, more, large); math.Abs(got-want) > 1e-5*want {
		t.Errorf("the grown network's loss is %g, want %g", got, want)
	}
	raw, err := json.Marshal(grown)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := Read(raw); err != nil || again.unet.Parameters() != grown.unet.Parameters() {
		t.Errorf("the grown network is read as %v, %v", again, err)
	}
}

// doubled has each pixel of images twice in both directions.
func doubled(in nn.Input) nn.Input {
	old, h, w := in.Values.([]float32), in.Shape[2], in.Shape[3]
	v := make([]float32, 4*len(old))
	for i := range v {
		x, y, image := i%(2*w), i/(2*w)%(2*h), i/(4*w*h)
		v[i] = old[(image*h+y/2)*w+x/2]
	}
	return nn.Input{Name: in.Name, Shape: []int{in.Shape[0], in.Shape[1], 2 * h, 2 * w}, Values: v}
}

func loss(t *testing.T, n *Network, values map[string]weights.Tensor, batch []nn.Input) float64 {
	t.Helper()
	value, err := nn.FromTensors("a test", n.Params(), values)
	if err != nil {
		t.Fatal(err)
	}
	tr, err := nn.NewTrainer(enginetest.Backend(t), n, nn.TrainerOptions{DType: dtypes.Float32}, value)
	if err != nil {
		t.Fatal(err)
	}
	defer tr.Close()
	l, err := tr.Loss(batch)
	if err != nil {
		t.Fatal(err)
	}
	return l
}
