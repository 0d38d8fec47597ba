package passes

import (
	"math"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/onednn/internal/cluster"
	"github.com/unnoise/unnoise/onednn/internal/graph"
)

// foldGeluGradients finds the derivative of GELU, Φ(x) + x·φ(x), as it is left by GoMLX's differentiation of x·Φ(x),
// whatever way its factors are grouped. One function has half the arithmetic of its two.
//
//	%1 = Mul %x √½; %2 = Erf %1; %3 = Add %2 1; %4 = Mul %d (%3·½); %5 = Mul %1 %1; %6 = Neg %5; %7 = Exp %6; %8 = Mul (%d·%x) (%7·√½π); %9 = Add %4 %8
//	→   %a = GeluGradient %x; %9 = Mul %d %a
func foldGeluGradients(g *graph.Graph) {
	table := map[*graph.Result]*graph.Result{}
	var nodes []*graph.Node
	for _, n := range g.Nodes {
		if n.Op == compute.OpTypeAdd && n.Out[0].Shape().DType == dtypes.Float32 && cluster.Fusable(n) {
			for i, r := range n.In {
				x, others, scale := geluGradient(r, n.In[1-i])
				if x == nil || !x.Shape().Equal(n.Out[0].Shape()) {
					continue
				}
				m := &maker{owner: n.Owner}
				v := m.add(graph.OpGeluGradient, x.Shape(), nil, x)
				for _, r := range others {
					v = m.add(compute.OpTypeMul, x.Shape(), nil, r, v)
				}
				if !near(scale, 1) {
					v = m.add(compute.OpTypeMul, x.Shape(), nil, v, m.scalar(float32(scale)))
				}
				nodes = append(nodes, m.nodes...)
				table[n.Out[0]] = v
				break
			}
		}
		if table[n.Out[0]] == nil {
			nodes = append(nodes, n)
		}
	}
	g.Nodes = nodes
	g.Replace(table)
}

// geluGradient returns x, d and c if a + b is GELU's derivative at x, times all of d and c.
func geluGradient(a, b *graph.Result) (x *graph.Result, d []*graph.Result, c float64) {
	left, scale := factors(a)
	for i, r := range left {
		arg := onePlusErf(r)
		if arg == nil {
			continue
		}
		for j, x := range arg.Node.In {
			k, constant := coefficient(arg.Node.In[1-j])
			if !constant || !near(k, math.Sqrt(0.5)) {
				continue
			}
			d := slices.Delete(slices.Clone(left), i, i+1)
			own, ofX := factors(x)
			right, other := factors(b)
			// What is left of the other term is e^(−x²/2).
			if rest, ok := without(right, slices.Concat(d, own)); ok && len(rest) == 1 &&
				rest[0].Node.Op == compute.OpTypeExp && near(other, scale*ofX*math.Sqrt(2/math.Pi)) {
				square, by := factors(rest[0].Node.In[0])
				if rest, ok := without(square, slices.Concat(own, own)); ok && len(rest) == 0 &&
					near(by, -0.5*ofX*ofX) {
					return x, d, 2 * scale
				}
			}
		}
	}
	return nil, nil, 0
}

// onePlusErf returns the argument if r is 1 + erf of a product.
func onePlusErf(r *graph.Result) *graph.Result {
	if r.Node.Op != compute.OpTypeAdd {
		return nil
	}
	for i, e := range r.Node.In {
		k, constant := coefficient(r.Node.In[1-i])
		if constant && k == 1 && e.Node.Op == compute.OpTypeErf && e.Node.In[0].Node.Op == compute.OpTypeMul {
			return e.Node.In[0]
		}
	}
	return nil
}

// factors takes a product apart: what is no constant, and the product of the constants.
func factors(r *graph.Result) (list []*graph.Result, scale float64) {
	scale = 1
	whole := []*graph.Result{r}
	for products := 0; len(whole) > 0; {
		last := len(whole) - 1
		r, whole = whole[last], whole[:last]
		k, constant := coefficient(r)
		switch {
		case constant:
			scale *= k
		case r.Node.Op == compute.OpTypeNeg:
			scale = -scale
			whole = append(whole, r.Node.In[0])
		case r.Node.Op == compute.OpTypeMul && products < 32: // squares of squares would have more and more
			products++
			whole = append(whole, r.Node.In...)
		default:
			list = append(list, r)
		}
	}
	return list, scale
}

// coefficient is the value of a constant that is the same everywhere.
func coefficient(r *graph.Result) (float64, bool) {
	for r.Node.Op == compute.OpTypeBroadcastInDim || r.Node.Op == compute.OpTypeReshape {
		r = r.Node.In[0]
	}
	v, ok := cluster.ScalarConstant(r)
	return float64(v), ok
}

// without takes some off a list, if they are all in it.
func without(list, some []*graph.Result) (rest []*graph.Result, ok bool) {
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
