package passes

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"

	"github.com/unnoise/unnoise/onednn/internal/graph"
)

// shareMoments takes a sum and the sum of squared differences from a mean over the same axes from one pass over memory.
// In group normalization the mean m is that of several channels; with a channel's own mean and variance, Σ(x−m)² =
// n·(variance + (mean−m)²).
//
//	%1 = ReduceSum %x; %3 = Sub %x (%2 along other axes); %4 = Mul %3 %3; %5 = ReduceSum %4
//	→   %a, %b = moments %x; %1 = Mul %a n; %3 = Sub %a %2; %4 = Mul %3 %3; %5 = Mul (Add %b %4) n
func shareMoments(g *graph.Graph) {
	type sumOf struct {
		x    *graph.Result
		axes string
	}
	sums := map[sumOf]*graph.Node{}
	table := map[*graph.Result]*graph.Result{}
	nodes := make([]*graph.Node, 0, len(g.Nodes))
	for _, n := range g.Nodes {
		nodes = append(nodes, n)
		if n.Op != compute.OpTypeReduceSum || n.In[0].Shape().DType != dtypes.Float32 ||
			n.Out[0].Shape().DType != dtypes.Float32 {
			continue
		}
		axes := slices.Sorted(slices.Values(n.Attr.([]int)))
		_, rows, channels, ok := graph.ReduceShape(n.In[0].Shape().Dimensions, axes)
		if !ok || channels < 16 || n.In[0].IsEmpty() || n.Out[0].Shape().Rank() > graph.MaxRank {
			continue
		}
		x, mean := squaredDifference(n.In[0], axes)
		sum := sums[sumOf{x, fmt.Sprint(axes)}]
		if sum == nil {
			sums[sumOf{n.In[0], fmt.Sprint(axes)}] = n
			continue
		}
		delete(sums, sumOf{x, fmt.Sprint(axes)})
		shape := n.Out[0].Shape()
		m := momentsNode(x, axes, shape, n.Owner)
		early, late := &maker{owner: n.Owner}, &maker{owner: n.Owner}
		count := early.scalar(float32(rows))
		table[sum.Out[0]] = early.add(compute.OpTypeMul, shape, nil, m.Out[0], count)
		d := late.add(compute.OpTypeSub, shape, nil, m.Out[0], late.without(mean, x.Shape(), axes))
		square := late.add(compute.OpTypeMul, shape, nil, d, d)
		table[n.Out[0]] = late.add(compute.OpTypeMul, shape, nil,
			late.add(compute.OpTypeAdd, shape, nil, m.Out[1], square), count)
		nodes = append(nodes, late.nodes...)
		nodes = slices.Insert(nodes, slices.Index(nodes, sum), append([]*graph.Node{m}, early.nodes...)...)
	}
	g.Nodes = nodes
	g.Replace(table)
	removeDead(g)
}

// shiftMoments takes what is the same along the axes out of moments: it moves the mean, and what is left may be an
// array as it stands in memory.
//
//	%1 = Add %x (%b along other axes); %2, %3 = moments %1   →   %a, %3 = moments %x; %2 = Add %a %b
func shiftMoments(g *graph.Graph) {
	table := map[*graph.Result]*graph.Result{}
	nodes := make([]*graph.Node, 0, len(g.Nodes))
	for _, n := range g.Nodes {
		nodes = append(nodes, n)
		if n.Op != graph.OpMoments || n.In[0].Node.Op != compute.OpTypeAdd {
			continue
		}
		if _, _, _, native := graph.MomentsShape(n); !native {
			continue
		}
		axes, sum := n.Attr.([]int), n.In[0]
		for i, x := range sum.Node.In {
			b := sum.Node.In[1-i]
			if !x.Shape().Equal(sum.Shape()) || !constantAlong(b, axes) {
				continue
			}
			m, after := momentsNode(x, axes, n.Shapes[0], n.Owner), &maker{owner: n.Owner}
			table[n.Out[0]] = after.add(compute.OpTypeAdd, n.Shapes[0], nil, m.Out[0],
				after.without(b, x.Shape(), axes))
			table[n.Out[1]] = m.Out[1]
			nodes[len(nodes)-1] = m
			nodes = append(nodes, after.nodes...)
			break
		}
	}
	g.Nodes = nodes
	g.Replace(table)
}

// momentsNode computes mean and variance of x over the axes, each of the shape.
func momentsNode(x *graph.Result, axes []int, shape shapes.Shape, owner *graph.Function) *graph.Node {
	n := &graph.Node{Op: graph.OpMoments, In: []*graph.Result{x}, Shapes: []shapes.Shape{shape, shape}, Attr: axes,
		Replay: graph.MomentsReplay(x.Shape(), axes), Owner: owner}
	n.Out = []*graph.Result{{Node: n}, {Node: n, Index: 1}}
	return n
}

// squaredDifference returns x and m if r is (x − m)² and m is the same along the axes, or nil.
func squaredDifference(r *graph.Result, axes []int) (x, m *graph.Result) {
	if r.Node.Op != compute.OpTypeMul || r.Node.In[0] != r.Node.In[1] || r.Node.In[0].Node.Op != compute.OpTypeSub {
		return nil, nil
	}
	x, m = r.Node.In[0].Node.In[0], r.Node.In[0].Node.In[1]
	if !x.Shape().Equal(r.Shape()) || !constantAlong(m, axes) {
		return nil, nil
	}
	return x, m
}

func constantAlong(r *graph.Result, axes []int) bool {
	from, to := spread(r)
	for i, a := range to {
		if slices.Contains(axes, a) && from.Shape().Dimensions[i] != 1 {
			return false
		}
	}
	return true
}

// spread returns what r spreads over more axes, and which of them its own are.
func spread(r *graph.Result) (from *graph.Result, to []int) {
	if r.Node.Op == compute.OpTypeBroadcastInDim {
		return r.Node.In[0], r.Node.Attr.([]int)
	}
	for a := range r.Shape().Rank() {
		to = append(to, a)
	}
	return r, to
}

// maker makes nodes for a pass.
type maker struct {
	owner *graph.Function
	nodes []*graph.Node
}

func (m *maker) add(op compute.OpType, shape shapes.Shape, attr any, in ...*graph.Result) *graph.Result {
	n := &graph.Node{Op: op, In: in, Shapes: []shapes.Shape{shape}, Attr: attr, Owner: m.owner}
	n.Out = []*graph.Result{{Node: n}}
	m.nodes = append(m.nodes, n)
	return n.Out[0]
}

func (m *maker) scalar(v float32) *graph.Result {
	return m.add(compute.OpTypeConstant, shapes.Make(dtypes.Float32),
		binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)))
}

// without is r, which spreads over shape, without axes along which it is the same.
func (m *maker) without(r *graph.Result, shape shapes.Shape, axes []int) *graph.Result {
	from, to := spread(r)
	var own, kept, place []int // sizes of from's axes that stay, of all that stay, and where in these those are
	for a, d := range shape.Dimensions {
		if slices.Contains(axes, a) {
			continue
		}
		if i := slices.Index(to, a); i >= 0 {
			own, place = append(own, from.Shape().Dimensions[i]), append(place, len(kept))
		}
		kept = append(kept, d)
	}
	v := m.add(compute.OpTypeReshape, shapes.Make(from.Shape().DType, own...), nil, from)
	return m.add(compute.OpTypeBroadcastInDim, shapes.Make(from.Shape().DType, kept...), place, v)
}
