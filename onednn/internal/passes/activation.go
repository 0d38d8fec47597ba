package passes

import (
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"

	"github.com/unnoise/unnoise/onednn/internal/graph"
)

// attachActivation makes what follows a convolution element by element part of it: a scale and a shift for each
// channel, as batch normalization is in evaluation, go into its weights and bias; GELU becomes its last step, and so
// does the conversion of the result. The scaled weights depend on parameters alone, so that the backend prepares them
// once.
//
//	%1 = conv %x %w %b; %2 = Mul %1 (a along channels); %3 = Add %2 (s along channels); %4 = FusedGelu %3; %5 = ConvertDType %4
//	→   %5 = conv %x (%w·a) (%b·a + s) {gelu}
func attachActivation(g *graph.Graph) {
	reader := map[*graph.Result]*graph.Node{} // the only one
	reads := g.Uses()
	for _, n := range g.Nodes {
		for _, r := range n.In {
			reader[r] = n
		}
	}
	// next is the operation after r, if nothing else reads r and the shape stays.
	next := func(r *graph.Result, op compute.OpType) *graph.Node {
		n := reader[r]
		if reads[r] != 1 || n == nil || n.Op != op || !slices.Equal(n.Out[0].Shape().Dimensions, r.Shape().Dimensions) {
			return nil
		}
		return n
	}
	channels := func(n *graph.Node, r *graph.Result, axis int) *graph.Result {
		other := n.In[0]
		if other == r {
			other = n.In[1]
		}
		if v, ok := alongAxis(other, axis, r.Shape().Dimensions[axis]); ok && v.Shape().DType == dtypes.Float32 {
			return v
		}
		return nil
	}
	table := map[*graph.Result]*graph.Result{}
	for _, c := range slices.Clone(g.Nodes) {
		if c.Op != graph.OpConv {
			continue
		}
		attr := c.Attr.(*Conv)
		axis := attr.Dst.Second
		last := c.Out[0]
		if n := next(last, compute.OpTypeConvertDType); n != nil && n.Out[0].Shape().DType == dtypes.Float32 {
			last = n.Out[0]
		}
		var scale, shift *graph.Result
		// Float16's range is too narrow for scaled weights.
		if n := next(last, compute.OpTypeMul); n != nil && c.In[1].Shape().DType != dtypes.Float16 {
			if scale = channels(n, last, axis); scale != nil {
				last = n.Out[0]
			}
		}
		if n := next(last, compute.OpTypeAdd); n != nil {
			if shift = channels(n, last, axis); shift != nil {
				last = n.Out[0]
			}
		}
		gelu := next(last, compute.OpTypeFusedGelu)
		if gelu != nil && gelu.Attr.(bool) {
			last = gelu.Out[0]
		} else {
			gelu = nil
		}
		if scale == nil && shift == nil && gelu == nil {
			continue
		}
		if n := next(last, compute.OpTypeConvertDType); n != nil && n.Out[0].Shape().DType == c.In[0].Shape().DType {
			last = n.Out[0]
		}
		for _, v := range []*graph.Result{scale, shift} {
			if v != nil && !before(g, v.Node, c) {
				scale, shift, last = nil, nil, nil
				break
			}
		}
		if last == nil {
			continue
		}
		made := scaled(c, attr.Weights.First, scale, shift)
		at := slices.Index(g.Nodes, c)
		g.Nodes = slices.Insert(g.Nodes, at, made...)
		if gelu != nil {
			with := *attr
			with.Gelu = true
			c.Attr = &with
		}
		c.Shapes = []shapes.Shape{last.Shape()}
		if last != c.Out[0] {
			table[last] = c.Out[0]
		}
	}
	g.Replace(table)
}

// scaled puts w·scale and b·scale + shift in the place of c's weights and bias, and returns the nodes that compute
// them.
func scaled(c *graph.Node, axis int, scale, shift *graph.Result) []*graph.Node {
	m := &maker{owner: c.Owner}
	float := func(r *graph.Result) *graph.Result {
		switch {
		case r.Shape().DType == dtypes.Float32:
			return r
		case r.Node.Op == compute.OpTypeConvertDType && r.Node.In[0].Shape().DType == dtypes.Float32:
			return r.Node.In[0]
		}
		return m.add(compute.OpTypeConvertDType, shapes.Make(dtypes.Float32, r.Shape().Dimensions...), nil, r)
	}
	vector := func(r *graph.Result) *graph.Result {
		if r.Shape().Rank() == 1 {
			return r
		}
		return m.add(compute.OpTypeReshape, shapes.Make(r.Shape().DType, r.Shape().Size()), nil, r)
	}
	if scale != nil {
		w := c.In[1]
		wide := shapes.Make(dtypes.Float32, w.Shape().Dimensions...)
		s := m.add(compute.OpTypeMul, wide, nil, float(w), m.add(compute.OpTypeBroadcastInDim, wide, []int{axis},
			vector(scale)))
		if w.Shape().DType != dtypes.Float32 {
			s = m.add(compute.OpTypeConvertDType, w.Shape(), nil, s)
		}
		c.In[1] = s
	}
	var bias *graph.Result
	if len(c.In) > 2 {
		bias = vector(float(c.In[2]))
		if scale != nil {
			bias = m.add(compute.OpTypeMul, bias.Shape(), nil, bias, vector(scale))
		}
	}
	switch {
	case shift == nil:
	case bias == nil:
		bias = vector(shift)
	default:
		bias = m.add(compute.OpTypeAdd, bias.Shape(), nil, bias, vector(shift))
	}
	if bias != nil && (scale != nil || shift != nil) {
		c.In = append(c.In[:2:2], bias)
	}
	return m.nodes
}
