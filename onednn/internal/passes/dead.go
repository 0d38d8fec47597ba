package passes

import (
	"github.com/gomlx/compute"

	"github.com/unnoise/unnoise/onednn/internal/graph"
)

// removeDead drops what no output needs. Parameters stay: they are the computation's signature.
//
//	%2 = Add %0 %1; %3 = Mul %0 %1; return %3   →   %3 = Mul %0 %1; return %3
func removeDead(g *graph.Graph) {
	live := map[*graph.Node]bool{}
	for _, r := range g.Outputs {
		live[r.Node] = true
	}
	for i := len(g.Nodes) - 1; i >= 0; i-- {
		n := g.Nodes[i]
		if live[n] {
			for _, r := range n.In {
				live[r.Node] = true
			}
		}
	}
	kept := g.Nodes[:0]
	for _, n := range g.Nodes {
		if live[n] || n.Op == compute.OpTypeParameter {
			kept = append(kept, n)
		}
	}
	g.Nodes = kept
}
