package nn

import (
	"math"
	"path/filepath"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/weights"
)

// table is a network that looks numbers up: one for each row of w, and their mean square is to be small.
type table struct{ rows int }

func (n table) Params() []Param { return []Param{{Name: "w", Shape: []int{n.rows, 1}}} }

func (n table) Loss(l *Layers, in map[string]*Node) *Node {
	y := Gather(l.Params["w"], Reshape(in["row"], -1, 1))
	return MeanSquare(y, in["target"], in["weight"])
}

func tableTrainer(t *testing.T, o TrainerOptions, values ...float32) *Trainer {
	t.Helper()
	b, err := compute.NewWithConfig("onednn")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Finalize)
	o.DType = dtypes.Float32
	tr, err := NewTrainer(b, table{len(values)}, o, func(Param) ([]float32, error) { return values, nil })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(tr.Close)
	return tr
}

func rows(target []float32, weight []float32, rows ...int32) []Input {
	n := len(rows)
	in := []Input{{Name: "row", Shape: []int{n, 1}, Values: rows}, {Name: "target", Shape: []int{n, 1}, Values: target}}
	if weight != nil {
		in = append(in, Input{Name: "weight", Shape: []int{n, 1}, Values: weight})
	}
	return in
}

func near(t *testing.T, what string, got, want float64) {
	t.Helper()
	if !(math.Abs(got-want) <= 1e-5*max(1, math.Abs(want))) {
		t.Errorf("%s is %g, want %g", what, got, want)
	}
}

// Losses, weights and gradients are those of a sum that is easy by hand.
func TestTrainerLoss(t *testing.T) {
	tr := tableTrainer(t, TrainerOptions{}, 1, 2, 5)
	plain, weighted := rows([]float32{0, 0}, nil, 2, 0), rows([]float32{0, 0}, []float32{0.5, 3}, 2, 0)
	for what, c := range map[string]struct {
		batch    []Input
		loss     float64
		gradient [3]float64
	}{
		"plain":    {plain, (25 + 1) / 2., [3]float64{1, 0, 5}},
		"weighted": {weighted, (0.5*25 + 3*1) / 2., [3]float64{3, 0, 2.5}},
	} {
		loss, gradients, err := tr.Gradients(c.batch)
		if err != nil {
			t.Fatal(err)
		}
		near(t, what+" loss", loss, c.loss)
		v, err := gradients["w"].Float32()
		if err != nil {
			t.Fatal(err)
		}
		for i, g := range v {
			near(t, what+" gradient", float64(g), c.gradient[i])
		}
		if loss, err = tr.Loss(c.batch); err != nil {
			t.Fatal(err)
		}
		near(t, what+" loss in evaluation", loss, c.loss)
	}
}

// The norm is that of all gradients. Clipped ones make smaller moments, in proportion.
func TestClip(t *testing.T) {
	batch := rows([]float32{0, 0}, nil, 1, 0) // gradients 3, 4: of norm 5
	moment := func(clip float64) (norm float64, first []float32) {
		tr := tableTrainer(t, TrainerOptions{Clip: clip}, 4, 3, 5)
		s, err := tr.Step(batch, 1e-3, 0)
		if err != nil {
			t.Fatal(err)
		}
		state, err := tr.State()
		if err != nil {
			t.Fatal(err)
		}
		first, err = state["first.w"].Float32()
		if err != nil {
			t.Fatal(err)
		}
		return s.Norm, first
	}
	for clip, want := range map[float64]float64{0: 0.4, 100: 0.4, 5: 0.4, 1: 0.08, 0.5: 0.04} {
		norm, first := moment(clip)
		near(t, "the first moment", float64(first[0]), want)
		near(t, "the other first moment", float64(first[1]), want*3/4)
		if clip > 0 {
			near(t, "the norm", norm, 5)
		} else {
			near(t, "the norm of none", norm, 0)
		}
	}
}

// The averages follow the parameters by the decay that each step is given, are what is kept and measured, and are in
// the state.
func TestAverage(t *testing.T) {
	tr := tableTrainer(t, TrainerOptions{Average: true}, 1, 2, 5)
	batch := rows([]float32{0, 0, 0}, nil, 0, 1, 2)
	want := []float64{1, 2, 5}
	for _, decay := range []float64{0.5, 0.9, 0.25} {
		if _, err := tr.Step(batch, 0.1, decay); err != nil {
			t.Fatal(err)
		}
		now := valuesOf(t, tr, "param.w")
		for i := range want {
			want[i] = decay*want[i] + (1-decay)*float64(now[i])
		}
	}
	kept, err := tr.Tensors()
	if err != nil {
		t.Fatal(err)
	}
	values, err := kept["w"].Float32()
	if err != nil {
		t.Fatal(err)
	}
	square := 0.0
	for i, v := range values {
		near(t, "the average", float64(v), want[i])
		square += want[i] * want[i] / 3
	}
	loss, err := tr.Loss(batch)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "the averages' loss", loss, square)

	// A trainer made of the state goes on to the same bits.
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
	if _, err := Restore(tr.backend, table{3}, TrainerOptions{DType: dtypes.Float32}, f, 3); err == nil {
		t.Error("a state with averages was restored without")
	}
	again, err := Restore(tr.backend, table{3}, tr.options, f, 3)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	for _, tr := range []*Trainer{tr, again} {
		if _, err := tr.Step(batch, 0.1, 0.9); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"param.w", "first.w", "second.w", "ema.w"} {
		a, b := valuesOf(t, tr, name), valuesOf(t, again, name)
		for i := range a {
			if a[i] != b[i] {
				t.Errorf("%s is %v after restoring, want %v", name, b, a)
				break
			}
		}
	}
}

func valuesOf(t *testing.T, tr *Trainer, name string) []float32 {
	t.Helper()
	state, err := tr.State()
	if err != nil {
		t.Fatal(err)
	}
	v, err := state[name].Float32()
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// A model to begin with must be of the network.
func TestFromTensors(t *testing.T) {
	params := table{2}.Params()
	w := weights.FromFloat32([]int{2, 1}, []float32{1, 2})
	for what, tensors := range map[string]map[string]weights.Tensor{
		"nothing":       {},
		"another shape": {"w": weights.FromFloat32([]int{3, 1}, make([]float32, 3))},
		"more":          {"w": w, "b": w},
	} {
		if _, err := FromTensors("m", params, tensors); err == nil {
			t.Errorf("%s fits", what)
		}
	}
	value, err := FromTensors("m", params, map[string]weights.Tensor{"w": w, "norm.num_batches_tracked": w})
	if err != nil {
		t.Fatal(err)
	}
	if v, err := value(params[0]); err != nil || v[1] != 2 {
		t.Errorf("the values are %v, %v", v, err)
	}
}
