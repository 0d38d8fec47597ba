package onednn

/*
#include "native.h"
*/
import "C"

import (
	"fmt"
	"strings"
	"unsafe"

	"github.com/unnoise/unnoise/onednn/internal/cluster"
	"github.com/unnoise/unnoise/onednn/internal/graph"
	"github.com/unnoise/unnoise/onednn/internal/jit"
)

func (l *lowering) emitCluster(c *cluster.Cluster) {
	p := c.Assemble(l.keep, l.parts)
	if len(p.Out)+len(p.Sums) == 0 {
		return
	}
	var reads, writes []int
	for _, x := range p.In {
		if x.Array != nil {
			reads = append(reads, l.slotOf(x.Array))
		}
	}
	for _, x := range p.Out {
		writes = append(writes, l.slotOf(x.Array))
	}
	for _, x := range p.Sums {
		writes = append(writes, l.slotOf(x.Array))
	}
	op := nativeOf(p, l.slotOf, !l.backend.without["code"])
	how := "interpreted"
	if C.un_generated(op) != 0 {
		how = "generated code"
	}
	if f := c.Functions(); len(f) > 0 {
		how += ": " + strings.Join(f, ", ")
	}
	x := label{kind: "cluster", text: fmt.Sprintf("%v: %d in, %d instructions, %d out, %d sums (%s)", p.Dims, len(p.In),
		len(p.Code), len(p.Out), len(p.Sums), how)}
	for _, in := range p.In {
		if in.Array != nil {
			x.bytes += float64(in.Array.Shape().DType.Size() * touched(p.Dims, in.Stride))
		}
	}
	for _, out := range p.Out {
		x.bytes += float64(out.Array.Shape().DType.Size() * touched(p.Dims, out.Stride))
	}
	l.add(op, x, reads, writes)
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

// nativeInstructions are the interpreter's names of instructions.
var nativeInstructions = [cluster.Ops]C.uint8_t{
	cluster.OpAdd: C.UN_ADD, cluster.OpSub: C.UN_SUB, cluster.OpMul: C.UN_MUL, cluster.OpDiv: C.UN_DIV,
	cluster.OpMax: C.UN_MAX, cluster.OpMin: C.UN_MIN, cluster.OpPow: C.UN_POW, cluster.OpFMA: C.UN_FMA,
	cluster.OpEq: C.UN_EQ, cluster.OpNe: C.UN_NE, cluster.OpLt: C.UN_LT, cluster.OpLe: C.UN_LE,
	cluster.OpGt: C.UN_GT, cluster.OpGe: C.UN_GE, cluster.OpAnd: C.UN_AND, cluster.OpOr: C.UN_OR,
	cluster.OpXor: C.UN_XOR, cluster.OpWhere: C.UN_WHERE, cluster.OpNeg: C.UN_NEG, cluster.OpAbs: C.UN_ABS,
	cluster.OpExp: C.UN_EXP, cluster.OpExpm1: C.UN_EXPM1, cluster.OpLog: C.UN_LOG, cluster.OpLog1p: C.UN_LOG1P,
	cluster.OpSqrt: C.UN_SQRT, cluster.OpRsqrt: C.UN_RSQRT, cluster.OpTanh: C.UN_TANH, cluster.OpErf: C.UN_ERF,
	cluster.OpLogistic: C.UN_LOGISTIC, cluster.OpSin: C.UN_SIN, cluster.OpCos: C.UN_COS,
	cluster.OpFloor: C.UN_FLOOR, cluster.OpCeil: C.UN_CEIL, cluster.OpRound: C.UN_ROUND, cluster.OpSign: C.UN_SIGN,
	cluster.OpNot: C.UN_NOT, cluster.OpIsFinite: C.UN_ISFINITE, cluster.OpIsNaN: C.UN_ISNAN,
	cluster.OpGelu: C.UN_GELU, cluster.OpGeluGradient: C.UN_GELU_GRADIENT, cluster.OpRoundBF16: C.UN_ROUND_BF16,
	cluster.OpRoundF16: C.UN_ROUND_F16,
}

// nativeOf makes the operation that runs the program.
func nativeOf(p *cluster.Program, slotOf func(*graph.Result) int, generated bool) *C.un_op {
	dims := cInts(p.Dims)
	in := make([]C.un_ew_in, len(p.In)+1)
	for i, x := range p.In {
		in[i].slot, in[i].value = -1, C.float(x.Value)
		if x.Array != nil {
			in[i].slot, in[i].dtype = C.int32_t(slotOf(x.Array)), loadType(x.Array.Shape().DType)
		}
		in[i].offset = C.int64_t(x.Offset)
		for d, s := range x.Stride {
			in[i].stride[d] = C.int64_t(s)
		}
	}
	out := make([]C.un_ew_out, len(p.Out)+1)
	for i, x := range p.Out {
		out[i].slot, out[i].dtype, out[i].reg = C.int32_t(slotOf(x.Array)), loadType(x.Array.Shape().DType),
			C.int32_t(x.Register)
		out[i].offset = C.int64_t(x.Offset)
		for d, s := range x.Stride {
			out[i].stride[d] = C.int64_t(s)
		}
	}
	sums := make([]C.un_ew_sum, len(p.Sums)+1)
	for i, x := range p.Sums {
		sums[i] = C.un_ew_sum{C.int32_t(slotOf(x.Array)), loadType(x.Array.Shape().DType), C.int32_t(x.Register),
			C.int32_t(x.Keep), C.int64_t(x.Rows)}
	}
	instructions := make([]C.un_instr, len(p.Code)+1)
	for i, x := range p.Code {
		instructions[i] = C.un_instr{nativeInstructions[x.Op], C.uint8_t(x.Dst), C.uint8_t(x.A), C.uint8_t(x.B),
			C.uint8_t(x.C)}
	}
	var code []byte
	if isa := C.un_isa(); generated && isa > 0 {
		code = jit.Generate(p, isa == 1, roundsBF16)
	}
	return C.un_elementwise(C.int(len(p.Dims)), &dims[0], C.int(len(p.In)), &in[0], C.int(len(p.Code)),
		&instructions[0],
		C.int(len(p.Out)), &out[0], C.int(len(p.Sums)), &sums[0], C.int(p.Registers),
		unsafe.Pointer(unsafe.SliceData(code)), C.size_t(len(code)))
}
