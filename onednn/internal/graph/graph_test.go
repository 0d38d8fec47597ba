package graph_test

import (
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/gobackend"
	"github.com/gomlx/compute/shapes"

	"github.com/unnoise/unnoise/onednn/internal/graph"
)

// record begins a computation; what its Compile gets stands in *g.
func record(t *testing.T) (f compute.Function, b compute.Builder, g **graph.Graph) {
	plain, err := gobackend.New("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(plain.Finalize)
	g = new(*graph.Graph)
	b = graph.New("recorded", plain.Builder("recorded"), graph.Target{
		Compile: func(_ string, recorded *graph.Graph) (compute.Executable, error) { *g = recorded; return nil, nil },
	})
	return b.Main(), b, g
}

func must[T any](t *testing.T) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// A call is recorded as what it computes; replaced results are read nowhere.
func TestRecord(t *testing.T) {
	main, b, g := record(t)
	value := must[compute.Value](t)
	twice := must[compute.Function](t)(b.NewFunction("twice"))
	p := value(twice.Parameter("p", shapes.Make(dtypes.Float32, 3), nil))
	if err := twice.Return([]compute.Value{value(twice.Add(p, p))}, nil); err != nil {
		t.Fatal(err)
	}
	x := value(main.Parameter("x", shapes.Make(dtypes.Float32, 3), nil))
	y := must[[]compute.Value](t)(main.Call(twice, x))[0]
	if err := main.Return([]compute.Value{value(main.Exp(y)), y}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := b.Compile(); err != nil {
		t.Fatal(err)
	}
	const want = "%0 (Float32)[3] = Parameter 0\n%1 (Float32)[3] = Add %0 %0\n%2 (Float32)[3] = Exp %1\nreturn %2 %1\n"
	if got := (*g).String(); got != want {
		t.Errorf("expected\n%sfound\n%s", want, got)
	}
	sum, param := (*g).Outputs[1], (*g).Params[0]
	if n := (*g).Uses()[sum]; n != 2 {
		t.Errorf("the sum is read %d times, expected 2", n)
	}
	(*g).Replace(map[*graph.Result]*graph.Result{sum: param})
	if n := (*g).Uses()[sum]; n != 0 {
		t.Errorf("the sum is read %d times after it was replaced", n)
	}
}

// Functions refuse values of others, and what comes after their Return.
func TestRefusals(t *testing.T) {
	main, _, _ := record(t)
	other, _, _ := record(t)
	value := must[compute.Value](t)
	x := value(main.Parameter("x", shapes.Make(dtypes.Float32, 3), nil))
	y := value(other.Parameter("y", shapes.Make(dtypes.Float32, 3), nil))
	if _, err := main.Add(x, y); err == nil || !strings.Contains(err.Error(), "different function") {
		t.Errorf("another function's value: %v", err)
	}
	if _, err := main.Add(x, nil); err == nil {
		t.Error("no value was taken")
	}
	if err := main.Return([]compute.Value{x}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := main.Neg(x); err == nil || !strings.Contains(err.Error(), "after its Return") {
		t.Errorf("an operation after Return: %v", err)
	}
}
