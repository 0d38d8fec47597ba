package onednn

import (
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// TestInstructionSets runs tests again in processes that may use less than the CPU has, oneDNN and own kernels alike.
func TestInstructionSets(t *testing.T) {
	const limit = "ONEDNN_MAX_CPU_ISA"
	if os.Getenv(limit) != "" {
		t.Skipf("%s is set", limit)
	}
	if runtime.GOARCH != "amd64" {
		t.Skipf("%s names instruction sets of x86-64", limit)
	}
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, isa := range []string{"SSE41", "AVX2", "AVX512_CORE"} {
		t.Run(isa, func(t *testing.T) {
			level, _ := limitOf(isa)
			if level > ownLevel() {
				t.Skipf("this CPU has no more than %s", ownISA())
			}
			run := exec.Command(program, "-test.run",
				"^(TestCompliance|TestConvolutions|TestConvolutionGradients|TestPreparedWeights|TestProducts|TestLimited|TestRandomGraphs)$", "-test.v", "-graphs.time=5s")
			run.Env = append(os.Environ(), limit+"="+isa)
			out, err := run.CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, lastLines(string(out), 60))
			}
			if !strings.Contains(string(out), "--- PASS: TestLimited") {
				t.Fatalf("TestLimited did not run:\n%s", lastLines(string(out), 60))
			}
		})
	}
}

// TestLimited is for the processes of TestInstructionSets: the limit holds.
func TestLimited(t *testing.T) {
	isa := os.Getenv("ONEDNN_MAX_CPU_ISA")
	if isa == "" {
		t.Skip("no limit is set")
	}
	b, err := New("")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Finalize()
	if level, _ := limitOf(isa); ownLevel() != level {
		t.Errorf("own kernels run on %s", ownISA())
	}
	if l := Library(); l.BF16 {
		t.Errorf("bfloat16 units are in use: %s", l)
	}
}

func lastLines(s string, n int) string {
	lines := strings.Split(strings.TrimRight(s, "\n"), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
