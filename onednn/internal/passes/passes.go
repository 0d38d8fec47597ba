// Package passes rewrites graphs: the native operations that arithmetic stands for take its place, and what is not
// needed goes.
package passes

import (
	"slices"

	"github.com/unnoise/unnoise/onednn/internal/graph"
)

// pass is one step of the compiler.
type pass struct {
	name string
	run  func(*graph.Graph)
}

// passes run in this order; each file holds one or two and tells what they change.
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
	{"reductions", splitReductions},
}

// Names lists the passes that may be left out, to see what they earn.
func Names() []string {
	// Without these, gradients of convolutions as GoMLX writes them, with windows the size of pictures, would take
	// hours.
	needed := []string{"dead", "convolution gradients", "reductions"}
	var names []string
	for _, p := range passes {
		if !slices.Contains(needed, p.name) && !slices.Contains(names, p.name) {
			names = append(names, p.name)
		}
	}
	return names
}

// Run rewrites the graph, without the passes named. after is called after each.
func Run(g *graph.Graph, without map[string]bool, after func(pass string)) {
	for _, p := range passes {
		if !without[p.name] {
			p.run(g)
			after(p.name)
		}
	}
}
