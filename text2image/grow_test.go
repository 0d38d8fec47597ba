package text2image

import (
	"math"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/internal/enginetest"
	"github.com/unnoise/unnoise/internal/nn"
	"github.com/unnoise/unnoise/weights"
)

// TestHalf compares what a new network does to images in half the size, without its outermost level, with what the
// whole of it does to the same images with doubled pixels. Convolutions of the first and the last layer see one pixel
// alone here: else they see more of a doubled image.
func TestHalf(t *testing.T) {
	n, err := New([]string{"a red rocket", "two cats"}, 100)
	if err != nil {
		t.Fatal(err)
	}
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
	small := inputs(n, n.Side()/2, TrainTokens, "a red rocket", "two cats")
	large := make([]nn.Input, len(small))
	for i, in := range small {
		large[i] = in
		if len(in.Shape) == 4 {
			large[i] = doubled(in)
		}
	}
	want := loss(t, n, values, small)
	if got := loss(t, n, values, large); math.Abs(got-want) > 1e-5*want {
		t.Errorf("the loss of the whole network is %g, without its outermost level %g", got, want)
	}
	if with, without := n.unet.Parameters(), n.inner.Parameters(); with <= without {
		t.Errorf("the UNet has %d parameters, without its outermost level %d", with, without)
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
