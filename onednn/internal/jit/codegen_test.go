package jit

import (
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/onednn/internal/cluster"
	"github.com/unnoise/unnoise/onednn/internal/graph"
	"github.com/unnoise/unnoise/onednn/internal/graph/graphtest"
)

// There is code for what processors compute in registers; the interpreter has the rest. That the code is right, the
// package onednn tests.
func TestGenerate(t *testing.T) {
	for _, c := range []struct {
		name         string
		f            func(x *Node) *Node
		width        int
		avx512, avx2 bool
	}{
		{"exp", Exp, 16, true, true},
		{"a row that is no whole vectors", Exp, 5, true, false},
		{"a result of bytes", func(x *Node) *Node { return GreaterThan(x, Exp(x)) }, 16, true, false},
		{"sine", Sin, 16, false, false},
	} {
		g := graphtest.Record(t, func(in []*Node) []*Node { return []*Node{c.f(in[0])} },
			shapes.Make(dtypes.Float32, 3, c.width))
		for _, u := range cluster.Fuse(g, cluster.MaxNodes) {
			if u.Cluster == nil {
				continue
			}
			p := u.Cluster.Assemble(func(r *graph.Result) bool { return r == g.Outputs[0] }, nil)
			for avx2, want := range map[bool]bool{false: c.avx512, true: c.avx2} {
				if got := Generate(p, avx2, false) != nil; got != want {
					t.Errorf("%s, AVX2 %t: expected code %t, found %t", c.name, avx2, want, got)
				}
			}
		}
	}
}
