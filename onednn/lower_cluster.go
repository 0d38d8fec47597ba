package onednn

/*
#include "native.h"
*/
import "C"

import (
	"fmt"
	"slices"
	"strings"
	"unsafe"

	"github.com/gomlx/compute"
)

func (l *lowering) emitCluster(c *cluster) {
	p := c.assemble(l.keep, l.parts)
	if len(p.out)+len(p.sums) == 0 {
		return
	}
	var reads, writes []int
	for _, x := range p.in {
		if x.r != nil {
			reads = append(reads, l.slotOf(x.r))
		}
	}
	for _, x := range p.out {
		writes = append(writes, l.slotOf(x.r))
	}
	for _, x := range p.sums {
		writes = append(writes, l.slotOf(x.r))
	}
	op := p.native(l.slotOf, !l.backend.without["code"])
	how := "interpreted"
	if C.un_generated(op) != 0 {
		how = "generated code"
	}
	if f := c.functions(); len(f) > 0 {
		how += ": " + strings.Join(f, ", ")
	}
	x := label{kind: "cluster", text: fmt.Sprintf("%v: %d in, %d instructions, %d out, %d sums (%s)", p.dims, len(p.in), len(p.code), len(p.out), len(p.sums), how)}
	for _, in := range p.in {
		if in.r != nil {
			x.bytes += float64(in.r.shape().DType.Size() * touched(p.dims, in.stride))
		}
	}
	for _, out := range p.out {
		x.bytes += float64(out.r.shape().DType.Size() * touched(p.dims, out.stride))
	}
	l.add(op, x, reads, writes)
}

// functions names what takes the most arithmetic in a cluster.
func (c *cluster) functions() []string {
	var names []string
	for _, n := range c.nodes {
		switch n.op {
		case compute.OpTypeExp, compute.OpTypeExpm1, compute.OpTypeLog, compute.OpTypeLog1p, compute.OpTypePow, compute.OpTypeTanh, compute.OpTypeErf,
			compute.OpTypeLogistic, compute.OpTypeSin, compute.OpTypeCos, compute.OpTypeFusedGelu, opGeluGradient:
			names = append(names, opName(n.op))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// touched is how many elements an array with these strides has along dims.
func touched(dims, stride []int) int {
	n := 1
	for d, size := range dims {
		if stride[d] != 0 {
			n *= size
		}
	}
	return n
}

// native makes the operation that runs the program.
func (p *program) native(slotOf func(*result) int, generated bool) *C.un_op {
	dims := cInts(p.dims)
	in := make([]C.un_ew_in, len(p.in)+1)
	for i, x := range p.in {
		in[i].slot, in[i].value = -1, C.float(x.value)
		if x.r != nil {
			in[i].slot, in[i].dtype = C.int32_t(slotOf(x.r)), loadType(x.r.shape().DType)
		}
		in[i].offset = C.int64_t(x.offset)
		for d, s := range x.stride {
			in[i].stride[d] = C.int64_t(s)
		}
	}
	out := make([]C.un_ew_out, len(p.out)+1)
	for i, x := range p.out {
		out[i].slot, out[i].dtype, out[i].reg = C.int32_t(slotOf(x.r)), loadType(x.r.shape().DType), C.int32_t(x.reg)
		out[i].offset = C.int64_t(x.offset)
		for d, s := range x.stride {
			out[i].stride[d] = C.int64_t(s)
		}
	}
	sums := make([]C.un_ew_sum, len(p.sums)+1)
	for i, x := range p.sums {
		sums[i] = C.un_ew_sum{C.int32_t(slotOf(x.r)), loadType(x.r.shape().DType), C.int32_t(x.reg), C.int32_t(x.keep)}
	}
	instructions := append(p.code, C.un_instr{})
	var code []byte
	if isa := C.un_isa(); generated && isa > 0 {
		code = generate(p, isa == 1, roundsBF16)
	}
	return C.un_elementwise(C.int(len(p.dims)), &dims[0], C.int(len(p.in)), &in[0], C.int(len(p.code)), &instructions[0],
		C.int(len(p.out)), &out[0], C.int(len(p.sums)), &sums[0], C.int(p.nRegs), unsafe.Pointer(unsafe.SliceData(code)), C.size_t(len(code)))
}
