package graph

import (
	"reflect"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/notimplemented"
	"github.com/gomlx/compute/shapes"
	"github.com/pkg/errors"
)

// builder records functions. Beside every function it builds the same one on GoMLX's Go backend, its shadow: the
// shadow infers shapes and refuses what is wrong.
type builder struct {
	notimplemented.Builder
	target Target
	name   string
	shadow compute.Builder
	main   *Function
	done   bool
}

// Target is what computations are recorded for.
type Target struct {
	Compile func(name string, g *Graph) (compute.Executable, error)
	Attends func(dtype dtypes.DType) bool // whether attention on this type of floats is one operation
}

// New makes a builder beside one of the Go backend, its shadow.
func New(name string, shadow compute.Builder, to Target) compute.Builder {
	b := &builder{target: to, name: name, shadow: shadow}
	b.main = &Function{builder: b, name: compute.MainName, shadow: shadow.Main()}
	return b
}

func (b *builder) Name() string           { return b.name }
func (b *builder) Main() compute.Function { return b.main }

func (b *builder) NewFunction(name string) (compute.Function, error) {
	shadow, err := b.shadow.NewFunction(name)
	if err != nil {
		return nil, err
	}
	return &Function{builder: b, name: name, shadow: shadow}, nil
}

func (b *builder) OpShape(v compute.Value) (shapes.Shape, error) {
	if r, ok := v.(*Result); ok && r != nil {
		return r.Shape(), nil
	}
	return shapes.Invalid(), errors.Errorf("onednn: OpShape got a %T, which no function of this backend returned", v)
}

func (b *builder) DeviceAssignment(devices ...compute.DeviceNum) error {
	if len(devices) != 1 || devices[0] != 0 {
		return errors.Errorf("onednn: there is one device, number 0; got the assignment %v", devices)
	}
	return nil
}

func (b *builder) DistributedSPMD(devices int) error { return b.shadow.DistributedSPMD(devices) }

func (b *builder) DistributedAutoSharding(meshes ...compute.Mesh) error {
	return b.shadow.DistributedAutoSharding(meshes...)
}

func (b *builder) Compile() (compute.Executable, error) {
	if b.done {
		return nil, errors.Errorf("onednn: computation %q was compiled already", b.name)
	}
	if !b.main.returned {
		return nil, errors.Errorf("onednn: Compile of %q before its main function's Return", b.name)
	}
	b.done = true
	return b.target.Compile(b.name, &Graph{Nodes: b.main.nodes, Params: b.main.params, Names: b.main.names,
		Outputs: b.main.outputs})
}

// Node is one recorded operation, or one that a pass of the compiler made.
type Node struct {
	Op     compute.OpType
	In     []*Result
	Out    []*Result
	Shapes []shapes.Shape
	Attr   any // what the compiler needs to know beyond inputs and shapes
	Replay Replay
	Owner  *Function
}

// Replay records the operation again in another function, where its inputs are in.
type Replay func(g compute.Function, in []Value) ([]Value, error)

// Result is one output of a node; it is the compute.Value of this backend.
type Result struct {
	Node   *Node
	Index  int
	shadow compute.Value
}

func (r *Result) Shape() shapes.Shape { return r.Node.Shapes[r.Index] }
func (r *Result) IsEmpty() bool       { return r.Shape().Size() == 0 }

// Function records one function: main, a named one or a closure.
type Function struct {
	notimplemented.Function
	builder  *builder
	name     string
	parent   *Function
	shadow   compute.Function
	nodes    []*Node
	params   []*Result
	names    []string
	outputs  []*Result
	returned bool
}

func (f *Function) Name() string             { return f.name }
func (f *Function) Builder() compute.Builder { return f.builder }

func (f *Function) Parent() compute.Function {
	if f.parent == nil {
		return nil
	}
	return f.parent
}

func (f *Function) Closure() (compute.Function, error) {
	shadow, err := f.shadow.Closure()
	if err != nil {
		return nil, err
	}
	return &Function{builder: f.builder, parent: f, shadow: shadow}, nil
}

func (f *Function) Shape(v compute.Value) (shapes.Shape, error) { return f.builder.OpShape(v) }

// visible reports whether a value of function of may be used in f: its own or an enclosing function's.
func (f *Function) visible(of *Function) bool {
	for g := f; g != nil; g = g.parent {
		if g == of {
			return true
		}
	}
	return false
}

func (f *Function) operands(op compute.OpType, in []Value) ([]*Result, []Value, error) {
	if f.returned {
		return nil, nil, errors.Errorf("onednn: %s was added to function %q after its Return", op, f.name)
	}
	results, shadows := make([]*Result, len(in)), make([]Value, len(in))
	for i, v := range in {
		r, ok := v.(*Result)
		if !ok || r == nil {
			return nil, nil, errors.Errorf("onednn: operand #%d of %s is a %T, which no function of this backend "+
				"returned", i, op, v)
		}
		if !f.visible(r.Node.Owner) {
			return nil, nil, errors.Errorf("onednn: operand #%d of %s belongs to a different function", i, op)
		}
		results[i], shadows[i] = r, r.shadow
	}
	return results, shadows, nil
}

// record adds an operation: its shadow first, which checks it, then the node.
func (f *Function) record(op compute.OpType, attr any, again Replay, in ...Value) ([]Value, error) {
	results, shadows, err := f.operands(op, in)
	if err != nil {
		return nil, err
	}
	shadowOut, err := again(f.shadow, shadows)
	if err != nil {
		return nil, err
	}
	n := &Node{Op: op, In: results, Attr: attr, Replay: again, Owner: f}
	return f.add(n, shadowOut)
}

func (f *Function) record1(op compute.OpType, attr any, again func(compute.Function, []Value) (Value, error),
	in ...Value) (Value, error) {
	out, err := f.record(op, attr, func(g compute.Function, in []Value) ([]Value, error) {
		v, err := again(g, in)
		return []Value{v}, err
	}, in...)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

func (f *Function) add(n *Node, shadows []Value) ([]Value, error) {
	out := make([]Value, len(shadows))
	for i, s := range shadows {
		shape, err := f.builder.shadow.OpShape(s)
		if err != nil {
			return nil, err
		}
		n.Shapes = append(n.Shapes, shape)
		r := &Result{Node: n, Index: i, shadow: s}
		n.Out = append(n.Out, r)
		out[i] = r
	}
	f.nodes = append(f.nodes, n)
	return out, nil
}

func (f *Function) Parameter(name string, shape shapes.Shape, sharding *compute.ShardingSpec) (compute.Value, error) {
	if _, _, err := f.operands(compute.OpTypeParameter, nil); err != nil {
		return nil, err
	}
	shadow, err := f.shadow.Parameter(name, shape, sharding)
	if err != nil {
		return nil, err
	}
	n := &Node{Op: compute.OpTypeParameter, Attr: len(f.params), Owner: f}
	if _, err := f.add(n, []Value{shadow}); err != nil {
		return nil, err
	}
	f.params, f.names = append(f.params, n.Out[0]), append(f.names, name)
	return n.Out[0], nil
}

func (f *Function) Constant(flat any, dims ...int) (compute.Value, error) {
	if v := reflect.ValueOf(flat); v.Kind() == reflect.Slice { // a copy: the caller's may change
		own := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(own, v)
		flat = own.Interface()
	}
	dims = slices.Clone(dims)
	return f.record1(compute.OpTypeConstant, FlatBytes(flat), func(g compute.Function, _ []Value) (Value, error) {
		return g.Constant(flat, dims...)
	})
}

func (f *Function) Return(outputs []compute.Value, shardings []*compute.ShardingSpec) error {
	results, shadows, err := f.operands(compute.OpTypeInvalid, outputs)
	if err != nil {
		return err
	}
	if err := f.shadow.Return(shadows, shardings); err != nil {
		return err
	}
	f.outputs, f.returned = results, true
	return nil
}

// inline records f's nodes in g, with f's parameters and captured values bound to those given.
func (f *Function) inline(g compute.Function, bound map[*Result]Value) ([]Value, error) {
	for _, n := range f.nodes {
		if n.Op == compute.OpTypeParameter {
			continue
		}
		in := make([]Value, len(n.In))
		for i, r := range n.In {
			v, ok := bound[r]
			if !ok {
				return nil, errors.Errorf("onednn: operand #%d of %s in function %q is not bound", i, n.Op, f.name)
			}
			in[i] = v
		}
		out, err := n.Replay(g, in)
		if err != nil {
			return nil, err
		}
		for i, r := range n.Out {
			bound[r] = out[i]
		}
	}
	out := make([]Value, len(f.outputs))
	for i, r := range f.outputs {
		out[i] = bound[r]
	}
	return out, nil
}

// captured returns the values of enclosing functions that f and its closures use.
func (f *Function) captured() []*Result {
	var found []*Result
	seen := map[*Result]bool{}
	use := func(r *Result) {
		if r.Node.Owner != f && !seen[r] {
			seen[r] = true
			found = append(found, r)
		}
	}
	for _, n := range f.nodes {
		for _, r := range n.In {
			use(r)
		}
	}
	for _, r := range f.outputs {
		use(r)
	}
	return found
}

// closureIn rebuilds f as a closure of g.
func (f *Function) closureIn(g compute.Function, captured map[*Result]Value) (compute.Function, error) {
	c, err := g.Closure()
	if err != nil {
		return nil, err
	}
	bound := make(map[*Result]Value, len(captured)+len(f.params))
	for r, v := range captured {
		bound[r] = v
	}
	for i, p := range f.params {
		if bound[p], err = c.Parameter(f.names[i], p.Shape(), nil); err != nil {
			return nil, err
		}
	}
	out, err := f.inline(c, bound)
	if err != nil {
		return nil, err
	}
	return c, c.Return(out, nil)
}

// recordWith records an operation that takes closures. What they capture becomes further inputs of the node, so that
// data dependencies are all a node's edges.
func (f *Function) recordWith(op compute.OpType, closures []compute.Function,
	again func(g compute.Function, closures []compute.Function, in []Value) ([]Value, error), in ...Value) ([]Value,
	error) {
	recorded := make([]*Function, len(closures))
	var captured []*Result
	operands := append([]Value(nil), in...)
	for i, c := range closures {
		r, ok := c.(*Function)
		if !ok || r == nil || r.builder != f.builder || !r.returned {
			return nil, errors.Errorf("onednn: closure #%d of %s must be a function of the same builder that has "+
				"returned", i, op)
		}
		recorded[i] = r
		for _, v := range r.captured() {
			captured = append(captured, v)
			operands = append(operands, v)
		}
	}
	own := len(in)
	return f.record(op, nil, func(g compute.Function, in []Value) ([]Value, error) {
		bound := map[*Result]Value{}
		for i, r := range captured {
			bound[r] = in[own+i]
		}
		rebuilt := make([]compute.Function, len(recorded))
		for i, r := range recorded {
			var err error
			if rebuilt[i], err = r.closureIn(g, bound); err != nil {
				return nil, err
			}
		}
		return again(g, rebuilt, in[:own])
	}, operands...)
}

func (f *Function) Call(callee compute.Function, inputs ...compute.Value) ([]compute.Value, error) {
	c, ok := callee.(*Function)
	if !ok || c == nil || c.builder != f.builder || !c.returned {
		return nil, errors.Errorf("onednn: Call needs a function of the same builder that has returned")
	}
	if len(inputs) != len(c.params) {
		return nil, errors.Errorf("onednn: Call of %q with %d inputs, it has %d parameters", c.name, len(inputs),
			len(c.params))
	}
	bound := map[*Result]Value{}
	for i, p := range c.params {
		shape, err := f.builder.OpShape(inputs[i])
		if err != nil {
			return nil, err
		}
		if !shape.Equal(p.Shape()) {
			return nil, errors.Errorf("onednn: Call of %q: input #%d has shape %s, parameter %q wants %s", c.name, i,
				shape, c.names[i], p.Shape())
		}
		bound[p] = inputs[i]
	}
	return c.inline(f, bound)
}

func (f *Function) Sort(comparator compute.Function, axis int, stable bool, inputs ...compute.Value) ([]compute.Value,
	error) {
	return f.recordWith(compute.OpTypeSort, []compute.Function{comparator},
		func(g compute.Function, c []compute.Function, in []Value) ([]Value, error) {
			return g.Sort(c[0], axis, stable, in...)
		}, inputs...)
}

func (f *Function) While(cond, body compute.Function, initial ...compute.Value) ([]compute.Value, error) {
	return f.recordWith(compute.OpTypeWhile, []compute.Function{cond, body},
		func(g compute.Function, c []compute.Function, in []Value) ([]Value, error) {
			return g.While(c[0], c[1], in...)
		}, initial...)
}

func (f *Function) If(predicate compute.Value, onTrue, onFalse compute.Function) ([]compute.Value, error) {
	return f.recordWith(compute.OpTypeIf, []compute.Function{onTrue, onFalse},
		func(g compute.Function, c []compute.Function, in []Value) ([]Value, error) {
			return g.If(in[0], c[0], c[1])
		}, predicate)
}
