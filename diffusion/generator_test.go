package diffusion_test

import (
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
)

// A restored generator goes on with the same numbers, wherever it was saved: between blocks, within one, with a spare normal.
func TestGeneratorStateRoundTrip(t *testing.T) {
	for _, draws := range []int{0, 1, 3, 15, 16, 17, 623, 624, 625, 100_000} {
		g := diffusion.NewGenerator(7)
		g.Normal(make([]float32, draws))
		state, err := g.MarshalBinary()
		if err != nil {
			t.Fatal(err)
		}
		restored := diffusion.NewGenerator(1)
		if err := restored.UnmarshalBinary(state); err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{1, 2, 700} {
			want, got := make([]float32, n), make([]float32, n)
			g.Normal(want)
			restored.Normal(got)
			if !slices.Equal(got, want) {
				t.Errorf("saved after %d normals: the next %d differ", draws, n)
			}
		}
	}
}

func TestGeneratorStateErrors(t *testing.T) {
	state, err := diffusion.NewGenerator(7).MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	changed := func(at int, to byte) []byte {
		s := slices.Clone(state)
		s[at] = to
		return s
	}
	for want, state := range map[string][]byte{
		"found 0":            nil,
		"bytes":              state[1:],
		"another program":    changed(0, 'X'),
		"the position is":    changed(10, 255),
		"the spare's flag":   changed(len(state)-9, 2),
		"expected 2517 byte": append(slices.Clone(state), 0),
	} {
		g := diffusion.NewGenerator(3)
		if err := g.UnmarshalBinary(state); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v, expected it to contain %q", err, want)
		}
		got, fresh := make([]float32, 4), make([]float32, 4)
		g.Uniform(got)
		diffusion.NewGenerator(3).Uniform(fresh)
		if !slices.Equal(got, fresh) {
			t.Errorf("%q: the generator changed on an error", want)
		}
	}
}

func FuzzGeneratorState(f *testing.F) {
	g := diffusion.NewGenerator(7)
	g.Normal(make([]float32, 3))
	state, err := g.MarshalBinary()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(state)
	f.Add(state[:100])
	f.Fuzz(func(t *testing.T, state []byte) {
		var g diffusion.Generator
		if g.UnmarshalBinary(state) != nil {
			return
		}
		again, err := g.MarshalBinary()
		if err != nil || !slices.Equal(again, state) {
			t.Fatal("a state that was read is written otherwise")
		}
		g.Normal(make([]float32, 1000)) // and it can be used
	})
}

func TestNormalMoments(t *testing.T) {
	values := make([]float32, 1<<20)
	diffusion.NewGenerator(11).Normal(values)
	var moments [5]float64
	for _, v := range values {
		power := 1.0
		for i := range moments {
			moments[i] += power / float64(len(values))
			power *= float64(v)
		}
	}
	for i, want := range [5]float64{1, 0, 1, 0, 3} {
		if math.Abs(moments[i]-want) > 0.02 { // more than four standard errors of each
			t.Errorf("moment %d is %.4f, expected %g", i, moments[i], want)
		}
	}
}

func TestIntegersStayInRange(t *testing.T) {
	g := diffusion.NewGenerator(12)
	for _, high := range []int{1, 2, 300, 1<<28 - 1, 1 << 28, math.MaxInt} {
		values := make([]int, 1000)
		g.IntN(values, high)
		if low, top := slices.Min(values), slices.Max(values); low < 0 || top >= high {
			t.Errorf("bound %d: values from %d to %d", high, low, top)
		}
	}
	for _, n := range []int{0, 1, 2, 1000} {
		perm := g.Perm(n)
		slices.Sort(perm)
		for i, v := range perm {
			if v != i {
				t.Fatalf("Perm(%d) has %d in place of %d", n, v, i)
			}
		}
	}
}

// One training step's noise: 128 images of 28 x 28.
func BenchmarkNormal(b *testing.B) {
	g := diffusion.NewGenerator(0)
	values := make([]float32, 128*28*28)
	b.SetBytes(4 * int64(len(values)))
	for b.Loop() {
		g.Normal(values)
	}
}
