package onednn

import (
	"math/rand/v2"
	"slices"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
)

// configure has the backends of a test made with a configuration.
func configure(t *testing.T, c string) {
	before := configuration
	t.Cleanup(func() { configuration = before })
	configuration = c
}

// TestPortable runs the tests of graphs without oneDNN on each instruction set that the CPU has.
func TestPortable(t *testing.T) {
	configure(t, "portable")
	t.Cleanup(func() { limitISA(2) })
	for level := range 3 {
		limitISA(level)
		t.Run(ownISA(), func(t *testing.T) {
			t.Run("compliance", TestCompliance)
			t.Run("blocks", testBlocks)
			t.Run("convolutions", TestConvolutions)
			t.Run("random convolutions", TestRandomConvolutions)
			t.Run("gradients", TestConvolutionGradients)
			t.Run("products", TestProducts)
			t.Run("random products", TestRandomProducts)
		})
	}
}

// testBlocks computes what is larger than the blocks of own kernels, on more threads than there may be CPUs.
func testBlocks(t *testing.T) {
	configure(t, "portable,threads=5")
	r := rand.New(rand.NewPCG(17, 18))
	convolution := func(groups int) func(in []*Node) []*Node {
		return withGradients(func(in []*Node) *Node {
			return Add(Convolve(in[0], in[1]).PadSame().ChannelGroupCount(groups).Done(), ExpandLeftToRank(in[2], 4))
		})
	}
	for _, c := range []struct {
		name                         string
		batch, size, in, out, groups int
	}{
		{"many pixels", 3, 23, 5, 20, 1}, {"deep", 1, 9, 300, 20, 1}, {"wide", 1, 3, 40, 530, 1},
		{"one in", 5, 20, 1, 64, 1}, {"one out", 5, 20, 64, 1, 1},
		{"groups", 2, 11, 48, 96, 3}, {"depthwise", 2, 11, 32, 32, 32},
	} {
		agree(t, c.name, 2e-5, convolution(c.groups), random(r, c.batch, c.size, c.size, c.in),
			random(r, 3, 3, c.in/c.groups, c.out), random(r, c.out))
	}
	product := withGradients(func(in []*Node) *Node { return Dot(in[0], in[1]).Product() })
	for _, s := range [][3]int{{1, 700, 600}, {300, 300, 3}, {7, 3, 1500}, {257, 129, 65}} {
		agree(t, "product", 2e-5, product, random(r, s[0], s[1]), random(r, s[1], s[2]))
	}
	agree(t, "batched", 2e-5, withGradients(func(in []*Node) *Node { return Einsum("bqhd,bkhd->bhqk", in[0], in[1]) }),
		random(r, 3, 33, 4, 40), random(r, 3, 65, 4, 40))
}

// TestPortableRepeats runs a convolution and its gradients again: the bits are the same.
func TestPortableRepeats(t *testing.T) {
	b, err := New("portable,threads=3")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Finalize)
	r := rand.New(rand.NewPCG(19, 20))
	x, w := random(r, 4, 19, 19, 24), random(r, 3, 3, 24, 40)
	exec, err := NewExec(b, withGradients(func(in []*Node) *Node { return Convolve(in[0], in[1]).PadSame().Done() }))
	if err != nil {
		t.Fatal(err)
	}
	var first [][]float32
	for range 5 {
		out, err := exec.Exec(x, w)
		if err != nil {
			t.Fatal(err)
		}
		for i, y := range out {
			v := floats(t, y)
			if len(first) <= i {
				first = append(first, v)
			} else if !slices.Equal(first[i], v) {
				t.Fatalf("output %d differs from the first run's", i)
			}
		}
	}
}
