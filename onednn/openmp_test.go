package onednn

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// TestOpenMP builds and runs testdata/openmp.c, which tests openmp.c, for the machine that the tests are built on.
func TestOpenMP(t *testing.T) {
	gcc, err := exec.LookPath("gcc")
	if err != nil {
		t.Skip("there is no gcc here")
	}
	program := filepath.Join(t.TempDir(), "openmp")
	if out, err := exec.Command(gcc, "-O2", "-fopenmp", "-o", program, "testdata/openmp.c", "openmp.c",
		"-lpthread").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, spin := range []string{"", "0", "1000"} {
		run := exec.Command(program)
		if run.Env = os.Environ(); spin != "" {
			run.Env = append(run.Env, "GOMP_SPINCOUNT="+spin)
		}
		if out, err := run.CombinedOutput(); err != nil {
			t.Errorf("GOMP_SPINCOUNT=%q: %v\n%s", spin, err, out)
		}
	}
}

// oneDNN's work is done by the backend's threads.
func TestThreadsOfLibrary(t *testing.T) {
	b, err := New("threads=3")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Finalize)
	if Library().Path == "" {
		t.Skip("there is no oneDNN here")
	}
	// ran is for how long the backend's threads but the native one ran.
	ran := func() (total time.Duration, threads int) {
		tasks, _ := filepath.Glob("/proc/self/task/*")
		for _, task := range tasks {
			name, err := os.ReadFile(filepath.Join(task, "comm"))
			if err != nil || !strings.HasPrefix(string(name), "onednn-") {
				continue
			}
			stat, err := os.ReadFile(filepath.Join(task, "schedstat"))
			var nanoseconds int64
			if _, scan := fmt.Sscan(string(stat), &nanoseconds); err != nil || scan != nil {
				t.Skip("the system does not say how long threads run")
			}
			total += time.Duration(nanoseconds)
			threads++
		}
		return total, threads
	}
	before, threads := ran()
	if threads != 2 {
		t.Errorf("expected 2 threads beside the native one, found %d", threads)
	}
	exec, err := NewExec(b, func(x *Node) *Node { return Dot(x, x).Product() })
	if err != nil {
		t.Fatal(err)
	}
	x := tensors.FromFlatDataAndDimensions(make([]float32, 1<<20), 1<<10, 1<<10)
	for start := time.Now(); ; {
		if _, err := exec.Exec(x); err != nil {
			t.Fatal(err)
		}
		after, _ := ran()
		if after-before > 20*time.Millisecond {
			return
		}
		if time.Since(start) > 10*time.Second {
			t.Fatalf("the backend's threads ran for %s in %s", after-before, time.Since(start))
		}
	}
}

// OMP_NUM_THREADS says how many threads there are, unless that is asked for.
func TestNumberOfThreads(t *testing.T) {
	for _, c := range []struct {
		variable, options string
		want              int
	}{{"3", "", 3}, {" 2,1", "", 2}, {"3", "threads=1", 1}, {"0", "", defaultThreads()},
		{"many", "", defaultThreads()}} {
		t.Setenv("OMP_NUM_THREADS", c.variable)
		b, err := New(c.options)
		if err != nil {
			t.Fatal(err)
		}
		if n := b.(*Backend).Threads(); n != c.want {
			t.Errorf("OMP_NUM_THREADS=%q, options %q: expected %d threads, found %d", c.variable, c.options, c.want, n)
		}
		b.Finalize()
	}
}
