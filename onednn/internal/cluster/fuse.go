// Package cluster groups element-wise operations so that they go over memory once, and writes each group's program.
package cluster

import (
	"math/bits"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/onednn/internal/graph"
)

// Instructions compute the element-wise operations. Conversions have none of their own: see Assemble.
var Instructions = map[compute.OpType]Op{
	compute.OpTypeAdd: OpAdd, compute.OpTypeSub: OpSub, compute.OpTypeMul: OpMul, compute.OpTypeDiv: OpDiv,
	compute.OpTypeMax: OpMax, compute.OpTypeMin: OpMin, compute.OpTypePow: OpPow,
	compute.OpTypeEqual: OpEq, compute.OpTypeNotEqual: OpNe, compute.OpTypeLessThan: OpLt,
	compute.OpTypeLessOrEqual: OpLe,
	compute.OpTypeGreaterThan: OpGt, compute.OpTypeGreaterOrEqual: OpGe,
	compute.OpTypeLogicalAnd: OpAnd, compute.OpTypeLogicalOr: OpOr, compute.OpTypeLogicalXor: OpXor,
	compute.OpTypeLogicalNot: OpNot,
	compute.OpTypeWhere:      OpWhere, compute.OpTypeNeg: OpNeg, compute.OpTypeAbs: OpAbs,
	compute.OpTypeExp: OpExp, compute.OpTypeExpm1: OpExpm1, compute.OpTypeLog: OpLog, compute.OpTypeLog1p: OpLog1p,
	compute.OpTypeSqrt: OpSqrt, compute.OpTypeRsqrt: OpRsqrt, compute.OpTypeTanh: OpTanh, compute.OpTypeErf: OpErf,
	compute.OpTypeLogistic: OpLogistic, compute.OpTypeSin: OpSin, compute.OpTypeCos: OpCos,
	compute.OpTypeFloor: OpFloor,
	compute.OpTypeCeil:  OpCeil, compute.OpTypeRound: OpRound, compute.OpTypeSign: OpSign,
	compute.OpTypeIsFinite: OpIsFinite,
	compute.OpTypeIsNaN:    OpIsNaN, compute.OpTypeFusedGelu: OpGelu, compute.OpTypeConvertDType: conversion,
	graph.OpGeluGradient: OpGeluGradient,
}

const conversion = Ops

// Fusable reports whether native code computes the element-wise node. Registers are float32, so integers and float64
// are left to the fallback, except where they are only converted.
func Fusable(n *graph.Node) bool {
	if _, ok := Instructions[n.Op]; !ok || len(n.Out) != 1 || n.Out[0].Shape().Size() == 0 {
		return false
	}
	if n.Op == compute.OpTypeFusedGelu && !n.Attr.(bool) {
		return false
	}
	out := n.Out[0].Shape()
	if !graph.Native(out.DType) || out.Rank() > graph.MaxRank {
		return false
	}
	for _, r := range n.In {
		s := r.Shape()
		if !graph.Native(s.DType) {
			if n.Op != compute.OpTypeConvertDType || s.DType != dtypes.Int32 || out.DType == dtypes.Bool {
				return false
			}
		}
		if n.Op != compute.OpTypeConvertDType && n.Op != compute.OpTypeWhere && s.DType == dtypes.Bool {
			switch n.Op {
			case compute.OpTypeLogicalAnd, compute.OpTypeLogicalOr, compute.OpTypeLogicalXor, compute.OpTypeLogicalNot,
				compute.OpTypeEqual, compute.OpTypeNotEqual:
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

// What a cluster may sum up: a row of at most maxWidth sums; of a group of rows at least minRows, and at most maxSums in
// all, for each of which a thread has a number.
const (
	maxWidth = 4096
	minRows  = 16
	maxSums  = 1 << 18
)

// fusableSum tells what a reduction keeps, if it can be a cluster's trailing sum: nothing; the last axis; or the last
// and the first ones. from is the first axis that it does not keep.
func fusableSum(n *graph.Node) (keep, from int, ok bool) {
	if n.Op != compute.OpTypeReduceSum || !graph.IsFloat(n.Out[0].Shape().DType) {
		return 0, 0, false
	}
	in := n.In[0].Shape()
	reduced := n.Attr.([]int)
	if len(reduced) == 0 || len(reduced) == in.Rank() {
		return 0, 0, true
	}
	last := in.Rank() - 1
	if slices.Contains(reduced, last) {
		return 0, 0, false
	}
	width := in.Dimensions[last]
	if len(reduced) == last && width == 1 {
		return 0, 0, true
	}
	from = last - len(reduced)
	if slices.Min(reduced) != from || width > maxWidth {
		return 0, 0, false
	}
	if from == 0 {
		return 1, 0, true
	}
	sums := n.Out[0].Shape().Size()
	return 1, from, in.Size() >= minRows*sums && width > 1 && sums <= maxSums
}

// Cluster is a set of element-wise nodes over one iteration, run as one pass over memory, and the sums over it.
type Cluster struct {
	Nodes []*graph.Node
	Sums  []*graph.Node
}

// MaxNodes is the limit that Fuse is usually given: larger clusters gain nothing.
const MaxNodes = 100

// Unit is what the schedule is made of: a cluster, or a single node.
type Unit struct {
	Cluster *Cluster
	Node    *graph.Node
}

// Fuse groups element-wise nodes into clusters and returns units in an order in which each follows what it needs.
//
// Every node starts alone. Going through them in order, a node joins the clusters of its operands that iterate over the
// same dimensions, unless something outside would then both need the cluster and be needed by it. limit bounds a
// cluster's nodes.
func Fuse(g *graph.Graph, limit int) []Unit {
	n := len(g.Nodes)
	group := map[*graph.Node]int{}
	members := make([][]*graph.Node, n)
	needs, needed := make([]bitset, n), make([]bitset, n) // over groups, transitively
	words := (n + 63) / 64
	backing := make(bitset, 2*n*words)
	dims := make([][]int, n)
	for i, nd := range g.Nodes {
		needs[i], backing = backing[:words:words], backing[words:]
		needed[i], backing = backing[:words:words], backing[words:]
		group[nd] = i
		members[i] = []*graph.Node{nd}
		if Fusable(nd) {
			dims[i] = append([]int{}, nd.Out[0].Shape().Dimensions...) // not nil for a scalar
		} else if _, _, ok := fusableSum(nd); ok && Fusable(nd.In[0].Node) {
			dims[i] = nd.In[0].Shape().Dimensions
		}
		for _, r := range nd.In {
			j := group[r.Node]
			needs[i].add(j)
			needs[i].or(needs[j])
		}
		needs[i].each(func(j int) { needed[j].add(i) })
		if dims[i] == nil {
			continue
		}
		for _, r := range nd.In {
			a, b := group[r.Node], group[nd]
			if a == b || dims[a] == nil || !slices.Equal(dims[a], dims[b]) || len(members[a])+len(members[b]) > limit {
				continue
			}
			if registers(members[a], members[b]) > maxRegisters || sumBetween(members[a], members[b]) ||
				meets(needs[b], needed[a], a, b) || meets(needs[a], needed[b], a, b) {
				continue
			}
			for _, m := range members[b] {
				group[m] = a
			}
			members[a] = append(members[a], members[b]...)
			members[b] = nil
			merge(needs, needed, a, b)
		}
	}

	// Schedule: a unit goes out as soon as the last of its nodes' inputs has, in the nodes' order.
	position := map[*graph.Node]int{}
	for i, nd := range g.Nodes {
		position[nd] = i
	}
	done := make([]bool, n)
	var order []Unit
	var visit func(i int)
	visit = func(i int) {
		if done[i] {
			return
		}
		done[i] = true
		slices.SortFunc(members[i], func(a, b *graph.Node) int { return position[a] - position[b] })
		for _, m := range members[i] {
			for _, r := range m.In {
				if j := group[r.Node]; j != i {
					visit(j)
				}
			}
		}
		first := members[i][0]
		if dims[i] == nil || len(members[i]) == 1 && !Fusable(first) {
			order = append(order, Unit{Node: first})
			return
		}
		c := &Cluster{}
		for _, m := range members[i] {
			if Fusable(m) {
				c.Nodes = append(c.Nodes, m)
			} else {
				c.Sums = append(c.Sums, m)
			}
		}
		order = append(order, Unit{Cluster: c})
	}
	// Visiting on demand of the last node of each unit keeps values short-lived.
	for _, nd := range g.Nodes {
		i := group[nd]
		if members[i][len(members[i])-1] == nd {
			visit(i)
		}
	}
	for _, nd := range g.Nodes {
		visit(group[nd])
	}
	return order
}

// merge makes one group of a and b, and it is a. The sets are transitive before and after: only what one of the two
// lacked is new.
func merge(needs, needed []bitset, a, b int) {
	var needs2, needed2 [2]bitset // of a and of b, before
	for i, g := range []int{a, b} {
		for _, of := range []struct{ all, before *bitset }{{&needs[g], &needs2[i]}, {&needed[g], &needed2[i]}} {
			of.all.remove(a)
			of.all.remove(b)
			*of.before = slices.Clone(*of.all)
		}
	}
	needs[a].or(needs[b])
	needed[a].or(needed[b])
	extend := func(around bitset, before, more [2]bitset, sets []bitset) {
		empty := [2]bool{more[0].empty(), more[1].empty()}
		around.each(func(k int) {
			sets[k].remove(b)
			sets[k].add(a)
			for i := range 2 {
				if !empty[i] && !before[i].has(k) {
					sets[k].or(more[i])
				}
			}
		})
	}
	extend(needs[a], needs2, needed2, needed)
	extend(needed[a], needed2, needs2, needs)
}

// registers bounds those of a cluster: one for each operand and result, and a zero for conversions to Bool.
func registers(groups ...[]*graph.Node) int {
	most := 0
	for _, g := range groups {
		for _, n := range g {
			most += len(n.In) + 2
		}
	}
	if most <= maxRegisters {
		return most
	}
	zeros, values := 0, map[*graph.Result]bool{}
	for _, g := range groups {
		for _, n := range g {
			if n.Op == compute.OpTypeConvertDType {
				zeros++
			}
			for _, r := range slices.Concat(n.In, n.Out) {
				values[r] = true
			}
		}
	}
	return len(values) + zeros
}

// sumBetween reports whether a node of one group reads a sum of the other: a sum is known only after the whole pass.
func sumBetween(a, b []*graph.Node) bool {
	reads := func(users, makers []*graph.Node) bool {
		for _, u := range users {
			for _, r := range u.In {
				if r.Node.Op == compute.OpTypeReduceSum && slices.Contains(makers, r.Node) {
					return true
				}
			}
		}
		return false
	}
	return reads(b, a) || reads(a, b)
}

// meets reports whether two sets share an element other than a and b.
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

func (s bitset) has(i int) bool { return s[i/64]>>(i%64)&1 == 1 }

func (s bitset) empty() bool { return !slices.ContainsFunc(s, func(w uint64) bool { return w != 0 }) }

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

// Functions names what takes the most arithmetic in a cluster.
func (c *Cluster) Functions() []string {
	var names []string
	for _, n := range c.Nodes {
		switch n.Op {
		case compute.OpTypeExp, compute.OpTypeExpm1, compute.OpTypeLog, compute.OpTypeLog1p, compute.OpTypePow,
			compute.OpTypeTanh, compute.OpTypeErf,
			compute.OpTypeLogistic, compute.OpTypeSin, compute.OpTypeCos, compute.OpTypeFusedGelu, graph.OpGeluGradient:
			names = append(names, graph.OpName(n.Op))
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}
