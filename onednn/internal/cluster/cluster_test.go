package cluster_test

import (
	"math"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/onednn/internal/cluster"
	"github.com/unnoise/unnoise/onednn/internal/graph"
	"github.com/unnoise/unnoise/onednn/internal/graph/graphtest"
)

func float32s(dims ...int) shapes.Shape { return shapes.Make(dtypes.Float32, dims...) }

// clusters lists those of a function.
func clusters(t *testing.T, f func(in []*Node) []*Node, in ...shapes.Shape) (*graph.Graph, []*cluster.Cluster) {
	g := graphtest.Record(t, f, in...)
	var found []*cluster.Cluster
	for _, u := range cluster.Fuse(g, cluster.MaxNodes) {
		if u.Cluster != nil {
			found = append(found, u.Cluster)
		}
	}
	return g, found
}

// run executes a program on arrays.
func run(p *cluster.Program, arrays map[*graph.Result][]float64) {
	total := 1
	for _, d := range p.Dims {
		total *= d
	}
	registers := make([]float64, p.Registers)
	for n := range total {
		index, rest := make([]int, len(p.Dims)), n
		for d := len(p.Dims) - 1; d >= 0; d-- {
			index[d], rest = rest%p.Dims[d], rest/p.Dims[d]
		}
		at := func(offset int, stride []int) int {
			for d, i := range index {
				offset += i * stride[d]
			}
			return offset
		}
		for i, x := range p.In {
			registers[i] = float64(x.Value)
			if x.Array != nil {
				registers[i] = arrays[x.Array][at(x.Offset, x.Stride)]
			}
		}
		for _, i := range p.Code {
			a, b, c := registers[i.A], registers[i.B], registers[i.C]
			switch i.Op {
			case cluster.OpAdd:
				a += b
			case cluster.OpSub:
				a -= b
			case cluster.OpMul:
				a *= b
			case cluster.OpFMA:
				a = a*b + c
			case cluster.OpExp:
				a = math.Exp(a)
			case cluster.OpNeg:
				a = -a
			case cluster.OpWhere:
				if a != 0 {
					a = b
				} else {
					a = c
				}
			case cluster.OpGt:
				if a > b {
					a = 1
				} else {
					a = 0
				}
			default:
				panic("an instruction that the test does not know")
			}
			registers[i.Dst] = a
		}
		for _, x := range p.Out {
			arrays[x.Array][at(x.Offset, x.Stride)] = registers[x.Register]
		}
		for _, x := range p.Sums {
			width := p.Dims[len(p.Dims)-1]
			first := 0
			if x.Keep == 1 {
				first = n / width / x.Rows * width
			}
			arrays[x.Array][first+x.Keep*index[len(index)-1]] += registers[x.Register]
		}
	}
}

// One cluster computes a chain that spreads vectors, and a sum over its result for each channel.
func TestProgram(t *testing.T) {
	const rows, channels = 6, 5
	g, found := clusters(t, func(in []*Node) []*Node {
		x, scale := in[0], ExpandAndBroadcast(in[1], []int{2, 3, channels}, []int{0, 1})
		y := Exp(Neg(Add(Mul(x, scale), x)))
		y = Where(GreaterThan(y, BroadcastToDims(Scalar(x.Graph(), dtypes.Float32, 1), 2, 3, channels)), x, y)
		return []*Node{y, ReduceSum(Mul(y, y), 0, 1)}
	}, float32s(2, 3, channels), float32s(channels))
	if len(found) != 1 {
		t.Fatalf("expected one cluster, found %d:\n%s", len(found), g)
	}
	arrays := map[*graph.Result][]float64{}
	for _, n := range g.Nodes {
		for _, r := range n.Out {
			arrays[r] = make([]float64, r.Shape().Size())
		}
	}
	x, scale := arrays[g.Params[0]], arrays[g.Params[1]]
	for i := range x {
		x[i] = math.Sin(float64(i))
	}
	for i := range scale {
		scale[i] = float64(i) / 2
	}
	p := found[0].Assemble(func(r *graph.Result) bool { return r == g.Outputs[0] }, nil)
	if len(p.Dims) != 2 || p.Dims[0] != rows || p.Dims[1] != channels {
		t.Errorf("expected dimensions that lie together as one, [%d %d], found %v", rows, channels, p.Dims)
	}
	run(p, arrays)
	sums := make([]float64, channels)
	for i := range x {
		want := math.Exp(-(x[i]*scale[i%channels] + x[i]))
		if want > 1 {
			want = x[i]
		}
		sums[i%channels] += want * want
		if got := arrays[g.Outputs[0]][i]; math.Abs(got-want) > 1e-12 {
			t.Errorf("element %d: expected %g, found %g", i, want, got)
		}
	}
	for i, want := range sums {
		if got := arrays[g.Outputs[1]][i]; math.Abs(got-want) > 1e-12 {
			t.Errorf("sum %d: expected %g, found %g", i, want, got)
		}
	}
}

// What a cluster needs of another operation on its own results cannot be in it.
func TestNoCircles(t *testing.T) {
	g, found := clusters(t, func(in []*Node) []*Node {
		y := Exp(in[0])
		return []*Node{Add(y, Dot(y, in[1]).Product())}
	}, float32s(4, 4), float32s(4, 4))
	if len(found) != 2 {
		t.Errorf("expected two clusters around the product, found %d", len(found))
	}
	done := map[*graph.Node]bool{}
	for _, u := range cluster.Fuse(g, cluster.MaxNodes) {
		nodes := []*graph.Node{u.Node}
		if u.Cluster != nil {
			nodes = append(u.Cluster.Nodes, u.Cluster.Sums...)
		}
		for _, n := range nodes {
			done[n] = true
		}
		for _, n := range nodes {
			for _, r := range n.In {
				if !done[r.Node] {
					t.Errorf("%s is scheduled before its input %s", n.Op, r.Node.Op)
				}
			}
		}
	}
}

// Integers are the fallback's, but for their conversion.
func TestFusable(t *testing.T) {
	ints := shapes.Make(dtypes.Int32, 4)
	g := graphtest.Record(t, func(in []*Node) []*Node {
		return []*Node{Add(in[0], in[0]), ConvertDType(in[0], dtypes.Float32), Exp(in[1]),
			ConvertDType(in[1], dtypes.Int32)}
	}, ints, float32s(4))
	want := []bool{false, true, true, false}
	for i, r := range g.Outputs {
		if got := cluster.Fusable(r.Node); got != want[i] {
			t.Errorf("%s to %s: expected %t, found %t", compute.OpType(r.Node.Op), r.Shape(), want[i], got)
		}
	}
}
