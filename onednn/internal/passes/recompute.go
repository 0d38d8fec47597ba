package passes

import (
	"slices"

	"github.com/gomlx/compute"

	"github.com/unnoise/unnoise/onednn/internal/cluster"
	"github.com/unnoise/unnoise/onednn/internal/graph"
)

// recompute gives users of cheap element-wise chains their own copies. Fused, a copy reads the arrays that the chain
// starts from; the alternative writes the chain's value to memory and reads that. Chains over one array are copied for
// every user.
//
//	%2 = Mul %x %a; %3 = FusedGelu %2; … ; %9 = Sub %2 %8   →   … ; %9' = Mul %x %a; %9 = Sub %9' %8
//
// Chains over two arrays are copied for a user that needs a sum over the chain too: it comes in a later pass over
// memory.
//
//	%2 = Mul %x %y; %3 = ReduceSum %2; … ; %9 = Add %2 (%3 spread)   →   … ; %9' = Mul %x %y; %9 = Add %9' (%3 spread)
func recompute(g *graph.Graph) {
	c := copier{uses: g.Uses(), position: map[*graph.Node]int{}, sums: map[*graph.Result][]*graph.Node{}}
	for i, n := range g.Nodes {
		c.position[n] = i
		if n.Op == compute.OpTypeReduceSum {
			r := n.In[0]
			c.sums[r] = append(c.sums[r], n)
			if cheap(r.Node.Op) {
				for _, in := range r.Node.In {
					c.sums[in] = append(c.sums[in], n)
				}
			}
		}
	}
	isOutput := map[*graph.Result]bool{}
	for _, r := range g.Outputs {
		isOutput[r] = true
	}
	var nodes []*graph.Node
	for _, n := range g.Nodes {
		if _, ok := cluster.Instructions[n.Op]; ok {
			for i, r := range n.In {
				if r.Shape().Size() < 4096 {
					continue
				}
				var copies []*graph.Node
				bases := map[*graph.Result]bool{}
				if chain(r, maxDepth, bases) && len(bases) == 1 {
					if c.uses[r] > 1 || isOutput[r] {
						copies = copyChain(r, maxDepth)
					}
				} else {
					copies = c.afterSums(n, r, maxDepth)
				}
				if copies != nil {
					n.In[i] = copies[len(copies)-1].Out[0]
					nodes = append(nodes, copies...)
				}
			}
		}
		nodes = append(nodes, n)
	}
	g.Nodes = nodes
}

// maxDepth is the most operations from an array to the end of a chain.
const maxDepth = 10

// cheap operations are computed again rather than written and read. A logistic function has some 20 instructions for a
// vector, which two passes over memory take too.
func cheap(op compute.OpType) bool {
	switch op {
	case compute.OpTypeAdd, compute.OpTypeSub, compute.OpTypeMul, compute.OpTypeNeg, compute.OpTypeConvertDType,
		compute.OpTypeLogistic:
		return true
	}
	return false
}

func inChain(r *graph.Result) bool { return cheap(r.Node.Op) && cluster.Fusable(r.Node) }

func small(r *graph.Result) bool {
	return r.Node.Op == compute.OpTypeBroadcastInDim || r.Shape().Size() == 1
}

// chain reports whether r is made by at most depth cheap operations, one after the other, from arrays of its size and
// small ones. It adds the former to bases.
func chain(r *graph.Result, depth int, bases map[*graph.Result]bool) bool {
	if depth == 0 || !inChain(r) {
		return false
	}
	for _, in := range r.Node.In {
		switch {
		case small(in):
		case inChain(in):
			if !chain(in, depth-1, bases) {
				return false
			}
		default:
			bases[in] = true
		}
	}
	return true
}

// computed reports whether a base is element-wise itself: then it may be in the cluster that sums the chain up.
func computed(bases map[*graph.Result]bool) bool {
	for r := range bases {
		if r.Node.Op != compute.OpTypeConvertDType && cluster.Fusable(r.Node) {
			return true
		}
	}
	return false
}

type copier struct {
	uses     map[*graph.Result]int
	position map[*graph.Node]int             // in the graph; copies have none
	sums     map[*graph.Result][]*graph.Node // over a result, or over one made from it by one operation
}

// afterSums returns copies of r and what it is made of, if in that there are chains over two arrays, and sums over these
// that n needs.
func (c *copier) afterSums(n *graph.Node, r *graph.Result, depth int) []*graph.Node {
	if depth == 0 || !inChain(r) {
		return nil
	}
	if bases := (map[*graph.Result]bool{}); chain(r, depth, bases) && len(bases) <= 2 {
		if computed(bases) || !c.summedFor(n, r, depth) {
			return nil
		}
		return copyChain(r, depth)
	}
	if c.uses[r] > 1 {
		return nil
	}
	var all []*graph.Node
	in := slices.Clone(r.Node.In)
	for i, x := range in {
		if copies := c.afterSums(n, x, depth-1); copies != nil {
			all = append(all, copies...)
			in[i] = copies[len(copies)-1].Out[0]
		}
	}
	if all == nil {
		return nil
	}
	return append(all, copyOf(r.Node, in))
}

// summedFor reports whether n needs a sum over a part of r's chain.
func (c *copier) summedFor(n *graph.Node, r *graph.Result, depth int) bool {
	for _, sum := range c.sums[r] {
		if c.needs(n, sum, map[*graph.Node]bool{}) {
			return true
		}
	}
	if depth == 0 || !inChain(r) {
		return false
	}
	for _, in := range r.Node.In {
		if !small(in) && inChain(in) && c.summedFor(n, in, depth-1) {
			return true
		}
	}
	return false
}

// needs reports whether n is computed from what node makes.
func (c *copier) needs(n, node *graph.Node, seen map[*graph.Node]bool) bool {
	if n == node {
		return true
	}
	if i, ok := c.position[n]; seen[n] || ok && i < c.position[node] {
		return false
	}
	seen[n] = true
	for _, in := range n.In {
		if c.needs(in.Node, node, seen) {
			return true
		}
	}
	return false
}

func copyChain(r *graph.Result, depth int) []*graph.Node {
	var copies []*graph.Node
	in := slices.Clone(r.Node.In)
	for i, x := range in {
		if !small(x) && inChain(x) && depth > 1 {
			copies = append(copies, copyChain(x, depth-1)...)
			in[i] = copies[len(copies)-1].Out[0]
		}
	}
	return append(copies, copyOf(r.Node, in))
}

func copyOf(n *graph.Node, in []*graph.Result) *graph.Node {
	c := &graph.Node{Op: n.Op, In: in, Shapes: n.Shapes, Attr: n.Attr, Replay: n.Replay, Owner: n.Owner}
	c.Out = []*graph.Result{{Node: c}}
	return c
}
