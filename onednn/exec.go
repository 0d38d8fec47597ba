package onednn

/*
#include "native.h"
*/
import "C"

import (
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/shapes"
	"github.com/pkg/errors"

	"github.com/unnoise/unnoise/onednn/internal/graph"
)

// executable is a compiled computation. Executions take turns, and all executables share the backend's scratch memory.
type executable struct {
	backend     *Backend
	name        string
	graph       *graph.Graph
	steps       []step
	places      []place
	arena       int
	outputSlots []int
	slots       []unsafe.Pointer
	values      [][]byte // of the parameters, during a run
	own         []bool   // those of them that are in Go's memory
	finalized   atomic.Bool

	prepared       []byte // see prepare.go
	preparedSteps  int
	preparedParams []int
	lastParams     []*Buffer // what prepared was made of; nil: of nothing that stays
	packings       []packing
	read           []bool // the parameters that steps read, and not only packings
}

// Finalize releases the native operations.
func (e *executable) Finalize() {
	if e.finalized.Swap(true) {
		return
	}
	_ = e.backend.do(func() error { // or the backend has gone, and released them
		e.release()
		return nil
	})
}

// release runs on the native thread, where the operations were made: oneDNN keeps scratch memory for each thread.
func (e *executable) release() {
	for _, s := range e.steps {
		for _, op := range s.ops {
			C.un_release(op)
		}
		if s.fallback != nil {
			s.fallback.exec.Finalize()
		}
	}
	delete(e.backend.live, e)
}

// Inputs returns the parameters' names and shapes.
func (e *executable) Inputs() (names []string, inputShapes []shapes.Shape) {
	for _, p := range e.graph.Params {
		inputShapes = append(inputShapes, p.Shape())
	}
	return slices.Clone(e.graph.Names), inputShapes
}

// Outputs returns the shapes of what Execute returns.
func (e *executable) Outputs() (outputShapes []shapes.Shape) {
	for _, r := range e.graph.Outputs {
		outputShapes = append(outputShapes, r.Shape())
	}
	return outputShapes
}

// Execute runs the computation. Donated inputs are given back to the backend when it ends.
func (e *executable) Execute(inputs []compute.Buffer, donate []bool, _ compute.DeviceNum) ([]compute.Buffer, error) {
	if e.finalized.Load() {
		return nil, e.gone()
	}
	if len(inputs) != len(e.graph.Params) || donate != nil && len(donate) != len(inputs) {
		return nil, errors.Errorf("onednn: %q takes %d inputs, got %d (and %d donate flags)", e.name,
			len(e.graph.Params), len(inputs), len(donate))
	}
	c := calls.Get().(*call)
	defer c.done()
	c.e = e
	for i, b := range inputs {
		buffer, ok := b.(*Buffer)
		if !ok || buffer.backend != e.backend {
			return nil, errors.Errorf("onednn: input #%d (%q) of %q is a %T, want a buffer of this backend", i,
				e.graph.Names[i], e.name, b)
		}
		if err := buffer.check(); err != nil {
			return nil, errors.WithMessagef(err, "input #%d (%q) of %q", i, e.graph.Names[i], e.name)
		}
		if want := e.graph.Params[i].Shape(); !buffer.shape.Equal(want) {
			return nil, errors.Errorf("onednn: input #%d (%q) of %q has shape %s, want %s", i, e.graph.Names[i], e.name,
				buffer.shape, want)
		}
		c.in = append(c.in, buffer)
	}
	if err := e.backend.do(c.run); err != nil {
		return nil, err
	}
	for i, b := range c.in {
		if donate != nil && donate[i] && b.check() == nil {
			if err := b.Finalize(); err != nil {
				return nil, err
			}
		}
	}
	return c.out, nil
}

// call is an execution's work for the native thread. Calls are used again and again.
type call struct {
	e   *executable
	in  []*Buffer
	out []compute.Buffer
	run func() error
}

var calls = sync.Pool{New: func() any {
	c := &call{}
	c.run = func() (err error) {
		c.out, err = c.e.run(c.in)
		return err
	}
	return c
}}

func (c *call) done() {
	clear(c.in)
	c.e, c.in, c.out = nil, c.in[:0], nil
	calls.Put(c)
}

func (e *executable) gone() error {
	return errors.Errorf("onednn: executable %q was finalized", e.name)
}

// run executes on the native thread.
func (e *executable) run(in []*Buffer) ([]compute.Buffer, error) {
	if e.finalized.Load() { // meanwhile
		return nil, e.gone()
	}
	var pins runtime.Pinner
	defer pins.Unpin()
	arena, err := e.backend.scratch.grow(e.arena)
	if err != nil {
		return nil, err
	}
	if e.slots == nil {
		e.slots = make([]unsafe.Pointer, len(e.places))
	}
	ready := e.preparedFor(in)
	params := e.lastParams
	e.lastParams = nil // until this run has succeeded
	if !ready {
		if err := e.pack(in); err != nil {
			return nil, err
		}
	}
	defer clear(e.values)
	for i, read := range e.read {
		if read {
			if e.values[i], e.own[i], err = in[i].resident(); err != nil {
				return nil, errors.WithMessagef(err, "input #%d (%q) of %q", i, e.graph.Names[i], e.name)
			}
		}
	}
	out := make([]Buffer, len(e.graph.Outputs))
	for i, r := range e.graph.Outputs {
		out[i].backend, out[i].shape, out[i].bytes = e.backend, r.Shape(),
			e.backend.memory.get(graph.ByteSize(r.Shape()))
	}
	bytes := func(p place) []byte {
		switch p.kind {
		case placeParam:
			if e.values[p.index] == nil {
				return nil
			}
			return e.values[p.index][p.offset:]
		case placeOutput:
			return out[p.index].bytes[p.offset:]
		case placeConstant:
			return p.data
		case placePrepared:
			return e.prepared[p.offset:]
		}
		return unsafe.Slice((*byte)(arena), max(e.arena, 1))[p.offset:]
	}
	for i, p := range e.places {
		e.slots[i] = nil
		if b := bytes(p); len(b) > 0 {
			e.slots[i] = unsafe.Pointer(unsafe.SliceData(b))
			if p.kind != placeArena && (p.kind != placeParam || e.own[p.index]) {
				pins.Pin(e.slots[i])
			}
		}
	}
	defer clear(e.slots)
	if len(e.slots) > 0 {
		pins.Pin(&e.slots[0])
	}
	if ready {
		C.un_weights_changed(0)
		defer C.un_weights_changed(1)
	}
	for i := range e.steps {
		s := &e.steps[i]
		if ready && i < e.preparedSteps {
			clear(s.seconds)
			continue
		}
		profiled := e.backend.profile != nil
		if profiled && s.seconds == nil {
			s.seconds = make([]C.double, len(s.labels))
		}
		clear(s.seconds)
		if s.fallback != nil {
			start := C.un_now()
			if err := s.fallback.run(e.backend.fallback,
				func(slot int) []byte { return bytes(e.places[slot])[:e.places[slot].size] }); err != nil {
				return nil, err
			}
			if profiled {
				s.seconds[0] = C.un_now() - start
			}
			continue
		}
		var seconds *C.double
		if profiled {
			seconds = &s.seconds[0]
		}
		if problem := C.un_run(&s.ops[0], C.int(len(s.ops)), &e.slots[0], seconds); problem != nil {
			return nil, errors.Errorf("onednn: %q: %s", e.name, C.GoString(problem))
		}
	}
	e.lastParams = params
	e.backend.profile.add(e)
	results := make([]compute.Buffer, len(out))
	for i, slot := range e.outputSlots {
		results[i] = &out[i]
		p := e.places[slot]
		if p.kind != placeOutput || p.index != i {
			copy(out[i].bytes, bytes(p))
		}
	}
	return results, nil
}

// run executes one node on the Go backend, on copies.
func (f *fallbackStep) run(b compute.Backend, bytes func(slot int) []byte) error {
	in := make([]compute.Buffer, len(f.in))
	donate := make([]bool, len(f.in))
	for i, slot := range f.in {
		shape := f.node.In[i].Shape()
		buffer, data, err := b.NewSharedBuffer(0, shape)
		if err != nil {
			return err
		}
		copy(graph.FlatBytes(data), bytes(slot))
		in[i], donate[i] = buffer, true
	}
	out, err := f.exec.Execute(in, donate, 0)
	if err != nil {
		return errors.WithMessagef(err, "onednn: fallback of %s", f.node.Op)
	}
	for i, buffer := range out {
		data, err := buffer.Data()
		if err != nil {
			return err
		}
		if n := copy(bytes(f.out[i]), graph.FlatBytes(data)); n != len(bytes(f.out[i])) {
			return fmt.Errorf("onednn: fallback of %s returned %d bytes, want %d", f.node.Op, n, len(bytes(f.out[i])))
		}
		if err := buffer.Finalize(); err != nil {
			return err
		}
	}
	return nil
}
