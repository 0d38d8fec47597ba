package passes

import (
	"fmt"
	"strings"

	"github.com/gomlx/compute"

	"github.com/unnoise/unnoise/onednn/internal/cluster"
	"github.com/unnoise/unnoise/onednn/internal/graph"
)

// describedByAttr are the operations that inputs, output shape and attribute determine.
var describedByAttr = map[compute.OpType]bool{
	compute.OpTypeConstant: true, compute.OpTypeBroadcastInDim: true, compute.OpTypeReshape: true,
	compute.OpTypeConvertDType: true,
	compute.OpTypeTranspose:    true, compute.OpTypeReverse: true, compute.OpTypeSlice: true,
	compute.OpTypeConcatenate: true,
	compute.OpTypePad:         true, compute.OpTypeReduceSum: true, compute.OpTypeReduceMax: true,
	compute.OpTypeReduceMin: true, compute.OpTypeWhere: true,
	compute.OpTypeConvGeneral: true, compute.OpTypeDotGeneral: true, compute.OpTypeFusedGelu: true,
	graph.OpMoments: true,
}

// mergeSame keeps one of several nodes that compute the same, and drops operations that change nothing.
//
//	%2 = Exp %0; %3 = Exp %0; %4 = Identity %3; return %2 %4   →   %2 = Exp %0; return %2 %2
func mergeSame(g *graph.Graph) {
	table := map[*graph.Result]*graph.Result{}
	id := map[*graph.Result]int{}
	first := map[string]*graph.Node{}
	for _, n := range g.Nodes {
		for i, r := range n.In {
			if s := table[r]; s != nil {
				n.In[i] = s
			}
		}
		if n.Op == compute.OpTypeIdentity || n.Op == compute.OpTypeOptimizationBarrier {
			for i, r := range n.Out {
				table[r] = n.In[i]
			}
			continue
		}
		if sameShape := len(n.In) == 1 && n.Out[0].Shape().Equal(n.In[0].Shape()); sameShape {
			switch n.Op {
			case compute.OpTypeReshape, compute.OpTypeConvertDType, compute.OpTypeBroadcastInDim:
				table[n.Out[0]] = n.In[0]
				continue
			}
		}
		for _, r := range n.Out {
			id[r] = len(id)
		}
		if _, ok := cluster.Instructions[n.Op]; !ok && !describedByAttr[n.Op] {
			continue
		}
		var key strings.Builder
		fmt.Fprintf(&key, "%d %s %v", n.Op, n.Out[0].Shape(), n.Attr)
		for _, r := range n.In {
			fmt.Fprintf(&key, " %d", id[r])
		}
		if same := first[key.String()]; same != nil {
			for i, r := range n.Out {
				table[r] = same.Out[i]
			}
			continue
		}
		first[key.String()] = n
	}
	g.Replace(table)
	removeDead(g)
}
