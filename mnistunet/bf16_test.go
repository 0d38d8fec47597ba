package mnistunet

import (
	"math"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/internal/enginetest"
)

// TestMixedPrecision compares a training step in bfloat16 with the same in float32: outputs within a few per cent,
// gradients in nearly the same direction.
func TestMixedPrecision(t *testing.T) {
	c := Default(Class)
	c.Dim = 16
	data := noiseBatch(c, 8)
	type result struct {
		output    []float32
		loss      float64
		gradients map[string][]float32
	}
	of := func(dtype dtypes.DType) (r result) {
		m, err := New(enginetest.Backend(t), c, dtype, 7)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		loss, gradients, err := newTrainer(t, m.backend, c, dtype, nil).Gradients(data.inputs())
		if err != nil {
			t.Fatal(err)
		}
		r = result{trainingOutput(t, m, data), loss, map[string][]float32{}}
		for name, v := range gradients {
			if r.gradients[name], err = v.Float32(); err != nil {
				t.Fatal(err)
			}
		}
		return r
	}
	want, got := of(dtypes.Float32), of(dtypes.BFloat16)
	if d := math.Abs(got.loss-want.loss) / want.loss; !(d <= 0.01) {
		t.Errorf("loss %g in bfloat16, %g in float32", got.loss, want.loss)
	}
	var off, all float64
	for i, w := range want.output {
		off += math.Pow(float64(got.output[i]-w), 2)
		all += math.Pow(float64(w), 2)
	}
	if part := math.Sqrt(off / all); !(part < 0.03) {
		t.Errorf("outputs differ by %.3g of their size", part)
	}
	for name, w := range want.gradients {
		v := got.gradients[name]
		var vw, vv, ww float64
		for i := range w {
			vw += float64(v[i]) * float64(w[i])
			vv += float64(v[i]) * float64(v[i])
			ww += float64(w[i]) * float64(w[i])
		}
		if ww < 1e-10 { // a bias before batch normalization: rounding noise
			continue
		}
		if cosine := vw / math.Sqrt(vv*ww); !(cosine > 0.97) {
			t.Errorf("%s: the gradients' cosine is %.4f; norms %.3g and %.3g", name, cosine, math.Sqrt(vv),
				math.Sqrt(ww))
		}
	}
}
