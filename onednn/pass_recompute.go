package onednn

import "github.com/gomlx/compute"

// recompute gives every user of a cheap element-wise chain over one array its own copy of the chain. Fused, a copy
// reads the array it starts from; the alternative writes the chain's value to memory and reads that.
//
//	%2 = Mul %x %a; %3 = FusedGelu %2; … ; %9 = Sub %2 %8   →   … ; %9' = Mul %x %a; %9 = Sub %9' %8
func recompute(g *graph) {
	uses := g.uses()
	isOutput := map[*result]bool{}
	for _, r := range g.outputs {
		isOutput[r] = true
	}
	var nodes []*node
	for _, n := range g.nodes {
		if _, ok := nativeOps[n.op]; ok {
			for i, r := range n.in {
				if r.shape().Size() < 4096 || !cheapChain(r, 4) {
					continue
				}
				if uses[r] > 1 || isOutput[r] {
					copies := copyChain(r, 4)
					n.in[i] = copies[len(copies)-1].out[0]
					nodes = append(nodes, copies...)
				}
			}
		}
		nodes = append(nodes, n)
	}
	g.nodes = nodes
}

func cheap(op compute.OpType) bool {
	switch op {
	case compute.OpTypeAdd, compute.OpTypeSub, compute.OpTypeMul, compute.OpTypeNeg, compute.OpTypeConvertDType:
		return true
	}
	return false
}

// cheapChain tells whether r is made by at most depth cheap operations from one array of its size and small ones.
func cheapChain(r *result, depth int) bool {
	if !cheap(r.node.op) || depth == 0 || !fusable(r.node) {
		return false
	}
	full := 0
	for _, in := range r.node.in {
		small := in.node.op == compute.OpTypeBroadcastInDim || in.shape().Size() == 1
		if small {
			continue
		}
		full++
		if cheap(in.node.op) && fusable(in.node) && !cheapChain(in, depth-1) {
			return false
		}
	}
	return full == 1
}

func copyChain(r *result, depth int) []*node {
	n := r.node
	c := &node{op: n.op, in: append([]*result(nil), n.in...), shapes: n.shapes, attr: n.attr, replay: n.replay, owner: n.owner}
	c.out = []*result{{node: c}}
	var copies []*node
	for i, in := range c.in {
		if in.node.op != compute.OpTypeBroadcastInDim && in.shape().Size() != 1 && cheap(in.node.op) && fusable(in.node) && depth > 1 {
			inner := copyChain(in, depth-1)
			copies = append(copies, inner...)
			c.in[i] = inner[len(inner)-1].out[0]
		}
	}
	return append(copies, c)
}
