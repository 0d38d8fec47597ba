package graph

import (
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
)

// Operations that passes and batch normalization make. They are numbered after GoMLX's own.
const (
	OpConvBackwardData compute.OpType = compute.OpTypeLast + 1 + iota
	OpConvBackwardWeights
	OpConv    // a forward convolution, perhaps with a bias
	OpMoments // mean and biased variance over the axes of attr
	OpGeluGradient
)

// OpName names an operation in dumps and profiles.
func OpName(op compute.OpType) string {
	switch op {
	case OpConvBackwardData:
		return "ConvBackwardData"
	case OpConvBackwardWeights:
		return "ConvBackwardWeights"
	case OpConv:
		return "Conv"
	case OpMoments:
		return "Moments"
	case OpGeluGradient:
		return "GeluGradient"
	}
	return op.String()
}

// FloatOperands reports whether a convolution or product has operands of one type of floats, and a result of floats,
// none of them empty.
func FloatOperands(n *Node) bool {
	for _, r := range append(slices.Clone(n.In[:2]), n.Out[0]) {
		switch r.Shape().DType {
		case dtypes.Float32, dtypes.BFloat16, dtypes.Float16:
		default:
			return false
		}
		if r.Shape().Size() == 0 {
			return false
		}
	}
	return n.In[0].Shape().DType == n.In[1].Shape().DType
}
