package onednn_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/gomlx/compute/dtypes"
)

// term is one value of a random graph: a leaf, or an operation on earlier terms.
type term struct {
	op    string
	in    []int
	dtype dtypes.DType
	dims  []int
	args  []int // what the operation needs beside its operands: axes, sizes, …
	seed  int   // of a leaf's values

	// Bounds of the values. A term is exact if its values are multiples of 2^-frac of at most 2^whole, and its dtype
	// has digits for that: then every backend computes the same bits, and what is discontinuous may be applied.
	lo, hi      float64
	exact       bool
	whole, frac int
}

// randomGraph is a computation that a seed determines.
type randomGraph struct {
	seed      uint64
	terms     []term
	outputs   []int
	gradients bool // also the gradients of a weighted sum of the outputs with respect to every leaf of floats
}

func (g *randomGraph) clone() *randomGraph {
	c := *g
	c.terms, c.outputs = slices.Clone(g.terms), slices.Clone(g.outputs)
	for i := range c.terms {
		c.terms[i].in, c.terms[i].args, c.terms[i].dims = slices.Clone(c.terms[i].in), slices.Clone(c.terms[i].args),
			slices.Clone(c.terms[i].dims)
	}
	return &c
}

// String lists the terms, a line each.
func (g *randomGraph) String() string {
	var s strings.Builder
	for i, t := range g.terms {
		fmt.Fprintf(&s, "  %%%d = %s", i, t.op)
		for _, j := range t.in {
			fmt.Fprintf(&s, " %%%d", j)
		}
		if len(t.args) > 0 {
			fmt.Fprintf(&s, " %v", t.args)
		}
		fmt.Fprintf(&s, " → %s%v", t.dtype, t.dims)
		if t.leaf() {
			fmt.Fprintf(&s, " from %g to %g in steps of 2^-%d, seed %d", t.lo, t.hi, t.frac, t.seed)
		}
		s.WriteByte('\n')
	}
	s.WriteString("  return")
	for _, o := range g.outputs {
		fmt.Fprintf(&s, " %%%d", o)
	}
	if g.gradients {
		s.WriteString(" and the gradients of the leaves")
	}
	return s.String()
}

func (t *term) leaf() bool  { return t.op == "Parameter" || t.op == "Constant" }
func (t *term) float() bool { return t.dtype.IsFloat() }
func (t *term) size() int   { return product(t.dims) }
func (t *term) digits() int { return digits(t.dtype) }
func (t *term) magnitude() int {
	return int(math.Ceil(math.Log2(max(math.Abs(t.lo), math.Abs(t.hi), 1e-3))))
}

func product(dims []int) int {
	n := 1
	for _, d := range dims {
		n *= d
	}
	return n
}

// digits is the number of binary digits of a dtype's values.
func digits(d dtypes.DType) int {
	switch d {
	case dtypes.BFloat16:
		return 8
	case dtypes.Float16:
		return 11
	case dtypes.Float32:
		return 24
	case dtypes.Float64:
		return 53
	case dtypes.Int32:
		return 30
	}
	return 1
}

func limit(d dtypes.DType) float64 {
	switch d {
	case dtypes.Float16:
		return 500
	case dtypes.Int32:
		return 1 << 28
	}
	return 1e5
}

// generator grows a random graph term by term.
type generator struct {
	*rand.Rand
	*randomGraph
	main   dtypes.DType // the dtype of most leaves
	budget int          // elements of one array
	seeds  int
}

// newRandomGraph is the graph of a seed.
func newRandomGraph(seed uint64) *randomGraph {
	r := rand.New(rand.NewPCG(seed, 0x6d6c78))
	g := &generator{Rand: r, randomGraph: &randomGraph{seed: seed}, budget: 600}
	g.main = []dtypes.DType{dtypes.Float32, dtypes.Float32, dtypes.Float32, dtypes.Float32, dtypes.Float32,
		dtypes.BFloat16, dtypes.BFloat16, dtypes.Float16, dtypes.Float64}[r.IntN(9)]
	g.gradients = r.IntN(3) == 0
	if r.IntN(8) == 0 {
		g.budget = 30000
	}
	want := 2 + r.IntN(20)
	g.leaf(g.main, g.someDims())
	for tries := 0; len(g.terms) < want && tries < 200; tries++ {
		g.grow()
	}
	used := make([]bool, len(g.terms))
	for _, t := range g.terms {
		for _, i := range t.in {
			used[i] = true
		}
	}
	for i := range g.terms {
		if !used[i] || r.IntN(10) == 0 {
			g.outputs = append(g.outputs, i)
		}
	}
	if r.IntN(10) == 0 {
		g.outputs = append(g.outputs, g.outputs[r.IntN(len(g.outputs))])
	}
	r.Shuffle(len(g.outputs), func(i, j int) { g.outputs[i], g.outputs[j] = g.outputs[j], g.outputs[i] })
	return g.randomGraph
}

func (g *generator) someDims() []int {
	for {
		dims := make([]int, g.IntN(6))
		for i := range dims {
			dims[i] = []int{1, 1, 2, 3, 4, 5, 7, 8, 16, 17, 33}[g.IntN(11)]
			if g.budget > 1000 && g.IntN(2) == 0 {
				dims[i] *= 1 + g.IntN(8)
			}
		}
		if product(dims) <= g.budget {
			return dims
		}
	}
}

// add appends a term unless its values could leave the dtype's range.
func (g *generator) add(t term) bool {
	if t.size() > g.budget*4 || t.size() == 0 || len(t.dims) > 7 || math.IsNaN(t.lo+t.hi) ||
		max(-t.lo, t.hi) > limit(t.dtype) {
		return false
	}
	if t.exact && t.whole+t.frac > t.digits() {
		if !t.float() {
			return false
		}
		t.exact = false
	}
	if !t.exact && !t.float() {
		panic(fmt.Sprintf("a term of %s is not exact: %+v", t.dtype, t))
	}
	g.terms = append(g.terms, t)
	return true
}

func (g *generator) last() int { return len(g.terms) - 1 }

// leaf adds a parameter or a constant and returns its index.
func (g *generator) leaf(dtype dtypes.DType, dims []int) int {
	bounds := [][2]float64{{-2, 2}, {-1, 1}, {-4, 4}, {0.5, 2}, {0.25, 1}}[g.IntN(5)]
	return g.leafIn(dtype, dims, bounds[0], bounds[1])
}

func (g *generator) leafIn(dtype dtypes.DType, dims []int, lo, hi float64) int {
	t := term{op: "Parameter", dtype: dtype, dims: slices.Clone(dims), seed: g.seeds, lo: lo, hi: hi, exact: true}
	g.seeds++
	switch dtype {
	case dtypes.Bool:
		t.lo, t.hi = 0, 1
	case dtypes.Int32:
		t.lo, t.hi = math.Floor(lo)*4, math.Ceil(hi)*4
		t.whole = t.magnitude()
	default:
		t.whole = t.magnitude()
		t.frac = min(t.digits()-t.whole, 30)
		if g.IntN(2) == 0 {
			t.frac = min(2, t.frac)
		}
	}
	if g.IntN(6) == 0 {
		t.op = "Constant"
	}
	g.terms = append(g.terms, t)
	return g.last()
}

// pick chooses a term, late ones more often.
func (g *generator) pick(ok func(t *term) bool) (int, bool) {
	for range 12 {
		i := max(g.IntN(len(g.terms)), g.IntN(len(g.terms)))
		if ok(&g.terms[i]) {
			return i, true
		}
	}
	return 0, false
}

func (g *generator) pickFloat() (int, bool) { return g.pick((*term).float) }

// smooth reports whether what is discontinuous, or has a bent, may be applied to t.
func (g *generator) smooth(t *term) bool { return t.exact || !g.gradients }

// grow tries to add an operation.
func (g *generator) grow() {
	moves := []struct {
		weight int
		grow   func() bool
	}{
		{14, g.unary}, {16, g.binary}, {4, g.compare}, {3, g.logical}, {4, g.where}, {5, g.convert}, {10, g.reduce},
		{3, g.softmax},
		{5, g.transpose}, {5, g.reshape}, {6, g.slice}, {4, g.concat}, {4, g.pad}, {3, g.reverse}, {5, g.spread},
		{7, g.product}, {9, g.convolution}, {4, g.batchNorm}, {2, g.pool}, {1, g.argMax}, {1, g.gather},
		{1, func() bool { g.leaf(g.main, g.someDims()); return true }},
	}
	total := 0
	for _, m := range moves {
		total += m.weight
	}
	n := g.IntN(total)
	for _, m := range moves {
		if n -= m.weight; n < 0 {
			m.grow()
			return
		}
	}
}

// monotone bounds f on [lo, hi].
func monotone(f func(float64) float64) func(lo, hi float64) (float64, float64) {
	return func(lo, hi float64) (float64, float64) {
		a, b := f(lo), f(hi)
		return min(a, b), max(a, b)
	}
}

func within(lo, hi float64) func(float64, float64) (float64, float64) {
	return func(float64, float64) (float64, float64) { return lo, hi }
}

// unaryOps are the functions of one argument: where they may be applied, and the bounds of what they return.
var unaryOps = []struct {
	name   string
	lo, hi float64
	bounds func(lo, hi float64) (float64, float64)
}{
	{"Exp", -10, 4, monotone(math.Exp)}, {"Expm1", -10, 4, monotone(math.Expm1)}, {"Log", 0.1, 1e4, monotone(math.Log)},
	{"Log1p", -0.5, 1e4, monotone(math.Log1p)}, {"Sqrt", 0.05, 1e4, monotone(math.Sqrt)},
	{"Rsqrt", 0.05, 1e4, monotone(func(x float64) float64 { return 1 / math.Sqrt(x) })},
	{"Tanh", -1e4, 1e4, monotone(math.Tanh)}, {"Erf", -1e4, 1e4, monotone(math.Erf)},
	{"Sigmoid", -1e4, 1e4, monotone(func(x float64) float64 { return 1 / (1 + math.Exp(-x)) })},
	{"Sin", -30, 30, within(-1, 1)}, {"Cos", -30, 30, within(-1, 1)},
	{"Gelu", -1e4, 1e4, func(lo, hi float64) (float64, float64) { return -0.2, max(hi, 0.1) }},
}

func (g *generator) unary() bool {
	if g.IntN(3) > 0 {
		op := unaryOps[g.IntN(len(unaryOps))]
		i, ok := g.pick(func(t *term) bool { return t.float() && t.lo >= op.lo && t.hi <= op.hi })
		if !ok {
			return false
		}
		t := g.terms[i]
		lo, hi := op.bounds(t.lo, t.hi)
		return g.add(term{op: op.name, in: []int{i}, dtype: t.dtype, dims: t.dims, lo: lo - 0.01, hi: hi + 0.01})
	}
	i, ok := g.pick(func(t *term) bool { return t.dtype != dtypes.Bool })
	if !ok {
		return false
	}
	t := g.terms[i]
	out := term{in: []int{i}, dtype: t.dtype, dims: t.dims, exact: t.exact, whole: t.whole, frac: t.frac}
	largest := max(-t.lo, t.hi)
	switch g.IntN(8) {
	case 0, 1:
		out.op, out.lo, out.hi = "Neg", -t.hi, -t.lo
	case 2:
		if !g.smooth(&t) {
			return false
		}
		out.op, out.lo, out.hi = "Abs", max(0, t.lo), largest
	case 3, 4:
		out.op, out.lo, out.hi, out.whole, out.frac = "Square", 0, largest*largest, 2*t.whole, 2*t.frac
	default:
		if !t.exact || !t.float() {
			return false
		}
		out.op, out.lo, out.hi, out.frac, out.whole = []string{"Floor", "Ceil", "Round", "Sign"}[g.IntN(4)], -largest-1,
			largest+1, 0, max(t.whole+1, 1)
	}
	return g.add(out)
}

// partner finds or makes an operand that goes with t in an element-wise operation: its dimensions, or some of them 1,
// or a scalar.
func (g *generator) partner(t term) int {
	if i, ok := g.pick(func(u *term) bool {
		return u.dtype == t.dtype &&
			(slices.Equal(u.dims, t.dims) || len(u.dims) == 0)
	}); ok && g.IntN(3) > 0 {
		return i
	}
	return g.leafLike(t, t.dtype)
}

func (g *generator) leafLike(t term, dtype dtypes.DType) int {
	dims := slices.Clone(t.dims)
	switch g.IntN(6) {
	case 0:
		dims = nil
	case 1, 2: // some axes of size 1
		for i := range dims {
			if g.IntN(2) == 0 {
				dims[i] = 1
			}
		}
	case 3: // a vector along one axis
		if len(dims) > 1 {
			axis := g.IntN(len(dims))
			if g.IntN(2) == 0 {
				axis = len(dims) - 1
			}
			v := g.leaf(dtype, dims[axis:axis+1])
			u := g.terms[v]
			args := append(slices.Clone(dims), axis)
			if g.add(term{op: "Spread", in: []int{v}, dtype: dtype, dims: dims, args: args, lo: u.lo, hi: u.hi,
				exact: true, whole: u.whole, frac: u.frac}) {
				return g.last()
			}
		}
	}
	return g.leaf(dtype, dims)
}

func joined(a, b []int) []int {
	if len(a) == 0 {
		return slices.Clone(b)
	}
	dims := slices.Clone(a)
	for i, d := range b {
		dims[i] = max(dims[i], d)
	}
	return dims
}

func (g *generator) binary() bool {
	i, ok := g.pick(func(t *term) bool { return t.dtype != dtypes.Bool })
	if !ok {
		return false
	}
	j := g.partner(g.terms[i])
	if g.IntN(2) == 0 {
		i, j = j, i
	}
	a, b := g.terms[i], g.terms[j]
	t := term{in: []int{i, j}, dtype: a.dtype, dims: joined(a.dims, b.dims), exact: a.exact && b.exact,
		whole: max(a.whole, b.whole), frac: max(a.frac, b.frac)}
	corners := func(f func(x, y float64) float64) {
		v := []float64{f(a.lo, b.lo), f(a.lo, b.hi), f(a.hi, b.lo), f(a.hi, b.hi)}
		t.lo, t.hi = slices.Min(v), slices.Max(v)
	}
	switch g.IntN(9) {
	case 0, 1:
		t.op = "Add"
		t.whole++
		corners(func(x, y float64) float64 { return x + y })
	case 2:
		t.op = "Sub"
		t.whole++
		corners(func(x, y float64) float64 { return x - y })
	case 3, 4:
		t.op, t.whole, t.frac = "Mul", a.whole+b.whole, a.frac+b.frac
		corners(func(x, y float64) float64 { return x * y })
	case 5:
		if b.lo < 0.1 && b.hi > -0.1 || !t.float() || i == j { // the gradient of x/x is 0, less than what it rounds
			return false
		}
		t.op, t.exact = "Div", false
		corners(func(x, y float64) float64 { return x / y })
	case 6:
		if !t.float() || a.lo < 0.1 || max(-b.lo, b.hi) > 3 || max(a.hi, 1/a.lo) > 10 {
			return false
		}
		t.op, t.exact = "Pow", false
		corners(math.Pow)
	case 7:
		t.op, t.lo, t.hi = "Max", max(a.lo, b.lo), max(a.hi, b.hi)
	case 8:
		t.op, t.lo, t.hi = "Min", min(a.lo, b.lo), min(a.hi, b.hi)
	}
	if (t.op == "Max" || t.op == "Min") && g.gradients && !t.exact {
		return false
	}
	return g.add(t)
}

func (g *generator) compare() bool {
	i, ok := g.pick(func(t *term) bool { return t.exact && t.dtype != dtypes.Bool })
	if !ok {
		return false
	}
	j := g.partner(g.terms[i])
	if !g.terms[j].exact {
		j = g.leafLike(g.terms[i], g.terms[i].dtype)
	}
	if g.IntN(2) == 0 {
		i, j = j, i
	}
	op := []string{"Equal", "NotEqual", "LessThan", "LessOrEqual", "GreaterThan", "GreaterOrEqual"}[g.IntN(6)]
	return g.add(term{op: op, in: []int{i, j}, dtype: dtypes.Bool, dims: joined(g.terms[i].dims, g.terms[j].dims),
		hi: 1, exact: true})
}

func isBool(t *term) bool { return t.dtype == dtypes.Bool }

func (g *generator) logical() bool {
	i, ok := g.pick(isBool)
	if !ok {
		return false
	}
	t := term{in: []int{i}, dtype: dtypes.Bool, dims: g.terms[i].dims, hi: 1, exact: true}
	if g.IntN(4) == 0 {
		t.op = "LogicalNot"
		return g.add(t)
	}
	j := g.partner(g.terms[i])
	t.op, t.in, t.dims = []string{"LogicalAnd", "LogicalOr", "LogicalXor"}[g.IntN(3)], []int{i, j},
		joined(t.dims, g.terms[j].dims)
	return g.add(t)
}

// same finds or makes a term of exactly these dimensions.
func (g *generator) same(dtype dtypes.DType, dims []int) int {
	if i, ok := g.pick(func(u *term) bool { return u.dtype == dtype && slices.Equal(u.dims, dims) }); ok {
		return i
	}
	return g.leaf(dtype, dims)
}

func (g *generator) where() bool {
	i, ok := g.pick(func(t *term) bool { return t.dtype != dtypes.Bool })
	if !ok {
		return false
	}
	c, j := g.same(dtypes.Bool, g.terms[i].dims), g.same(g.terms[i].dtype, g.terms[i].dims)
	if g.IntN(4) == 0 {
		j = g.leaf(g.terms[i].dtype, nil)
	}
	if g.IntN(2) == 0 {
		i, j = j, i
	}
	a, b := g.terms[i], g.terms[j]
	return g.add(term{op: "Where", in: []int{c, i, j}, dtype: a.dtype, dims: g.terms[c].dims, lo: min(a.lo, b.lo),
		hi:    max(a.hi, b.hi),
		exact: a.exact && b.exact, whole: max(a.whole, b.whole), frac: max(a.frac, b.frac)})
}

func (g *generator) convert() bool {
	i, _ := g.pick(func(*term) bool { return true })
	t := g.terms[i]
	to := []dtypes.DType{dtypes.Float32, dtypes.Float32, dtypes.BFloat16, dtypes.BFloat16, dtypes.Float16,
		dtypes.Float64, dtypes.Int32, dtypes.Bool}[g.IntN(8)]
	out := term{op: "Convert", in: []int{i}, dtype: to, dims: t.dims, lo: t.lo, hi: t.hi, exact: t.exact,
		whole: t.whole, frac: t.frac}
	switch to {
	case dtypes.Int32:
		if !t.exact {
			return false
		}
		out.lo, out.hi, out.frac = math.Floor(t.lo), math.Ceil(t.hi), 0
	case dtypes.Bool:
		if !t.exact {
			return false
		}
		out.lo, out.hi, out.whole, out.frac = 0, 1, 0, 0
	}
	return g.add(out)
}

func (g *generator) someAxes(rank int) []int {
	n := 1 + g.IntN(rank)
	axes := g.Perm(rank)[:n]
	slices.Sort(axes)
	return axes
}

func without(dims, axes []int) []int {
	out := []int{}
	for i, d := range dims {
		if !slices.Contains(axes, i) {
			out = append(out, d)
		}
	}
	return out
}

func log2Ceil(n int) int { return int(math.Ceil(math.Log2(float64(n)))) }

func (g *generator) reduce() bool {
	i, ok := g.pick(func(t *term) bool { return t.dtype != dtypes.Bool && len(t.dims) > 0 })
	if !ok {
		return false
	}
	x := g.terms[i]
	axes := g.someAxes(len(x.dims))
	t := term{in: []int{i}, dtype: x.dtype, dims: without(x.dims, axes), args: axes, exact: x.exact, whole: x.whole,
		frac: x.frac}
	n := x.size() / max(product(t.dims), 1)
	f := float64(n)
	switch g.IntN(7) {
	case 0, 1, 2:
		t.op, t.lo, t.hi, t.whole = "ReduceSum", x.lo*f, x.hi*f, x.whole+log2Ceil(n)
	case 3:
		if !x.float() {
			return false
		}
		t.op, t.lo, t.hi, t.exact = "ReduceMean", x.lo, x.hi, false
	case 4:
		t.op, t.lo, t.hi = "ReduceMax", x.lo, x.hi
	case 5:
		t.op, t.lo, t.hi = "ReduceMin", x.lo, x.hi
	case 6:
		m := math.Pow(max(-x.lo, x.hi), f)
		t.op, t.lo, t.hi, t.exact = "ReduceMultiply", -max(m, 1), max(m, 1), false
		if !x.float() || g.gradients {
			return false
		}
	}
	if (t.op == "ReduceMax" || t.op == "ReduceMin") && !g.smooth(&x) {
		return false
	}
	return g.add(t)
}

func (g *generator) softmax() bool {
	i, ok := g.pick(func(t *term) bool { return t.float() && len(t.dims) > 0 && max(-t.lo, t.hi) < 20 })
	if !ok {
		return false
	}
	x := g.terms[i]
	t := term{op: "Softmax", in: []int{i}, dtype: x.dtype, dims: x.dims, args: []int{g.IntN(len(x.dims))}, lo: 0, hi: 1}
	if g.IntN(2) == 0 {
		t.op, t.lo, t.hi = "LogSoftmax", -60, 0.1
	}
	return g.add(t)
}

func (g *generator) pickRank(least int) (int, bool) {
	return g.pick(func(t *term) bool { return len(t.dims) >= least })
}

// moved is a term with the values of another in another order.
func moved(op string, i int, x term, dims, args []int) term {
	x.op, x.in, x.dims, x.args = op, []int{i}, slices.Clone(dims), slices.Clone(args)
	return x
}

func (g *generator) transpose() bool {
	i, ok := g.pickRank(2)
	if !ok {
		return false
	}
	x := g.terms[i]
	perm := g.Perm(len(x.dims))
	dims := make([]int, len(perm))
	for k, from := range perm {
		dims[k] = x.dims[from]
	}
	return g.add(moved("Transpose", i, x, dims, perm))
}

func (g *generator) reshape() bool {
	i, ok := g.pickRank(0)
	if !ok {
		return false
	}
	x := g.terms[i]
	dims := slices.Clone(x.dims)
	for range 1 + g.IntN(3) {
		at := g.IntN(len(dims) + 1)
		switch g.IntN(3) {
		case 0:
			dims = slices.Insert(dims, at, 1)
		case 1: // two axes become one
			if at+1 < len(dims) {
				dims[at] *= dims[at+1]
				dims = slices.Delete(dims, at+1, at+2)
			}
		case 2: // one becomes two
			if at < len(dims) {
				for _, f := range []int{2, 3, 5, 7} {
					if dims[at]%f == 0 {
						dims[at] /= f
						dims = slices.Insert(dims, at+g.IntN(2), f)
						break
					}
				}
			}
		}
	}
	return g.add(moved("Reshape", i, x, dims, dims))
}

func (g *generator) slice() bool {
	i, ok := g.pickRank(1)
	if !ok {
		return false
	}
	x := g.terms[i]
	var dims, args []int
	for _, d := range x.dims {
		start, limit, stride := 0, d, 1
		if g.IntN(2) == 0 {
			start = g.IntN(d)
			limit = start + 1 + g.IntN(d-start)
		}
		if g.IntN(4) == 0 {
			stride = 1 + g.IntN(3)
		}
		dims, args = append(dims, (limit-start+stride-1)/stride), append(args, start, limit, stride)
	}
	return g.add(moved("Slice", i, x, dims, args))
}

func (g *generator) concat() bool {
	i, ok := g.pickRank(1)
	if !ok {
		return false
	}
	x := g.terms[i]
	axis := g.IntN(len(x.dims))
	t := moved("Concatenate", i, x, x.dims, []int{axis})
	for range 1 + g.IntN(2) {
		j, ok := g.pick(func(u *term) bool {
			return u.dtype == x.dtype && len(u.dims) == len(x.dims) &&
				slices.Equal(without(u.dims, []int{axis}), without(x.dims, []int{axis}))
		})
		if !ok {
			j = g.leaf(x.dtype, x.dims)
		}
		y := g.terms[j]
		t.in, t.dims[axis] = append(t.in, j), t.dims[axis]+y.dims[axis]
		t.lo, t.hi, t.exact, t.whole, t.frac = min(t.lo, y.lo), max(t.hi, y.hi), t.exact &&
			y.exact, max(t.whole, y.whole), max(t.frac, y.frac)
	}
	return g.add(t)
}

func (g *generator) pad() bool {
	i, ok := g.pick(func(t *term) bool { return len(t.dims) > 0 && t.dtype != dtypes.Bool })
	if !ok {
		return false
	}
	x := g.terms[i]
	var dims, args []int
	for _, d := range x.dims {
		start, end, interior := 0, 0, 0
		if g.IntN(2) == 0 {
			start, end = g.IntN(3), g.IntN(3)
		}
		if g.IntN(4) == 0 {
			interior = g.IntN(3)
		}
		dims, args = append(dims, start+end+d+(d-1)*interior), append(args, start, end, interior)
	}
	t := moved("Pad", i, x, dims, args)
	if g.IntN(3) == 0 {
		y := g.leaf(x.dtype, nil)
		t.in = append(t.in, y)
		t.lo, t.hi, t.whole, t.frac = min(t.lo, g.terms[y].lo), max(t.hi, g.terms[y].hi),
			max(t.whole, g.terms[y].whole), max(t.frac, g.terms[y].frac)
	} else {
		t.lo, t.hi = min(t.lo, 0), max(t.hi, 0)
	}
	return g.add(t)
}

func (g *generator) reverse() bool {
	i, ok := g.pickRank(1)
	if !ok {
		return false
	}
	x := g.terms[i]
	return g.add(moved("Reverse", i, x, x.dims, g.someAxes(len(x.dims))))
}

// spread broadcasts: args are the new dimensions and, after them, the axes that the operand's go to.
func (g *generator) spread() bool {
	i, ok := g.pick(func(t *term) bool { return len(t.dims) <= 4 && t.size()*2 <= g.budget })
	if !ok {
		return false
	}
	x := g.terms[i]
	dims, to, k := []int{}, []int{}, 0
	for k < len(x.dims) || len(dims) == 0 || len(dims) < 5 && g.IntN(3) == 0 {
		if k < len(x.dims) && g.IntN(3) > 0 {
			d := x.dims[k]
			if d == 1 && g.IntN(2) == 0 {
				d = 1 + g.IntN(4)
			}
			to, dims = append(to, len(dims)), append(dims, d)
			k++
		} else {
			dims = append(dims, 1+g.IntN(4))
		}
	}
	return g.add(moved("Spread", i, x, dims, append(slices.Clone(dims), to...)))
}

// product is an Einstein sum: args are the letters of both operands' axes and the result's, each list ended by -1.
func (g *generator) product() bool {
	i, ok := g.pick(func(t *term) bool { return t.float() && len(t.dims) > 0 && len(t.dims) <= 4 })
	if !ok {
		return false
	}
	x := g.terms[i]
	var left, right, out, rightDims, outDims []int
	contracted := 1
	for axis, d := range x.dims {
		left = append(left, axis)
		switch g.IntN(4) {
		case 0: // batch
			right, rightDims, out, outDims = append(right, axis), append(rightDims, d), append(out, axis),
				append(outDims, d)
		case 1: // free
			out, outDims = append(out, axis), append(outDims, d)
		default:
			right, rightDims = append(right, axis), append(rightDims, d)
			contracted *= d
		}
	}
	for k := range g.IntN(3) {
		d := []int{1, 2, 3, 5, 8, 16}[g.IntN(6)]
		right, rightDims, out, outDims = append(right, 10+k), append(rightDims, d), append(out, 10+k),
			append(outDims, d)
	}
	if g.IntN(2) == 0 && !g.gradients { // GoMLX's gradients want contracted axes in the same order
		g.Shuffle(len(right), func(a, b int) {
			right[a], right[b] = right[b], right[a]
			rightDims[a], rightDims[b] = rightDims[b], rightDims[a]
		})
	}
	if g.IntN(3) == 0 {
		g.Shuffle(len(out), func(a, b int) {
			out[a], out[b] = out[b], out[a]
			outDims[a], outDims[b] = outDims[b],
				outDims[a]
		})
	}
	if product(rightDims) > 4*g.budget || product(outDims) > 4*g.budget || contracted*product(outDims) > 1<<20 {
		return false
	}
	j := g.same(x.dtype, rightDims)
	y := g.terms[j]
	most := max(-x.lo, x.hi) * max(-y.lo, y.hi) * float64(contracted)
	args := append(append(append(append(append(slices.Clone(left), -1), right...), -1), out...), -1)
	return g.add(term{op: "Einsum", in: []int{i, j}, dtype: x.dtype, dims: outDims, args: args, lo: -most, hi: most,
		exact: x.exact && y.exact, whole: x.whole + y.whole + log2Ceil(contracted), frac: x.frac + y.frac})
}

// Arguments of a convolution, in this order; those of each spatial axis follow, and then the axes.
const (
	convGroups = iota
	convBatchGroups
	convSame // whether the padding keeps the size
	convPerAxis
)

// Arguments for each spatial axis, after convPerAxis.
const (
	axisStride = iota
	axisDilation
	axisInputDilation
	axisPadLo
	axisPadHi
	axisArgs
)

func (g *generator) convolution() bool {
	i, ok := g.pick(func(t *term) bool { return t.float() && len(t.dims) >= 3 && len(t.dims) <= 5 })
	if !ok || g.IntN(3) == 0 {
		spatial := 1 + g.IntN(3)
		dims := []int{1 + g.IntN(3)}
		for range spatial {
			dims = append(dims, 3+g.IntN(6))
		}
		dims = append(dims, []int{1, 2, 3, 4, 6, 8, 16}[g.IntN(7)])
		if g.budget > 1000 {
			dims[0] += g.IntN(3)
		}
		if product(dims) > 4*g.budget {
			return false
		}
		i = g.leaf(g.main, dims)
	}
	x := g.terms[i]
	n := len(x.dims) - 2
	// Axes of the input, the kernel and the output: batch (output channels for the kernel), channels, spatial.
	inAxes, kernelAxes, outAxes := g.Perm(n+2), g.Perm(n+2), g.Perm(n+2)
	layout := g.IntN(4)
	if g.gradients { // GoMLX has gradients for the two usual orders only
		layout %= 3
	}
	switch layout {
	case 0: // channels first
		for k := range n + 2 {
			inAxes[k], kernelAxes[k], outAxes[k] = k, k, k
		}
	case 1, 2: // channels last
		inAxes[0], inAxes[1], outAxes[0], outAxes[1], kernelAxes[0], kernelAxes[1] = 0, n+1, 0, n+1, n+1, n
		for k := range n {
			inAxes[2+k], outAxes[2+k], kernelAxes[2+k] = k+1, k+1, k
		}
	}
	batch, channels := x.dims[inAxes[0]], x.dims[inAxes[1]]
	outChannels := []int{1, 2, 3, 4, 6, 8, 16}[g.IntN(7)]
	args := []int{1, 1, 0}
	if !g.gradients && g.IntN(4) == 0 {
		groups := []int{2, 3, channels}[g.IntN(3)]
		if channels%groups != 0 {
			return false
		}
		args[convGroups], outChannels = groups, outChannels*groups
		// other axes fail in GoMLX's Go backend
	} else if !g.gradients && g.IntN(12) == 0 && batch%2 == 0 && inAxes[0] == outAxes[0] {
		args[convBatchGroups], outChannels = 2, outChannels*2
		batch /= 2
	}
	kernelDims, outDims := make([]int, n+2), make([]int, n+2)
	kernelDims[kernelAxes[0]], kernelDims[kernelAxes[1]] = outChannels, channels/args[convGroups]
	outDims[outAxes[0]], outDims[outAxes[1]] = batch, outChannels
	strided, same := g.IntN(2) == 0, g.IntN(4) == 0
	if same {
		args[convSame] = 1
	}
	terms := kernelDims[kernelAxes[1]]
	for k := range n {
		kernel, stride, dilation, inputDilation, lo, hi := 1+2*g.IntN(2), 1, 1, 1, 0, 0
		if !g.gradients && g.IntN(4) == 0 {
			kernel = 2 + 2*g.IntN(2)
		}
		if g.IntN(12) == 0 {
			kernel = 5
		}
		if strided {
			stride = 1 + g.IntN(3)
		} else if g.IntN(3) == 0 {
			dilation = 2
		}
		if !g.gradients && g.IntN(6) == 0 {
			inputDilation = 2
		}
		extent := (kernel-1)*dilation + 1
		if same {
			lo, hi = (extent-1)/2, extent/2
		} else if g.IntN(2) == 0 {
			lo, hi = g.IntN(extent+1), g.IntN(extent+1)
		}
		if g.gradients { // GoMLX has no gradients for wider padding
			lo, hi = min(lo, (kernel-1)/2), min(hi, (kernel-1)/2)
			args[convSame] = 0
		}
		size := (x.dims[inAxes[2+k]]-1)*inputDilation + 1 + lo + hi - extent
		if size < 0 {
			return false
		}
		kernelDims[kernelAxes[2+k]], outDims[outAxes[2+k]] = kernel, size/stride+1
		terms *= kernel
		args = append(args, stride, dilation, inputDilation, lo, hi)
	}
	args = append(append(append(args, inAxes...), kernelAxes...), outAxes...)
	if product(kernelDims) > 4*g.budget || terms*product(outDims) > 1<<19 {
		return false
	}
	j := g.same(x.dtype, kernelDims)
	y := g.terms[j]
	most := max(-x.lo, x.hi) * max(-y.lo, y.hi) * float64(terms)
	ok = g.add(term{op: "Conv", in: []int{i, j}, dtype: x.dtype, dims: outDims, args: args, lo: -most, hi: most,
		exact: x.exact && y.exact, whole: x.whole + y.whole + log2Ceil(terms), frac: x.frac + y.frac})
	if ok && g.IntN(3) == 0 { // a bias
		c := g.last()
		v := g.leaf(x.dtype, []int{outChannels})
		a, b := g.terms[c], g.terms[v]
		if g.add(moved("Spread", v, b, outDims, append(slices.Clone(outDims), outAxes[1]))) {
			g.add(term{op: "Add", in: []int{c, g.last()}, dtype: x.dtype, dims: outDims, lo: a.lo + b.lo,
				hi:    a.hi + b.hi,
				exact: a.exact && b.exact, whole: max(a.whole, b.whole) + 1, frac: max(a.frac, b.frac)})
		}
	}
	return ok
}

func (g *generator) batchNorm() bool {
	i, ok := g.pick(func(t *term) bool { return t.float() && len(t.dims) >= 2 })
	if !ok {
		return false
	}
	x := g.terms[i]
	axis := g.IntN(len(x.dims))
	if g.IntN(2) == 0 {
		axis = len(x.dims) - 1
	}
	c := x.dims[axis : axis+1]
	if x.size() == c[0] {
		return false
	}
	scale, offset := g.leaf(x.dtype, c), g.leaf(x.dtype, c)
	t := term{op: "BatchNormTraining", in: []int{i, scale, offset}, dtype: x.dtype, dims: x.dims, args: []int{axis}}
	most := 4*math.Sqrt(float64(x.size()/c[0])) + 4
	if !g.gradients && g.IntN(3) == 0 {
		mean, variance := g.leafIn(x.dtype, c, -1, 1), g.leafIn(x.dtype, c, 0.25, 1)
		t.op, t.in = "BatchNormInference", append(t.in, mean, variance)
		most = 4*3*(max(-x.lo, x.hi)+1) + 4
	}
	t.lo, t.hi = -most, most
	return g.add(t)
}

// pool averages or maximizes over windows of 2 of the inner axes of [batch, …, channels].
func (g *generator) pool() bool {
	i, ok := g.pick(func(t *term) bool {
		return t.float() && len(t.dims) >= 3 && len(t.dims) <= 5 && slices.Min(t.dims[1:len(t.dims)-1]) >= 2
	})
	if !ok {
		return false
	}
	x := g.terms[i]
	dims := slices.Clone(x.dims)
	for k := 1; k < len(dims)-1; k++ {
		dims[k] /= 2
	}
	t := moved("MaxPool", i, x, dims, nil)
	if g.IntN(2) == 0 {
		t.op, t.exact = "MeanPool", false
	} else if !g.smooth(&x) {
		return false
	}
	return g.add(t)
}

func (g *generator) argMax() bool {
	i, ok := g.pick(func(t *term) bool { return t.exact && t.dtype != dtypes.Bool && len(t.dims) > 0 })
	if !ok {
		return false
	}
	x := g.terms[i]
	axis := g.IntN(len(x.dims))
	return g.add(term{op: []string{"ArgMax", "ArgMin"}[g.IntN(2)], in: []int{i}, dtype: dtypes.Int32,
		dims: without(x.dims, []int{axis}), args: []int{axis},
		hi: float64(x.dims[axis]), exact: true, whole: log2Ceil(x.dims[axis])})
}

// gather takes rows of the first axis; the indices are a leaf of integers.
func (g *generator) gather() bool {
	i, ok := g.pick(func(t *term) bool {
		// the Go backend scatters no narrow floats
		return t.float() && len(t.dims) > 0 && (!g.gradients || t.digits() >= 24)
	})
	if !ok {
		return false
	}
	x := g.terms[i]
	n := 1 + g.IntN(5)
	rows := g.leafIn(dtypes.Int32, []int{n, 1}, 0, 1)
	g.terms[rows].hi, g.terms[rows].whole = float64(x.dims[0]-1), log2Ceil(x.dims[0])+1
	g.terms[rows].op = "Parameter"
	t := moved("Gather", i, x, append([]int{n}, x.dims[1:]...), nil)
	t.in = append(t.in, rows)
	return g.add(t)
}
