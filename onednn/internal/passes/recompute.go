package passes

import (
	"github.com/gomlx/compute"

	"github.com/unnoise/unnoise/onednn/internal/cluster"
	"github.com/unnoise/unnoise/onednn/internal/graph"
)

// recompute gives every user of a cheap element-wise chain over one array its own copy of the chain. Fused, a copy
// reads the array it starts from; the alternative writes the chain's value to memory and reads that.
//
//	%2 = Mul %x %a; %3 = FusedGelu %2; … ; %9 = Sub %2 %8   →   … ; %9' = Mul %x %a; %9 = Sub %9' %8
func recompute(g *graph.Graph) {
	uses := g.Uses()
	isOutput := map[*graph.Result]bool{}
	for _, r := range g.Outputs {
		isOutput[r] = true
	}
	var nodes []*graph.Node
	for _, n := range g.Nodes {
		if _, ok := cluster.Instructions[n.Op]; ok {
			for i, r := range n.In {
				if r.Shape().Size() < 4096 || !cheapChain(r, 4) {
					continue
				}
				if uses[r] > 1 || isOutput[r] {
					copies := copyChain(r, 4)
					n.In[i] = copies[len(copies)-1].Out[0]
					nodes = append(nodes, copies...)
				}
			}
		}
		nodes = append(nodes, n)
	}
	g.Nodes = nodes
}

func cheap(op compute.OpType) bool {
	switch op {
	case compute.OpTypeAdd, compute.OpTypeSub, compute.OpTypeMul, compute.OpTypeNeg, compute.OpTypeConvertDType:
		return true
	}
	return false
}

// cheapChain reports whether r is made by at most depth cheap operations from one array of its size and small ones.
func cheapChain(r *graph.Result, depth int) bool {
	if !cheap(r.Node.Op) || depth == 0 || !cluster.Fusable(r.Node) {
		return false
	}
	full := 0
	for _, in := range r.Node.In {
		small := in.Node.Op == compute.OpTypeBroadcastInDim || in.Shape().Size() == 1
		if small {
			continue
		}
		full++
		if cheap(in.Node.Op) && cluster.Fusable(in.Node) && !cheapChain(in, depth-1) {
			return false
		}
	}
	return full == 1
}

func copyChain(r *graph.Result, depth int) []*graph.Node {
	n := r.Node
	c := &graph.Node{Op: n.Op, In: append([]*graph.Result(nil), n.In...), Shapes: n.Shapes, Attr: n.Attr,
		Replay: n.Replay, Owner: n.Owner}
	c.Out = []*graph.Result{{Node: c}}
	var copies []*graph.Node
	for i, in := range c.In {
		if in.Node.Op != compute.OpTypeBroadcastInDim && in.Shape().Size() != 1 && cheap(in.Node.Op) &&
			cluster.Fusable(in.Node) && depth > 1 {
			inner := copyChain(in, depth-1)
			copies = append(copies, inner...)
			c.In[i] = inner[len(inner)-1].Out[0]
		}
	}
	return append(copies, c)
}
