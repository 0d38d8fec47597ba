package onednn

import (
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
)

// attachActivation makes what follows a convolution element by element part of it: a scale and a shift for each channel,
// as batch normalisation is in evaluation, go into its weights and bias; GELU becomes its last step, and so does the
// conversion of the result. The scaled weights depend on parameters alone: see prepare.
//
//	%1 = conv %x %w %b; %2 = Mul %1 (a along channels); %3 = Add %2 (s along channels); %4 = FusedGelu %3; %5 = ConvertDType %4
//	→   %5 = conv %x (%w·a) (%b·a + s) {gelu}
func attachActivation(g *graph) {
	reader := map[*result]*node{} // the only one
	reads := g.uses()
	for _, n := range g.nodes {
		for _, r := range n.in {
			reader[r] = n
		}
	}
	// next is the operation after r, if nothing else reads r and the shape stays.
	next := func(r *result, op compute.OpType) *node {
		n := reader[r]
		if reads[r] != 1 || n == nil || n.op != op || !slices.Equal(n.out[0].shape().Dimensions, r.shape().Dimensions) {
			return nil
		}
		return n
	}
	channels := func(n *node, r *result, axis int) *result {
		other := n.in[0]
		if other == r {
			other = n.in[1]
		}
		if v, ok := alongAxis(other, axis, r.shape().Dimensions[axis]); ok && v.shape().DType == dtypes.Float32 {
			return v
		}
		return nil
	}
	table := map[*result]*result{}
	for _, c := range slices.Clone(g.nodes) {
		if c.op != opConv {
			continue
		}
		attr := c.attr.(*conv)
		axis := attr.dst.second
		last := c.out[0]
		if n := next(last, compute.OpTypeConvertDType); n != nil && n.out[0].shape().DType == dtypes.Float32 {
			last = n.out[0]
		}
		var scale, shift *result
		// Float16's range is too narrow for scaled weights.
		if n := next(last, compute.OpTypeMul); n != nil && c.in[1].shape().DType != dtypes.Float16 {
			if scale = channels(n, last, axis); scale != nil {
				last = n.out[0]
			}
		}
		if n := next(last, compute.OpTypeAdd); n != nil {
			if shift = channels(n, last, axis); shift != nil {
				last = n.out[0]
			}
		}
		gelu := next(last, compute.OpTypeFusedGelu)
		if gelu != nil && gelu.attr.(bool) {
			last = gelu.out[0]
		} else {
			gelu = nil
		}
		if scale == nil && shift == nil && gelu == nil {
			continue
		}
		if n := next(last, compute.OpTypeConvertDType); n != nil && n.out[0].shape().DType == c.in[0].shape().DType {
			last = n.out[0]
		}
		for _, v := range []*result{scale, shift} {
			if v != nil && !before(g, v.node, c) {
				scale, shift, last = nil, nil, nil
				break
			}
		}
		if last == nil {
			continue
		}
		made := scaled(c, attr.weights.first, scale, shift)
		at := slices.Index(g.nodes, c)
		g.nodes = slices.Insert(g.nodes, at, made...)
		if gelu != nil {
			with := *attr
			with.gelu = true
			c.attr = &with
		}
		c.shapes = []shapes.Shape{last.shape()}
		if last != c.out[0] {
			table[last] = c.out[0]
		}
	}
	g.replace(table)
}

// scaled puts w·scale and b·scale + shift in the place of c's weights and bias, and returns the nodes that compute them.
func scaled(c *node, axis int, scale, shift *result) []*node {
	m := &maker{owner: c.owner}
	float := func(r *result) *result {
		switch {
		case r.shape().DType == dtypes.Float32:
			return r
		case r.node.op == compute.OpTypeConvertDType && r.node.in[0].shape().DType == dtypes.Float32:
			return r.node.in[0]
		}
		return m.add(compute.OpTypeConvertDType, shapes.Make(dtypes.Float32, r.shape().Dimensions...), nil, r)
	}
	vector := func(r *result) *result {
		if r.shape().Rank() == 1 {
			return r
		}
		return m.add(compute.OpTypeReshape, shapes.Make(r.shape().DType, r.shape().Size()), nil, r)
	}
	if scale != nil {
		w := c.in[1]
		wide := shapes.Make(dtypes.Float32, w.shape().Dimensions...)
		s := m.add(compute.OpTypeMul, wide, nil, float(w), m.add(compute.OpTypeBroadcastInDim, wide, []int{axis}, vector(scale)))
		if w.shape().DType != dtypes.Float32 {
			s = m.add(compute.OpTypeConvertDType, w.shape(), nil, s)
		}
		c.in[1] = s
	}
	var bias *result
	if len(c.in) > 2 {
		bias = vector(float(c.in[2]))
		if scale != nil {
			bias = m.add(compute.OpTypeMul, bias.shape(), nil, bias, vector(scale))
		}
	}
	switch {
	case shift == nil:
	case bias == nil:
		bias = vector(shift)
	default:
		bias = m.add(compute.OpTypeAdd, bias.shape(), nil, bias, vector(shift))
	}
	if bias != nil && (scale != nil || shift != nil) {
		c.in = append(c.in[:2:2], bias)
	}
	return m.nodes
}
