package onednn

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
)

// shareMoments takes a sum and the sum of squared differences from a mean over the same axes from one pass over memory. In group
// normalisation the mean m is that of several channels; with a channel's own mean and variance, Σ(x−m)² = n·(variance + (mean−m)²).
//
//	%1 = ReduceSum %x; %3 = Sub %x (%2 along other axes); %4 = Mul %3 %3; %5 = ReduceSum %4
//	→   %a, %b = moments %x; %1 = Mul %a n; %3 = Sub %a %2; %4 = Mul %3 %3; %5 = Mul (Add %b %4) n
func shareMoments(g *graph) {
	type sumOf struct {
		x    *result
		axes string
	}
	sums := map[sumOf]*node{}
	table := map[*result]*result{}
	nodes := make([]*node, 0, len(g.nodes))
	for _, n := range g.nodes {
		nodes = append(nodes, n)
		if n.op != compute.OpTypeReduceSum || n.in[0].shape().DType != dtypes.Float32 || n.out[0].shape().DType != dtypes.Float32 {
			continue
		}
		axes := slices.Sorted(slices.Values(n.attr.([]int)))
		_, rows, channels, ok := reduceShape(n.in[0].shape().Dimensions, axes)
		if !ok || channels < 16 || n.in[0].isEmpty() || n.out[0].shape().Rank() > maxFusedRank {
			continue
		}
		x, mean := squaredDifference(n.in[0], axes)
		sum := sums[sumOf{x, fmt.Sprint(axes)}]
		if sum == nil {
			sums[sumOf{n.in[0], fmt.Sprint(axes)}] = n
			continue
		}
		delete(sums, sumOf{x, fmt.Sprint(axes)})
		shape := n.out[0].shape()
		m := momentsNode(x, axes, shape, n.owner)
		early, late := &maker{owner: n.owner}, &maker{owner: n.owner}
		count := early.scalar(float32(rows))
		table[sum.out[0]] = early.add(compute.OpTypeMul, shape, nil, m.out[0], count)
		d := late.add(compute.OpTypeSub, shape, nil, m.out[0], late.without(mean, x.shape(), axes))
		square := late.add(compute.OpTypeMul, shape, nil, d, d)
		table[n.out[0]] = late.add(compute.OpTypeMul, shape, nil, late.add(compute.OpTypeAdd, shape, nil, m.out[1], square), count)
		nodes = append(nodes, late.nodes...)
		nodes = slices.Insert(nodes, slices.Index(nodes, sum), append([]*node{m}, early.nodes...)...)
	}
	g.nodes = nodes
	g.replace(table)
	removeDead(g)
}

// shiftMoments takes what is the same along the axes out of moments: it moves the mean, and what is left may be an array as it stands in
// memory.
//
//	%1 = Add %x (%b along other axes); %2, %3 = moments %1   →   %a, %3 = moments %x; %2 = Add %a %b
func shiftMoments(g *graph) {
	table := map[*result]*result{}
	nodes := make([]*node, 0, len(g.nodes))
	for _, n := range g.nodes {
		nodes = append(nodes, n)
		if n.op != opMoments || n.in[0].node.op != compute.OpTypeAdd {
			continue
		}
		if _, _, _, native := momentsShape(n); !native {
			continue
		}
		axes, sum := n.attr.([]int), n.in[0]
		for i, x := range sum.node.in {
			b := sum.node.in[1-i]
			if !x.shape().Equal(sum.shape()) || !constantAlong(b, axes) {
				continue
			}
			m, after := momentsNode(x, axes, n.shapes[0], n.owner), &maker{owner: n.owner}
			table[n.out[0]] = after.add(compute.OpTypeAdd, n.shapes[0], nil, m.out[0], after.without(b, x.shape(), axes))
			table[n.out[1]] = m.out[1]
			nodes[len(nodes)-1] = m
			nodes = append(nodes, after.nodes...)
			break
		}
	}
	g.nodes = nodes
	g.replace(table)
}

// momentsNode computes mean and variance of x over the axes, each of the shape.
func momentsNode(x *result, axes []int, shape shapes.Shape, owner *function) *node {
	n := &node{op: opMoments, in: []*result{x}, shapes: []shapes.Shape{shape, shape}, attr: axes, replay: momentsReplay(x.shape(), axes), owner: owner}
	n.out = []*result{{node: n}, {node: n, index: 1}}
	return n
}

// squaredDifference returns x and m if r is (x − m)² and m is the same along the axes, or nil.
func squaredDifference(r *result, axes []int) (x, m *result) {
	if r.node.op != compute.OpTypeMul || r.node.in[0] != r.node.in[1] || r.node.in[0].node.op != compute.OpTypeSub {
		return nil, nil
	}
	x, m = r.node.in[0].node.in[0], r.node.in[0].node.in[1]
	if !x.shape().Equal(r.shape()) || !constantAlong(m, axes) {
		return nil, nil
	}
	return x, m
}

func constantAlong(r *result, axes []int) bool {
	from, to := spread(r)
	for i, a := range to {
		if slices.Contains(axes, a) && from.shape().Dimensions[i] != 1 {
			return false
		}
	}
	return true
}

// spread returns what r spreads over more axes, and which of them its own are.
func spread(r *result) (from *result, to []int) {
	if r.node.op == compute.OpTypeBroadcastInDim {
		return r.node.in[0], r.node.attr.([]int)
	}
	for a := range r.shape().Rank() {
		to = append(to, a)
	}
	return r, to
}

// maker makes nodes for a pass.
type maker struct {
	owner *function
	nodes []*node
}

func (m *maker) add(op compute.OpType, shape shapes.Shape, attr any, in ...*result) *result {
	n := &node{op: op, in: in, shapes: []shapes.Shape{shape}, attr: attr, owner: m.owner}
	n.out = []*result{{node: n}}
	m.nodes = append(m.nodes, n)
	return n.out[0]
}

func (m *maker) scalar(v float32) *result {
	return m.add(compute.OpTypeConstant, shapes.Make(dtypes.Float32), binary.LittleEndian.AppendUint32(nil, math.Float32bits(v)))
}

// without is r, which spreads over shape, without axes along which it is the same.
func (m *maker) without(r *result, shape shapes.Shape, axes []int) *result {
	from, to := spread(r)
	var own, kept, place []int // sizes of from's axes that stay, of all that stay, and where in these those are
	for a, d := range shape.Dimensions {
		if slices.Contains(axes, a) {
			continue
		}
		if i := slices.Index(to, a); i >= 0 {
			own, place = append(own, from.shape().Dimensions[i]), append(place, len(kept))
		}
		kept = append(kept, d)
	}
	v := m.add(compute.OpTypeReshape, shapes.Make(from.shape().DType, own...), nil, from)
	return m.add(compute.OpTypeBroadcastInDim, shapes.Make(from.shape().DType, kept...), place, v)
}
