package onednn

import (
	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
)

// foldConversions lets operations that accumulate in float32 anyway read narrow floats or write float32 themselves.
//
//	%1 = ConvertDType(f32) %bf16; %2 = moments %1                   →   %2 = moments %bf16
//	%1 = backward weights (bf16) %x %dy; %2 = ConvertDType(f32) %1  →   %2 = backward weights (f32) %x %dy
func foldConversions(g *graph) {
	uses := g.uses()
	table := map[*result]*result{}
	for _, n := range g.nodes {
		switch n.op {
		case opMoments:
			if _, _, _, ok := momentsShape(n); ok {
				n.in[0] = widened(n.in[0])
			}
		case compute.OpTypeReduceSum, compute.OpTypeReduceMax, compute.OpTypeReduceMin:
			if n.in[0].shape().DType == dtypes.Float32 && n.in[0].shape().Size() > 0 {
				n.in[0] = widened(n.in[0])
			}
		case compute.OpTypeConvertDType:
			made := n.in[0].node
			if n.out[0].shape().DType != dtypes.Float32 || !floatType(n.in[0].shape().DType) || uses[n.in[0]] != 1 {
				continue
			}
			if made.op == opConvBackwardWeights || made.op == compute.OpTypeDotGeneral && floatConv(made) {
				made.shapes = []shapes.Shape{n.out[0].shape()}
				narrow := made.replay
				made.replay = func(g compute.Function, in []value) ([]value, error) {
					out, err := narrow(g, in)
					if err != nil {
						return nil, err
					}
					wide, err := g.ConvertDType(out[0], dtypes.Float32)
					return []value{wide}, err
				}
				table[n.out[0]] = made.out[0]
			}
		}
	}
	g.replace(table)
}

// widened returns what r was converted from, if that is a narrower float that some other operation computes.
func widened(r *result) *result {
	if c := r.node; c.op == compute.OpTypeConvertDType && floatType(c.in[0].shape().DType) && !fusable(c.in[0].node) {
		return c.in[0]
	}
	return r
}
