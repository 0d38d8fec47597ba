package onednn_test

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/onednn"
)

// network compiles a graph with a bit of everything: convolution, product, reductions, clusters and a fallback. Its
// result for an input of all v is one number.
func network(b compute.Backend, size int) (*Graph, error) {
	g := NewGraph(b, fmt.Sprint("network ", size))
	err := try(func() {
		x := Parameter(g, "x", shapes.Make(dtypes.Float32, 2, size, size, 3))
		kernel := constant(g, dtypes.Float32, numbers(3*3*3*4), []int{3, 3, 3, 4})
		y := Tanh(DivScalar(Convolve(x, kernel).PadSame().Done(), 64))
		m := Reshape(y, 2, size*size*4)
		z := Einsum("ab,cb->ac", m, m)
		s := TransposeAllAxes(Sort(z, 1, true), 1, 0)
		if err := g.Compile(s, ReduceAllSum(Square(s)), Slice(x, AxisElem(1))); err != nil {
			panic(err)
		}
	})
	return g, err
}

func networkInput(b compute.Backend, size int, seed int) (compute.Buffer, error) {
	v := make([]float32, 2*size*size*3)
	for i := range v {
		v[i] = float32((i*seed)%17) / 16
	}
	return b.BufferFromFlatData(0, v, shapes.Make(dtypes.Float32, 2, size, size, 3))
}

func runNetwork(b compute.Backend, g *Graph, size, seed int, donate bool) (result [2]float32, err error) {
	x, err := networkInput(b, size, seed)
	if err != nil {
		return result, err
	}
	err = try(func() {
		out := g.RunWithBuffers([]compute.Buffer{x}, []bool{donate}, 0)
		result = [2]float32{out[0].Value().([][]float32)[1][0], out[1].Value().(float32)}
		for _, t := range out {
			t.MustFinalizeAll()
		}
	})
	if !donate {
		err = errors.Join(err, x.Finalize())
	}
	return result, err
}

// TestConcurrency runs one executable and several at once, and compiles meanwhile.
func TestConcurrency(t *testing.T) {
	b := newBackend(t, "")
	sizes := []int{5, 8}
	var shared []*Graph
	want := map[[2]int][2]float32{}
	for _, size := range sizes {
		g, err := network(b, size)
		if err != nil {
			t.Fatal(err)
		}
		defer g.Finalize()
		shared = append(shared, g)
		for seed := range 4 {
			if want[[2]int{size, seed}], err = runNetwork(b, g, size, seed, false); err != nil {
				t.Fatal(err)
			}
		}
	}
	var wg sync.WaitGroup
	for worker := range 8 {
		wg.Go(func() {
			for i := range 10 {
				k, seed := (worker+i)%2, (worker*3+i)%4
				g, size := shared[k], sizes[k]
				if worker%4 == 3 { // one of its own
					own, err := network(b, size)
					if err != nil {
						t.Error(err)
						return
					}
					defer own.Finalize()
					g = own
				}
				got, err := runNetwork(b, g, size, seed, i%2 == 0)
				if err != nil {
					t.Error(err)
					return
				}
				if got != want[[2]int{size, seed}] {
					t.Errorf("size %d, seed %d: got %v, alone %v", size, seed, got, want[[2]int{size, seed}])
				}
			}
		})
	}
	wg.Wait()
}

// A buffer of another backend, whose thread may be at it, is refused.
func TestOtherBackend(t *testing.T) {
	var both [2]compute.Backend
	for i := range both {
		b, err := onednn.New("")
		if err != nil {
			t.Fatal(err)
		}
		defer b.Finalize()
		both[i] = b
	}
	g, err := network(both[0], 4)
	if err != nil {
		t.Fatal(err)
	}
	defer g.Finalize()
	if _, err := runNetwork(both[0], g, 4, 1, false); err != nil {
		t.Fatal(err)
	}
	x, err := networkInput(both[1], 4, 1)
	if err != nil {
		t.Fatal(err)
	}
	err = try(func() { g.RunWithBuffers([]compute.Buffer{x}, []bool{false}, 0) })
	if err == nil || !strings.Contains(err.Error(), "want a buffer of this backend") {
		t.Errorf("a buffer of another backend: %v", err)
	}
}

// TestFinalizeWhileRunning: what runs ends well, what comes later is refused.
func TestFinalizeWhileRunning(t *testing.T) {
	for range 5 {
		b, err := onednn.New("")
		if err != nil {
			t.Fatal(err)
		}
		g, err := network(b, 16)
		if err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for seed := 1; ; seed++ {
					if _, err := runNetwork(b, g, 16, seed, true); err != nil {
						return
					}
				}
			})
		}
		other, x := affine(t, b, 1<<18, 1), buffer(t, b, make([]float64, 1<<18))
		wg.Go(func() {
			for {
				out, err := other.Execute([]compute.Buffer{x}, nil, 0)
				if err != nil {
					return
				}
				for _, y := range out {
					_ = y.Finalize()
				}
			}
		})
		time.Sleep(5 * time.Millisecond)
		other.Finalize()
		time.Sleep(5 * time.Millisecond)
		b.Finalize()
		wg.Wait()
		g.Finalize()
	}
}

// TestFinalized: what is finalized twice does nothing, what is used after is an error.
func TestFinalized(t *testing.T) {
	b, err := onednn.New("")
	if err != nil {
		t.Fatal(err)
	}
	e := affine(t, b, 4, 1)
	x := buffer(t, b, []float64{1, 2, 3, 4})
	spare := buffer(t, b, []float64{1, 2, 3, 4})
	for range 2 {
		if err := spare.Finalize(); err != nil {
			t.Error(err)
		}
	}
	refused := func(what string, err error) {
		t.Helper()
		if err == nil {
			t.Errorf("%s: no error", what)
		}
	}
	_, err = spare.Data()
	refused("a finalized buffer's data", err)
	_, err = spare.Shape()
	refused("a finalized buffer's shape", err)
	refused("copying from a finalized buffer", spare.ToFlatData(make([]float32, 4)))
	_, err = e.Execute([]compute.Buffer{spare}, nil, 0)
	refused("an execution on a finalized buffer", err)

	other := affine(t, b, 4, 1)
	other.Finalize()
	other.Finalize()
	_, err = other.Execute([]compute.Buffer{x}, nil, 0)
	refused("an execution of a finalized executable", err)
	if got := execute(t, e, []compute.Buffer{x}, nil); got[0][0] != 3 {
		t.Errorf("2·1 + 1 = %g", got[0][0])
	}

	builder := b.Builder("late")
	late, err := builder.Main().Parameter("x", shapes.Make(dtypes.Float32, 4), nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := builder.Main().Return([]compute.Value{late}, nil); err != nil {
		t.Fatal(err)
	}
	b.Finalize()
	b.Finalize()
	if !b.IsFinalized() {
		t.Error("the backend says that it was not finalized")
	}
	_, err = builder.Compile()
	refused("a compilation on a finalized backend", err)
	_, err = e.Execute([]compute.Buffer{x}, nil, 0)
	refused("an execution on a finalized backend", err)
	_, err = b.BufferFromFlatData(0, []float32{1}, shapes.Make(dtypes.Float32, 1))
	refused("a buffer of a finalized backend", err)
	e.Finalize()
	if err := x.Finalize(); err != nil {
		t.Error(err)
	}
}

// residents returns the process's resident memory in bytes and its threads.
func residents(t *testing.T) (bytes, threads int) {
	t.Helper()
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		t.Skip("the system does not tell a process's memory")
	}
	for line := range strings.Lines(string(text)) {
		var n int
		if _, err := fmt.Sscanf(line, "VmRSS: %d kB", &n); err == nil {
			bytes = n << 10
		}
		if _, err := fmt.Sscanf(line, "Threads: %d", &n); err == nil {
			threads = n
		}
	}
	return bytes, threads
}

// TestNothingLeaks compiles, runs and finalizes again and again: executables on one backend, and backends.
func TestNothingLeaks(t *testing.T) {
	executable := func(b compute.Backend) *Graph {
		g, err := network(b, 24)
		if err != nil {
			t.Fatal(err)
		}
		for seed := range 2 {
			if _, err := runNetwork(b, g, 24, seed, seed == 0); err != nil {
				t.Fatal(err)
			}
		}
		return g
	}
	withBackend := func(f func(b compute.Backend)) {
		b, err := onednn.New("threads=2")
		if err != nil {
			t.Fatal(err)
		}
		f(b)
		b.Finalize()
	}
	shared := newBackend(t, "")
	for _, c := range []struct {
		name       string
		cycle      func()
		warm, full int
	}{
		{"executables", func() { executable(shared).Finalize() }, 100, 600},
		{"backends", func() { withBackend(func(b compute.Backend) { executable(b).Finalize() }) }, 20, 100},
		{"executables left to their backend", func() { withBackend(func(b compute.Backend) { executable(b) }) }, 20,
			100},
	} {
		t.Run(c.name, func(t *testing.T) {
			measure := func() (bytes, threads, goroutines int) {
				runtime.GC()
				runtime.GC()
				time.Sleep(20 * time.Millisecond) // threads take a moment to end
				bytes, threads = residents(t)
				return bytes, threads, runtime.NumGoroutine()
			}
			for range c.warm {
				c.cycle()
			}
			bytes, threads, goroutines := measure()
			for range c.full {
				c.cycle()
			}
			bytesAfter, threadsAfter, goroutinesAfter := measure()
			t.Logf("after %d more: %+d KiB, %+d threads, %+d goroutines", c.full, (bytesAfter-bytes)>>10,
				threadsAfter-threads, goroutinesAfter-goroutines)
			if grown := bytesAfter - bytes; grown > 6<<20 {
				t.Errorf("resident memory grew by %d KiB in %d cycles", grown>>10, c.full)
			}
			if threadsAfter > threads+4 {
				t.Errorf("there were %d threads, and are %d after %d cycles", threads, threadsAfter, c.full)
			}
			if goroutinesAfter > goroutines+2 {
				t.Errorf("there were %d goroutines, and are %d after %d cycles", goroutines, goroutinesAfter, c.full)
			}
		})
	}
}
