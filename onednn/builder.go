package onednn

import (
	"reflect"
	"slices"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/notimplemented"
	"github.com/gomlx/compute/shapes"
	"github.com/pkg/errors"
)

// builder records functions. Beside every function it builds the same one on GoMLX's Go backend, its shadow: the
// shadow infers shapes and refuses what is wrong.
type builder struct {
	notimplemented.Builder
	backend *Backend
	name    string
	shadow  compute.Builder
	main    *function
	done    bool
}

func (b *builder) Name() string           { return b.name }
func (b *builder) Main() compute.Function { return b.main }

func (b *builder) NewFunction(name string) (compute.Function, error) {
	shadow, err := b.shadow.NewFunction(name)
	if err != nil {
		return nil, err
	}
	return &function{builder: b, name: name, shadow: shadow}, nil
}

func (b *builder) OpShape(v compute.Value) (shapes.Shape, error) {
	if r, ok := v.(*result); ok && r != nil {
		return r.shape(), nil
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
	return compile(b.backend, b.main)
}

// node is one recorded operation, or one that a pass of the compiler made.
type node struct {
	op     compute.OpType
	in     []*result
	out    []*result
	shapes []shapes.Shape
	attr   any // what the compiler needs to know beyond inputs and shapes
	replay replay
	owner  *function
}

// replay records the operation again in another function, where its inputs are in.
type replay func(g compute.Function, in []value) ([]value, error)

// result is one output of a node; it is the compute.Value of this backend.
type result struct {
	node   *node
	index  int
	shadow compute.Value
}

func (r *result) shape() shapes.Shape { return r.node.shapes[r.index] }
func (r *result) isEmpty() bool       { return r.shape().Size() == 0 }

// function records one function: main, a named one or a closure.
type function struct {
	notimplemented.Function
	builder  *builder
	name     string
	parent   *function
	shadow   compute.Function
	nodes    []*node
	params   []*result
	names    []string
	outputs  []*result
	returned bool
}

func (f *function) Name() string             { return f.name }
func (f *function) Builder() compute.Builder { return f.builder }

func (f *function) Parent() compute.Function {
	if f.parent == nil {
		return nil
	}
	return f.parent
}

func (f *function) Closure() (compute.Function, error) {
	shadow, err := f.shadow.Closure()
	if err != nil {
		return nil, err
	}
	return &function{builder: f.builder, parent: f, shadow: shadow}, nil
}

func (f *function) Shape(v compute.Value) (shapes.Shape, error) { return f.builder.OpShape(v) }

// visible tells whether a value of function of may be used in f: its own or an enclosing function's.
func (f *function) visible(of *function) bool {
	for g := f; g != nil; g = g.parent {
		if g == of {
			return true
		}
	}
	return false
}

func (f *function) operands(op compute.OpType, in []value) ([]*result, []value, error) {
	if f.returned {
		return nil, nil, errors.Errorf("onednn: %s was added to function %q after its Return", op, f.name)
	}
	results, shadows := make([]*result, len(in)), make([]value, len(in))
	for i, v := range in {
		r, ok := v.(*result)
		if !ok || r == nil {
			return nil, nil, errors.Errorf("onednn: operand #%d of %s is a %T, which no function of this backend returned", i, op, v)
		}
		if !f.visible(r.node.owner) {
			return nil, nil, errors.Errorf("onednn: operand #%d of %s belongs to a different function", i, op)
		}
		results[i], shadows[i] = r, r.shadow
	}
	return results, shadows, nil
}

// record adds an operation: its shadow first, which checks it, then the node.
func (f *function) record(op compute.OpType, attr any, again replay, in ...value) ([]value, error) {
	results, shadows, err := f.operands(op, in)
	if err != nil {
		return nil, err
	}
	shadowOut, err := again(f.shadow, shadows)
	if err != nil {
		return nil, err
	}
	n := &node{op: op, in: results, attr: attr, replay: again, owner: f}
	return f.add(n, shadowOut)
}

func (f *function) record1(op compute.OpType, attr any, again func(compute.Function, []value) (value, error), in ...value) (value, error) {
	out, err := f.record(op, attr, func(g compute.Function, in []value) ([]value, error) {
		v, err := again(g, in)
		return []value{v}, err
	}, in...)
	if err != nil {
		return nil, err
	}
	return out[0], nil
}

func (f *function) add(n *node, shadows []value) ([]value, error) {
	out := make([]value, len(shadows))
	for i, s := range shadows {
		shape, err := f.builder.shadow.OpShape(s)
		if err != nil {
			return nil, err
		}
		n.shapes = append(n.shapes, shape)
		r := &result{node: n, index: i, shadow: s}
		n.out = append(n.out, r)
		out[i] = r
	}
	f.nodes = append(f.nodes, n)
	return out, nil
}

func (f *function) Parameter(name string, shape shapes.Shape, sharding *compute.ShardingSpec) (compute.Value, error) {
	if _, _, err := f.operands(compute.OpTypeParameter, nil); err != nil {
		return nil, err
	}
	shadow, err := f.shadow.Parameter(name, shape, sharding)
	if err != nil {
		return nil, err
	}
	n := &node{op: compute.OpTypeParameter, attr: len(f.params), owner: f}
	if _, err := f.add(n, []value{shadow}); err != nil {
		return nil, err
	}
	f.params, f.names = append(f.params, n.out[0]), append(f.names, name)
	return n.out[0], nil
}

func (f *function) Constant(flat any, dims ...int) (compute.Value, error) {
	if v := reflect.ValueOf(flat); v.Kind() == reflect.Slice { // a copy: the caller's may change
		own := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(own, v)
		flat = own.Interface()
	}
	dims = slices.Clone(dims)
	return f.record1(compute.OpTypeConstant, flatBytes(flat), func(g compute.Function, _ []value) (value, error) {
		return g.Constant(flat, dims...)
	})
}

func (f *function) Return(outputs []compute.Value, shardings []*compute.ShardingSpec) error {
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
func (f *function) inline(g compute.Function, bound map[*result]value) ([]value, error) {
	for _, n := range f.nodes {
		if n.op == compute.OpTypeParameter {
			continue
		}
		in := make([]value, len(n.in))
		for i, r := range n.in {
			v, ok := bound[r]
			if !ok {
				return nil, errors.Errorf("onednn: operand #%d of %s in function %q is not bound", i, n.op, f.name)
			}
			in[i] = v
		}
		out, err := n.replay(g, in)
		if err != nil {
			return nil, err
		}
		for i, r := range n.out {
			bound[r] = out[i]
		}
	}
	out := make([]value, len(f.outputs))
	for i, r := range f.outputs {
		out[i] = bound[r]
	}
	return out, nil
}

// captured returns the values of enclosing functions that f and its closures use.
func (f *function) captured() []*result {
	var found []*result
	seen := map[*result]bool{}
	use := func(r *result) {
		if r.node.owner != f && !seen[r] {
			seen[r] = true
			found = append(found, r)
		}
	}
	for _, n := range f.nodes {
		for _, r := range n.in {
			use(r)
		}
	}
	for _, r := range f.outputs {
		use(r)
	}
	return found
}

// closureIn rebuilds f as a closure of g.
func (f *function) closureIn(g compute.Function, captured map[*result]value) (compute.Function, error) {
	c, err := g.Closure()
	if err != nil {
		return nil, err
	}
	bound := make(map[*result]value, len(captured)+len(f.params))
	for r, v := range captured {
		bound[r] = v
	}
	for i, p := range f.params {
		if bound[p], err = c.Parameter(f.names[i], p.shape(), nil); err != nil {
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
func (f *function) recordWith(op compute.OpType, closures []compute.Function,
	again func(g compute.Function, closures []compute.Function, in []value) ([]value, error), in ...value) ([]value, error) {
	recorded := make([]*function, len(closures))
	var captured []*result
	operands := append([]value(nil), in...)
	for i, c := range closures {
		r, ok := c.(*function)
		if !ok || r == nil || r.builder != f.builder || !r.returned {
			return nil, errors.Errorf("onednn: closure #%d of %s must be a function of the same builder that has returned", i, op)
		}
		recorded[i] = r
		for _, v := range r.captured() {
			captured = append(captured, v)
			operands = append(operands, v)
		}
	}
	own := len(in)
	return f.record(op, nil, func(g compute.Function, in []value) ([]value, error) {
		bound := map[*result]value{}
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

func (f *function) Call(callee compute.Function, inputs ...compute.Value) ([]compute.Value, error) {
	c, ok := callee.(*function)
	if !ok || c == nil || c.builder != f.builder || !c.returned {
		return nil, errors.Errorf("onednn: Call needs a function of the same builder that has returned")
	}
	if len(inputs) != len(c.params) {
		return nil, errors.Errorf("onednn: Call of %q with %d inputs, it has %d parameters", c.name, len(inputs), len(c.params))
	}
	bound := map[*result]value{}
	for i, p := range c.params {
		shape, err := f.builder.OpShape(inputs[i])
		if err != nil {
			return nil, err
		}
		if !shape.Equal(p.shape()) {
			return nil, errors.Errorf("onednn: Call of %q: input #%d has shape %s, parameter %q wants %s", c.name, i, shape, c.names[i], p.shape())
		}
		bound[p] = inputs[i]
	}
	return c.inline(f, bound)
}

func (f *function) Sort(comparator compute.Function, axis int, stable bool, inputs ...compute.Value) ([]compute.Value, error) {
	return f.recordWith(compute.OpTypeSort, []compute.Function{comparator}, func(g compute.Function, c []compute.Function, in []value) ([]value, error) {
		return g.Sort(c[0], axis, stable, in...)
	}, inputs...)
}

func (f *function) While(cond, body compute.Function, initial ...compute.Value) ([]compute.Value, error) {
	return f.recordWith(compute.OpTypeWhile, []compute.Function{cond, body}, func(g compute.Function, c []compute.Function, in []value) ([]value, error) {
		return g.While(c[0], c[1], in...)
	}, initial...)
}

func (f *function) If(predicate compute.Value, onTrue, onFalse compute.Function) ([]compute.Value, error) {
	return f.recordWith(compute.OpTypeIf, []compute.Function{onTrue, onFalse}, func(g compute.Function, c []compute.Function, in []value) ([]value, error) {
		return g.If(in[0], c[0], c[1])
	}, predicate)
}
