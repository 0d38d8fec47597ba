package onednn

import "github.com/gomlx/compute"

// removeDead drops what no output needs. Parameters stay: they are the computation's signature.
//
//	%2 = Add %0 %1; %3 = Mul %0 %1; return %3   →   %3 = Mul %0 %1; return %3
func removeDead(g *graph) {
	live := map[*node]bool{}
	for _, r := range g.outputs {
		live[r.node] = true
	}
	for i := len(g.nodes) - 1; i >= 0; i-- {
		n := g.nodes[i]
		if live[n] {
			for _, r := range n.in {
				live[r.node] = true
			}
		}
	}
	kept := g.nodes[:0]
	for _, n := range g.nodes {
		if live[n] || n.op == compute.OpTypeParameter {
			kept = append(kept, n)
		}
	}
	g.nodes = kept
}
