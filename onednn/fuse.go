package onednn

/*
#include "native.h"
*/
import "C"

import (
	"math/bits"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
)

// nativeOps are the instructions that compute element-wise operations. Conversions have none of their own: see assemble.
var nativeOps = map[compute.OpType]int{
	compute.OpTypeAdd: C.UN_ADD, compute.OpTypeSub: C.UN_SUB, compute.OpTypeMul: C.UN_MUL, compute.OpTypeDiv: C.UN_DIV,
	compute.OpTypeMax: C.UN_MAX, compute.OpTypeMin: C.UN_MIN, compute.OpTypePow: C.UN_POW,
	compute.OpTypeEqual: C.UN_EQ, compute.OpTypeNotEqual: C.UN_NE, compute.OpTypeLessThan: C.UN_LT, compute.OpTypeLessOrEqual: C.UN_LE,
	compute.OpTypeGreaterThan: C.UN_GT, compute.OpTypeGreaterOrEqual: C.UN_GE,
	compute.OpTypeLogicalAnd: C.UN_AND, compute.OpTypeLogicalOr: C.UN_OR, compute.OpTypeLogicalXor: C.UN_XOR, compute.OpTypeLogicalNot: C.UN_NOT,
	compute.OpTypeWhere: C.UN_WHERE, compute.OpTypeNeg: C.UN_NEG, compute.OpTypeAbs: C.UN_ABS,
	compute.OpTypeExp: C.UN_EXP, compute.OpTypeExpm1: C.UN_EXPM1, compute.OpTypeLog: C.UN_LOG, compute.OpTypeLog1p: C.UN_LOG1P,
	compute.OpTypeSqrt: C.UN_SQRT, compute.OpTypeRsqrt: C.UN_RSQRT, compute.OpTypeTanh: C.UN_TANH, compute.OpTypeErf: C.UN_ERF,
	compute.OpTypeLogistic: C.UN_LOGISTIC, compute.OpTypeSin: C.UN_SIN, compute.OpTypeCos: C.UN_COS, compute.OpTypeFloor: C.UN_FLOOR,
	compute.OpTypeCeil: C.UN_CEIL, compute.OpTypeRound: C.UN_ROUND, compute.OpTypeSign: C.UN_SIGN, compute.OpTypeIsFinite: C.UN_ISFINITE,
	compute.OpTypeIsNaN: C.UN_ISNAN, compute.OpTypeFusedGelu: C.UN_GELU, compute.OpTypeConvertDType: conversion,
	opGeluGradient: C.UN_GELU_GRADIENT,
}

const conversion = -1

const maxFusedRank = C.UN_MAX_DIMS

// fusable tells whether native code computes the element-wise node. Registers are float32, so integers and float64 are
// left to the fallback, except where they are only converted.
func fusable(n *node) bool {
	if _, ok := nativeOps[n.op]; !ok || len(n.out) != 1 || n.out[0].shape().Size() == 0 {
		return false
	}
	if n.op == compute.OpTypeFusedGelu && !n.attr.(bool) {
		return false
	}
	out := n.out[0].shape()
	if _, ok := nativeType(out.DType); !ok || out.Rank() > maxFusedRank {
		return false
	}
	for _, r := range n.in {
		s := r.shape()
		if _, ok := nativeType(s.DType); !ok {
			if n.op != compute.OpTypeConvertDType || s.DType != dtypes.Int32 || out.DType == dtypes.Bool {
				return false
			}
		}
		if n.op != compute.OpTypeConvertDType && n.op != compute.OpTypeWhere && s.DType == dtypes.Bool {
			switch n.op {
			case compute.OpTypeLogicalAnd, compute.OpTypeLogicalOr, compute.OpTypeLogicalXor, compute.OpTypeLogicalNot, compute.OpTypeEqual, compute.OpTypeNotEqual:
			default:
				return false
			}
		}
		// Operands have the result's shape, or spread over it.
		if s.Rank() != 0 && s.Rank() != out.Rank() {
			return false
		}
		for i, d := range s.Dimensions {
			if d != 1 && d != out.Dimensions[i] {
				return false
			}
		}
	}
	return true
}

// fusableSum tells which axes of its operand a reduction keeps, if it can be a cluster's trailing sum: none, or the last.
func fusableSum(n *node) (keep int, ok bool) {
	if n.op != compute.OpTypeReduceSum || !floatType(n.out[0].shape().DType) {
		return 0, false
	}
	in := n.in[0].shape()
	reduced := n.attr.([]int)
	if len(reduced) == 0 || len(reduced) == in.Rank() {
		return 0, true
	}
	last := in.Rank() - 1
	if len(reduced) == last && !slices.Contains(reduced, last) {
		if in.Dimensions[last] == 1 {
			return 0, true
		}
		return 1, in.Dimensions[last] <= 4096
	}
	return 0, false
}

func floatType(d dtypes.DType) bool {
	return d == dtypes.Float32 || d == dtypes.BFloat16 || d == dtypes.Float16
}

// cluster is a set of element-wise nodes over one iteration, run as one pass over memory, and the sums over it.
type cluster struct {
	nodes []*node
	sums  []*node
	size  int // nodes and distinct inputs, a bound on the registers
}

const maxCluster = 100

// unit is what the schedule is made of: a cluster, or a single node.
type unit struct {
	cluster *cluster
	node    *node
}

// fuse groups element-wise nodes into clusters and returns units in an order in which each follows what it needs.
//
// Every node starts alone. Going through them in order, a node joins the clusters of its operands that iterate over the
// same dimensions, unless something outside would then both need the cluster and be needed by it. limit bounds a cluster's nodes.
func fuse(g *graph, limit int) []unit {
	n := len(g.nodes)
	group := map[*node]int{}
	members := make([][]*node, n)
	needs, needed := make([]bitset, n), make([]bitset, n) // over groups, transitively
	words := (n + 63) / 64
	backing := make(bitset, 2*n*words)
	dims := make([][]int, n)
	for i, nd := range g.nodes {
		needs[i], backing = backing[:words:words], backing[words:]
		needed[i], backing = backing[:words:words], backing[words:]
		group[nd] = i
		members[i] = []*node{nd}
		if fusable(nd) {
			dims[i] = append([]int{}, nd.out[0].shape().Dimensions...) // not nil for a scalar
		} else if _, ok := fusableSum(nd); ok && fusable(nd.in[0].node) {
			dims[i] = nd.in[0].shape().Dimensions
		}
		for _, r := range nd.in {
			j := group[r.node]
			needs[i].add(j)
			needs[i].or(needs[j])
		}
		needs[i].each(func(j int) { needed[j].add(i) })
		if dims[i] == nil {
			continue
		}
		for _, r := range nd.in {
			a, b := group[r.node], group[nd]
			if a == b || dims[a] == nil || !slices.Equal(dims[a], dims[b]) || len(members[a])+len(members[b]) > limit {
				continue
			}
			if registers(members[a], members[b]) > maxRegisters || sumBetween(members[a], members[b]) || meets(needs[b], needed[a], a, b) || meets(needs[a], needed[b], a, b) {
				continue
			}
			for _, m := range members[b] {
				group[m] = a
			}
			members[a] = append(members[a], members[b]...)
			members[b] = nil
			needs[a].or(needs[b])
			needed[a].or(needed[b])
			needs[a].remove(a)
			needs[a].remove(b)
			needed[a].remove(a)
			needed[a].remove(b)
			needs[a].each(func(k int) { needed[k].remove(b); needed[k].add(a); needed[k].or(needed[a]) })
			needed[a].each(func(k int) { needs[k].remove(b); needs[k].add(a); needs[k].or(needs[a]) })
		}
	}

	// Schedule: a unit goes out as soon as the last of its nodes' inputs has, in the nodes' order.
	position := map[*node]int{}
	for i, nd := range g.nodes {
		position[nd] = i
	}
	done := make([]bool, n)
	var order []unit
	var visit func(i int)
	visit = func(i int) {
		if done[i] {
			return
		}
		done[i] = true
		slices.SortFunc(members[i], func(a, b *node) int { return position[a] - position[b] })
		for _, m := range members[i] {
			for _, r := range m.in {
				if j := group[r.node]; j != i {
					visit(j)
				}
			}
		}
		first := members[i][0]
		if dims[i] == nil || len(members[i]) == 1 && !fusable(first) {
			order = append(order, unit{node: first})
			return
		}
		c := &cluster{}
		for _, m := range members[i] {
			if fusable(m) {
				c.nodes = append(c.nodes, m)
			} else {
				c.sums = append(c.sums, m)
			}
		}
		order = append(order, unit{cluster: c})
	}
	// Visiting on demand of the last node of each unit keeps values short-lived.
	for _, nd := range g.nodes {
		i := group[nd]
		if members[i][len(members[i])-1] == nd {
			visit(i)
		}
	}
	for _, nd := range g.nodes {
		visit(group[nd])
	}
	return order
}

// registers bounds those of a cluster: one for each operand and result, and a zero for conversions to Bool.
func registers(groups ...[]*node) int {
	most := 0
	for _, g := range groups {
		for _, n := range g {
			most += len(n.in) + 2
		}
	}
	if most <= maxRegisters {
		return most
	}
	zeros, values := 0, map[*result]bool{}
	for _, g := range groups {
		for _, n := range g {
			if n.op == compute.OpTypeConvertDType {
				zeros++
			}
			for _, r := range slices.Concat(n.in, n.out) {
				values[r] = true
			}
		}
	}
	return len(values) + zeros
}

// sumBetween tells whether a node of one group reads a sum of the other: a sum is known only after the whole pass.
func sumBetween(a, b []*node) bool {
	reads := func(users, makers []*node) bool {
		for _, u := range users {
			for _, r := range u.in {
				if r.node.op == compute.OpTypeReduceSum && slices.Contains(makers, r.node) {
					return true
				}
			}
		}
		return false
	}
	return reads(b, a) || reads(a, b)
}

// meets tells whether two sets share an element other than a and b.
func meets(x, y bitset, a, b int) bool {
	for w := range x {
		common := x[w] & y[w]
		if a/64 == w {
			common &^= 1 << (a % 64)
		}
		if b/64 == w {
			common &^= 1 << (b % 64)
		}
		if common != 0 {
			return true
		}
	}
	return false
}

type bitset []uint64

func (s bitset) add(i int) { s[i/64] |= 1 << (i % 64) }

func (s bitset) remove(i int) { s[i/64] &^= 1 << (i % 64) }

func (s bitset) or(t bitset) {
	for i, v := range t {
		s[i] |= v
	}
}

func (s bitset) each(f func(int)) {
	for w, v := range s {
		for ; v != 0; v &= v - 1 {
			f(w*64 + bits.TrailingZeros64(v))
		}
	}
}
