// Package graphtest records graphs for tests that need no native code.
package graphtest

import (
	"errors"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/gobackend"
	"github.com/gomlx/compute/shapes"
	gomlx "github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/onednn/internal/graph"
)

// recorder is GoMLX's Go backend, but for its builders, which record.
type recorder struct {
	compute.Backend
	recorded *graph.Graph
}

var errRecorded = errors.New("recorded")

func (r *recorder) Builder(name string) compute.Builder {
	return graph.New(name, r.Backend.Builder(name), graph.Target{
		Compile: func(_ string, g *graph.Graph) (compute.Executable, error) {
			r.recorded = g
			return nil, errRecorded
		},
		Attends: func(dtypes.DType) bool { return true },
	})
}

// Record returns the graph of a function of parameters with these shapes.
func Record(t testing.TB, f func(in []*gomlx.Node) []*gomlx.Node, in ...shapes.Shape) *graph.Graph {
	t.Helper()
	plain, err := gobackend.New("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(plain.Finalize)
	r := &recorder{Backend: plain}
	g := gomlx.NewGraph(r, "recorded")
	parameters := make([]*gomlx.Node, len(in))
	for i, s := range in {
		parameters[i] = gomlx.Parameter(g, string(rune('a'+i)), s)
	}
	if err := g.Compile(f(parameters)...); !errors.Is(err, errRecorded) {
		t.Fatal(err)
	}
	return r.recorded
}
