// Package graph records GoMLX's computations as graphs of nodes, which the compiler rewrites.
package graph

import (
	"fmt"
	"strings"

	"github.com/gomlx/compute"
)

// Graph is what the passes work on: nodes in an order in which every node follows its inputs.
type Graph struct {
	Nodes   []*Node
	Params  []*Result
	Names   []string
	Outputs []*Result
}

// String lists the nodes, a line each.
func (g *Graph) String() string {
	id := map[*Result]int{}
	var s strings.Builder
	for _, n := range g.Nodes {
		for i, r := range n.Out {
			id[r] = len(id)
			if i > 0 {
				s.WriteString(", ")
			}
			fmt.Fprintf(&s, "%%%d %s", id[r], r.Shape())
		}
		fmt.Fprintf(&s, " = %s", OpName(n.Op))
		for _, r := range n.In {
			fmt.Fprintf(&s, " %%%d", id[r])
		}
		if n.Attr != nil && n.Op != compute.OpTypeConstant {
			fmt.Fprintf(&s, " %+v", n.Attr)
		}
		s.WriteByte('\n')
	}
	s.WriteString("return")
	for _, r := range g.Outputs {
		fmt.Fprintf(&s, " %%%d", id[r])
	}
	s.WriteByte('\n')
	return s.String()
}

// Uses counts how often each result is read, the graph's outputs included.
func (g *Graph) Uses() map[*Result]int {
	uses := map[*Result]int{}
	for _, n := range g.Nodes {
		for _, r := range n.In {
			uses[r]++
		}
	}
	for _, r := range g.Outputs {
		uses[r]++
	}
	return uses
}

// Replace puts other results in the place of those in the table.
func (g *Graph) Replace(table map[*Result]*Result) {
	if len(table) == 0 {
		return
	}
	final := func(r *Result) *Result {
		for table[r] != nil {
			r = table[r]
		}
		return r
	}
	for _, n := range g.Nodes {
		for i, r := range n.In {
			n.In[i] = final(r)
		}
	}
	for i, r := range g.Outputs {
		g.Outputs[i] = final(r)
	}
}
