package passes

import (
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"

	"github.com/unnoise/unnoise/onednn/internal/graph"
)

// splitReductions writes a reduction over axes that stand apart as one after the other.
//
//	%1 = ReduceSum %0 [0 2]   →   %a = ReduceSum %0 [2]; %1 = ReduceSum %a [0]
func splitReductions(g *graph.Graph) {
	var nodes []*graph.Node
	for _, n := range g.Nodes {
		_, isReduce := reductions[n.Op]
		if isReduce && graph.IsFloat(n.In[0].Shape().DType) && n.In[0].Shape().Size() > 0 {
			for {
				dims, axes := n.In[0].Shape().Dimensions, slices.Clone(n.Attr.([]int))
				if _, _, _, ok := graph.ReduceShape(dims, axes); ok {
					break
				}
				slices.Sort(axes)
				last := len(axes) - 1
				from := last
				for from > 0 && axes[from-1] == axes[from]-1 {
					from--
				}
				group := slices.Clone(axes[from:])
				kept := []int{}
				for i, d := range dims {
					if !slices.Contains(group, i) {
						kept = append(kept, d)
					}
				}
				first := &graph.Node{Op: n.Op, In: n.In, Attr: group,
					Shapes: []shapes.Shape{shapes.Make(dtypes.Float32, kept...)}, Owner: n.Owner}
				first.Replay = reduceReplay(n.Op, group)
				first.Out = []*graph.Result{{Node: first}}
				n.In, n.Attr = first.Out, axes[:from]
				n.Replay = reduceReplay(n.Op, axes[:from])
				nodes = append(nodes, first)
			}
		}
		nodes = append(nodes, n)
	}
	g.Nodes = nodes
}

var reductions = map[compute.OpType]func(compute.Function, graph.Value, ...int) (graph.Value, error){
	compute.OpTypeReduceSum: compute.Function.ReduceSum, compute.OpTypeReduceMax: compute.Function.ReduceMax,
	compute.OpTypeReduceMin: compute.Function.ReduceMin, compute.OpTypeReduceProduct: compute.Function.ReduceProduct,
}

func reduceReplay(op compute.OpType, axes []int) graph.Replay {
	m := reductions[op]
	return func(g compute.Function, in []graph.Value) ([]graph.Value, error) {
		v, err := m(g, in[0], axes...)
		return []graph.Value{v}, err
	}
}
