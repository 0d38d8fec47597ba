package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/internal/cli"
)

// binary is the command line as users get it, built once for all tests.
var binary string

const exitFailure, exitUsage = cli.Failure, cli.Usage

func TestMain(m *testing.M) { os.Exit(buildAndTest(m)) }

func buildAndTest(m *testing.M) int {
	dir, err := os.MkdirTemp("", "unnoise-test")
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		return 1
	}
	defer os.RemoveAll(dir)
	binary = filepath.Join(dir, "unnoise")
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", binary, ".").CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "building the binary: %v\n%s", err, out)
		return 1
	}
	return m.Run()
}

type result struct {
	code           int
	stdout, stderr string
}

// command runs the binary, where UNNOISE_TEST_EXEC is set by that program: an emulator of the processor it was built
// for.
func command(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	words := slices.Concat(strings.Fields(os.Getenv("UNNOISE_TEST_EXEC")), []string{binary}, args)
	cmd := exec.Command(words[0], words[1:]...)
	cmd.Dir = t.TempDir()
	return cmd
}

// unnoise runs the binary in a folder of its own.
func unnoise(t *testing.T, args ...string) result {
	t.Helper()
	return finish(t, command(t, args...))
}

func finish(t *testing.T, cmd *exec.Cmd) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	timer := time.AfterFunc(3*time.Minute, func() { cmd.Process.Kill() })
	err := cmd.Wait()
	if !timer.Stop() {
		t.Fatalf("%v did not finish in 3 minutes\n%s", cmd.Args, stderr.String())
	}
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return result{cmd.ProcessState.ExitCode(), stdout.String(), stderr.String()}
}

// succeed runs the binary and requires exit code 0.
func succeed(t *testing.T, args ...string) result {
	t.Helper()
	r := unnoise(t, args...)
	if r.code != 0 {
		t.Fatalf("unnoise %s: exit code %d\n%s%s", strings.Join(args, " "), r.code, r.stdout, r.stderr)
	}
	return r
}

// decode reads one JSON object and its version field.
func decode(t *testing.T, text string, into any) {
	t.Helper()
	var head struct{ Version int }
	if err := json.Unmarshal([]byte(text), &head); err != nil {
		t.Fatalf("%v in %q", err, text)
	}
	if head.Version != cli.Version {
		t.Errorf("version %d, want %d, in %q", head.Version, cli.Version, text)
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}

func TestVersion(t *testing.T) {
	out := succeed(t, "version").stdout
	if !strings.HasPrefix(out, "unnoise ") || strings.Count(out, "\n") != 1 || succeed(t, "--version").stdout != out {
		t.Errorf("version printed %q", out)
	}
	var v build.Info
	decode(t, succeed(t, "version", "--json").stdout, &v)
	if v.Unnoise == "" || !strings.HasPrefix(v.Go, "go1.") || !strings.Contains(v.Platform, "/") {
		t.Errorf("version --json printed %+v", v)
	}
}
