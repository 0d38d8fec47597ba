package onednn

/*
#include "native.h"
*/
import "C"

import (
	"fmt"

	"github.com/unnoise/unnoise/onednn/internal/graph"
)

func (l *lowering) emitAttention(n *graph.Node) bool {
	s := n.In[0].Shape()
	batch, queries, heads, dim, keys := s.Dimensions[0], s.Dimensions[1], s.Dimensions[2], s.Dimensions[3],
		n.In[1].Shape().Dimensions[1]
	in, y, scratch := l.slotsOf(n.In), l.slotOf(n.Out[0]), l.scratch()
	var bytes C.size_t
	op := C.un_attention(C.int(in[0]), C.int(in[1]), C.int(in[2]), C.int(y), C.int(loadType(s.DType)), C.int64_t(batch),
		C.int64_t(queries), C.int64_t(keys), C.int64_t(heads), C.int64_t(dim),
		C.float(n.Attr.(float64)), C.int(scratch), &bytes)
	if op == nil {
		return false
	}
	l.places[scratch].size = int(bytes)
	l.add(op, label{kind: "attention", text: fmt.Sprintf("%s on %d keys", s, keys),
		flops: 4 * float64(batch*heads*queries) * float64(keys*dim)}, in, []int{y, scratch})
	return true
}
