package onednn

import (
	"math"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
)

// foldGeluGradients finds the derivative of GELU, Φ(x) + x·φ(x), as it is left by GoMLX's differentiation of x·Φ(x), whatever way its factors
// are grouped. One function has half the arithmetic of its two.
//
//	%1 = Mul %x √½; %2 = Erf %1; %3 = Add %2 1; %4 = Mul %d (%3·½); %5 = Mul %1 %1; %6 = Neg %5; %7 = Exp %6; %8 = Mul (%d·%x) (%7·√½π); %9 = Add %4 %8
//	→   %a = GeluGradient %x; %9 = Mul %d %a
func foldGeluGradients(g *graph) {
	table := map[*result]*result{}
	var nodes []*node
	for _, n := range g.nodes {
		if n.op == compute.OpTypeAdd && n.out[0].shape().DType == dtypes.Float32 && fusable(n) {
			for i, r := range n.in {
				x, others, scale := geluGradient(r, n.in[1-i])
				if x == nil || !x.shape().Equal(n.out[0].shape()) {
					continue
				}
				m := &maker{owner: n.owner}
				v := m.add(opGeluGradient, x.shape(), nil, x)
				for _, r := range others {
					v = m.add(compute.OpTypeMul, x.shape(), nil, r, v)
				}
				if !near(scale, 1) {
					v = m.add(compute.OpTypeMul, x.shape(), nil, v, m.scalar(float32(scale)))
				}
				nodes = append(nodes, m.nodes...)
				table[n.out[0]] = v
				break
			}
		}
		if table[n.out[0]] == nil {
			nodes = append(nodes, n)
		}
	}
	g.nodes = nodes
	g.replace(table)
}

// geluGradient returns x, d and c if a + b is GELU's derivative at x, times all of d and c.
func geluGradient(a, b *result) (x *result, d []*result, c float64) {
	left, scale := factors(a)
	for i, r := range left {
		arg := onePlusErf(r)
		if arg == nil {
			continue
		}
		for j, x := range arg.node.in {
			k, constant := coefficient(arg.node.in[1-j])
			if !constant || !near(k, math.Sqrt(0.5)) {
				continue
			}
			d := slices.Delete(slices.Clone(left), i, i+1)
			own, ofX := factors(x)
			right, other := factors(b)
			// What is left of the other term is e^(−x²/2).
			if rest, ok := without(right, slices.Concat(d, own)); ok && len(rest) == 1 && rest[0].node.op == compute.OpTypeExp && near(other, scale*ofX*math.Sqrt(2/math.Pi)) {
				square, by := factors(rest[0].node.in[0])
				if rest, ok := without(square, slices.Concat(own, own)); ok && len(rest) == 0 && near(by, -0.5*ofX*ofX) {
					return x, d, 2 * scale
				}
			}
		}
	}
	return nil, nil, 0
}

// onePlusErf returns the argument if r is 1 + erf of a product.
func onePlusErf(r *result) *result {
	if r.node.op != compute.OpTypeAdd {
		return nil
	}
	for i, e := range r.node.in {
		k, constant := coefficient(r.node.in[1-i])
		if constant && k == 1 && e.node.op == compute.OpTypeErf && e.node.in[0].node.op == compute.OpTypeMul {
			return e.node.in[0]
		}
	}
	return nil
}

// factors takes a product apart: what is no constant, and the product of the constants.
func factors(r *result) (list []*result, scale float64) {
	scale = 1
	whole := []*result{r}
	for products := 0; len(whole) > 0; {
		last := len(whole) - 1
		r, whole = whole[last], whole[:last]
		k, constant := coefficient(r)
		switch {
		case constant:
			scale *= k
		case r.node.op == compute.OpTypeNeg:
			scale = -scale
			whole = append(whole, r.node.in[0])
		case r.node.op == compute.OpTypeMul && products < 32: // squares of squares would have more and more
			products++
			whole = append(whole, r.node.in...)
		default:
			list = append(list, r)
		}
	}
	return list, scale
}

// coefficient is the value of a constant that is the same everywhere.
func coefficient(r *result) (float64, bool) {
	for r.node.op == compute.OpTypeBroadcastInDim || r.node.op == compute.OpTypeReshape {
		r = r.node.in[0]
	}
	v, ok := scalarConstant(r)
	return float64(v), ok
}

// without takes some off a list, if they are all in it.
func without(list, some []*result) (rest []*result, ok bool) {
	rest = slices.Clone(list)
	for _, r := range some {
		i := slices.Index(rest, r)
		if i < 0 {
			return nil, false
		}
		rest = slices.Delete(rest, i, i+1)
	}
	return rest, true
}

func near(a, b float64) bool { return math.Abs(a-b) <= 1e-6*math.Abs(b) }
