package onednn

import (
	"fmt"
	"strings"

	"github.com/gomlx/compute"
)

// describedByAttr are the operations that inputs, output shape and attribute determine.
var describedByAttr = map[compute.OpType]bool{
	compute.OpTypeConstant: true, compute.OpTypeBroadcastInDim: true, compute.OpTypeReshape: true, compute.OpTypeConvertDType: true,
	compute.OpTypeTranspose: true, compute.OpTypeReverse: true, compute.OpTypeSlice: true, compute.OpTypeConcatenate: true,
	compute.OpTypePad: true, compute.OpTypeReduceSum: true, compute.OpTypeReduceMax: true, compute.OpTypeReduceMin: true, compute.OpTypeWhere: true,
	compute.OpTypeConvGeneral: true, compute.OpTypeDotGeneral: true, compute.OpTypeFusedGelu: true, opMoments: true,
}

// mergeSame keeps one of several nodes that compute the same, and drops operations that change nothing.
//
//	%2 = Exp %0; %3 = Exp %0; %4 = Identity %3; return %2 %4   →   %2 = Exp %0; return %2 %2
func mergeSame(g *graph) {
	table := map[*result]*result{}
	id := map[*result]int{}
	first := map[string]*node{}
	for _, n := range g.nodes {
		for i, r := range n.in {
			if s := table[r]; s != nil {
				n.in[i] = s
			}
		}
		if n.op == compute.OpTypeIdentity || n.op == compute.OpTypeOptimizationBarrier {
			for i, r := range n.out {
				table[r] = n.in[i]
			}
			continue
		}
		if sameShape := len(n.in) == 1 && n.out[0].shape().Equal(n.in[0].shape()); sameShape {
			switch n.op {
			case compute.OpTypeReshape, compute.OpTypeConvertDType, compute.OpTypeBroadcastInDim:
				table[n.out[0]] = n.in[0]
				continue
			}
		}
		for _, r := range n.out {
			id[r] = len(id)
		}
		if _, ok := nativeOps[n.op]; !ok && !describedByAttr[n.op] {
			continue
		}
		var key strings.Builder
		fmt.Fprintf(&key, "%d %s %v", n.op, n.out[0].shape(), n.attr)
		for _, r := range n.in {
			fmt.Fprintf(&key, " %d", id[r])
		}
		if same := first[key.String()]; same != nil {
			for i, r := range n.out {
				table[r] = same.out[i]
			}
			continue
		}
		first[key.String()] = n
	}
	g.replace(table)
	removeDead(g)
}
