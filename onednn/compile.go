package onednn

import (
	"fmt"
	"os"
	"strings"

	"github.com/gomlx/compute"
)

// graph is what the passes work on: nodes in an order in which every node follows its inputs.
type graph struct {
	nodes   []*node
	params  []*result
	names   []string
	outputs []*result
}

// pass is one step of the compiler.
type pass struct {
	name string
	run  func(*graph)
}

// passes run in this order; each file pass_*.go holds one or two and tells what they change.
var passes = []pass{
	{"dead", removeDead},
	{"same", mergeSame},
	{"convolution gradients", foldConvolutionGradients},
	{"bias", attachBias},
	{"dead", removeDead},
	{"gelu", foldGeluGradients},
	{"activation", attachActivation},
	{"moments", shareMoments},
	{"moments", shiftMoments},
	{"conversions", foldConversions},
	{"dead", removeDead},
	{"recompute", recompute},
	{"dead", removeDead},
}

func compile(b *Backend, main *function) (compute.Executable, error) {
	g := &graph{nodes: main.nodes, params: main.params, names: main.names, outputs: main.outputs}
	dump := os.Getenv("ONEDNN_DUMP") != ""
	if dump {
		fmt.Fprintf(os.Stderr, "onednn: %q as recorded\n%s", main.builder.name, g)
	}
	for _, p := range passes {
		if b.without[p.name] {
			continue
		}
		p.run(g)
		if dump {
			fmt.Fprintf(os.Stderr, "onednn: %q after pass %q\n%s", main.builder.name, p.name, g)
		}
	}
	// On the native thread: oneDNN plans for its number of threads and keeps its scratch memory there.
	var e *executable
	err := b.do(func() (err error) {
		e, err = lower(b, main.builder.name, g)
		return err
	})
	if err != nil {
		return nil, err
	}
	if dump {
		fmt.Fprintf(os.Stderr, "onednn: %q lowered\n%s", e.name, e)
	}
	return e, nil
}

// String lists the nodes, a line each.
func (g *graph) String() string {
	id := map[*result]int{}
	var s strings.Builder
	for _, n := range g.nodes {
		for i, r := range n.out {
			id[r] = len(id)
			if i > 0 {
				s.WriteString(", ")
			}
			fmt.Fprintf(&s, "%%%d %s", id[r], r.shape())
		}
		fmt.Fprintf(&s, " = %s", opName(n.op))
		for _, r := range n.in {
			fmt.Fprintf(&s, " %%%d", id[r])
		}
		if n.attr != nil && n.op != compute.OpTypeConstant {
			fmt.Fprintf(&s, " %+v", n.attr)
		}
		s.WriteByte('\n')
	}
	s.WriteString("return")
	for _, r := range g.outputs {
		fmt.Fprintf(&s, " %%%d", id[r])
	}
	s.WriteByte('\n')
	return s.String()
}

// uses counts how often each result is read, the graph's outputs included.
func (g *graph) uses() map[*result]int {
	uses := map[*result]int{}
	for _, n := range g.nodes {
		for _, r := range n.in {
			uses[r]++
		}
	}
	for _, r := range g.outputs {
		uses[r]++
	}
	return uses
}

// replace puts other results in the place of those in the table.
func (g *graph) replace(table map[*result]*result) {
	if len(table) == 0 {
		return
	}
	final := func(r *result) *result {
		for table[r] != nil {
			r = table[r]
		}
		return r
	}
	for _, n := range g.nodes {
		for i, r := range n.in {
			n.in[i] = final(r)
		}
	}
	for i, r := range g.outputs {
		g.outputs[i] = final(r)
	}
}
