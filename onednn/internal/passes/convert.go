package passes

import (
	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"

	"github.com/unnoise/unnoise/onednn/internal/cluster"
	"github.com/unnoise/unnoise/onednn/internal/graph"
)

// foldConversions lets operations that accumulate in float32 anyway read narrow floats or write float32 themselves.
//
//	%1 = ConvertDType(f32) %bf16; %2 = moments %1                   →   %2 = moments %bf16
//	%1 = backward weights (bf16) %x %dy; %2 = ConvertDType(f32) %1  →   %2 = backward weights (f32) %x %dy
func foldConversions(g *graph.Graph) {
	uses := g.Uses()
	table := map[*graph.Result]*graph.Result{}
	for _, n := range g.Nodes {
		switch n.Op {
		case graph.OpMoments:
			if _, _, _, ok := graph.MomentsShape(n); ok {
				n.In[0] = widened(n.In[0])
			}
		case compute.OpTypeReduceSum, compute.OpTypeReduceMax, compute.OpTypeReduceMin:
			if n.In[0].Shape().DType == dtypes.Float32 && n.In[0].Shape().Size() > 0 {
				n.In[0] = widened(n.In[0])
			}
		case compute.OpTypeConvertDType:
			made := n.In[0].Node
			if n.Out[0].Shape().DType != dtypes.Float32 || !graph.IsFloat(n.In[0].Shape().DType) || uses[n.In[0]] != 1 {
				continue
			}
			if made.Op == graph.OpConvBackwardWeights || made.Op == compute.OpTypeDotGeneral &&
				graph.FloatOperands(made) {
				made.Shapes = []shapes.Shape{n.Out[0].Shape()}
				narrow := made.Replay
				made.Replay = func(g compute.Function, in []graph.Value) ([]graph.Value, error) {
					out, err := narrow(g, in)
					if err != nil {
						return nil, err
					}
					wide, err := g.ConvertDType(out[0], dtypes.Float32)
					return []graph.Value{wide}, err
				}
				table[n.Out[0]] = made.Out[0]
			}
		}
	}
	g.Replace(table)
}

// widened returns what r was converted from, if that is a narrower float that some other operation computes.
func widened(r *graph.Result) *graph.Result {
	if c := r.Node; c.Op == compute.OpTypeConvertDType && graph.IsFloat(c.In[0].Shape().DType) &&
		!cluster.Fusable(c.In[0].Node) {
		return c.In[0]
	}
	return r
}
