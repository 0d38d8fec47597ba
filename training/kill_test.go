//go:build unix

package training

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/mnistunet"
)

// TestMain lets the test binary be a training process too, for other processes to kill.
func TestMain(m *testing.M) {
	if dir := os.Getenv("UNNOISE_TEST_RUN"); dir != "" {
		if err := child(dir, os.Getenv("UNNOISE_TEST_LIMIT") != ""); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// child begins the run in dir, or goes on with it, slowly and with a checkpoint after each step. With limited, no file
// may become larger than a quarter of a checkpoint after step 7, as if the disk were full.
func child(dir string, limited bool) error {
	b, _, err := engine.New(engine.Options{Threads: 2})
	if err != nil {
		return err
	}
	o, c := Options{Backend: b, CheckpointEvery: time.Nanosecond}, tiny(mnistunet.Class)
	o.OnStep = func(p Progress) {
		if limited && p.RunStep == 7 {
			info, err := os.Stat(filepath.Join(dir, checkpointsDir, latestFile))
			if err != nil {
				panic(err)
			}
			signal.Ignore(unix.SIGXFSZ)
			size := uint64(info.Size() / 4)
			if err := unix.Setrlimit(unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: size, Max: size}); err != nil {
				panic(err)
			}
		}
		fmt.Print(".")
		time.Sleep(5 * time.Millisecond)
	}
	if exists(filepath.Join(dir, configFile)) {
		_, err = c.resume(context.Background(), dir, o)
	} else {
		_, err = c.train(context.Background(), dir, o)
	}
	return err
}

func process(dir string, more ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), "UNNOISE_TEST_RUN="+dir), more...)
	return cmd
}

func TestKilled(t *testing.T) {
	o := setUp(t)
	want := reference(t, o, tiny(mnistunet.Class))
	dir := filepath.Join(t.TempDir(), "run")
	const kills = 12 // then one may run to its end
	for attempt := range kills + 1 {
		cmd := process(dir)
		steps, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if attempt == kills {
			_, _ = io.Copy(io.Discard, steps)
			if err := cmd.Wait(); err != nil {
				t.Fatalf("after %d kills: %v", attempt, err)
			}
			break
		}
		if attempt%3 == 0 { // while it starts, or soon after
			time.Sleep(time.Duration(rand.IntN(700)) * time.Millisecond)
		} else { // after a step or two: most of the time goes into a step, its checkpoint and the pause behind it
			_, _ = steps.Read(make([]byte, 1))
			time.Sleep(time.Duration(rand.IntN(40)) * time.Millisecond)
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
	}
	mustEqual(t, dir, want)
	if left, err := filepath.Glob(filepath.Join(dir, checkpointsDir, ".*")); err != nil || len(left) > 0 {
		t.Errorf("left over: %v, %v", left, err)
	}
}

// TestLocked leaves a run alone that is being trained.
func TestLocked(t *testing.T) {
	o := setUp(t)
	c := tiny(mnistunet.None)
	dir := filepath.Join(t.TempDir(), "run")
	tried := false
	o.OnStep = func(p Progress) {
		if p.RunStep != 2 {
			return
		}
		tried = true
		_, training := c.train(t.Context(), dir, o)
		_, resuming := c.resume(t.Context(), dir, o)
		for what, err := range map[string]error{"training": training, "resuming": resuming, "removing": Remove(dir)} {
			if err == nil || !strings.Contains(err.Error(), "by another process") {
				t.Errorf("%s a run in progress: %v", what, err)
			}
		}
	}
	if _, err := c.train(t.Context(), dir, o); err != nil || !tried {
		t.Fatal(err, tried)
	}
	if err := Remove(dir); err != nil {
		t.Error(err)
	}
	if _, err := c.train(t.Context(), dir, Options{Backend: o.Backend}); err != nil {
		t.Errorf("a new run where one was removed: %v", err)
	}
}

func TestFullDisk(t *testing.T) {
	o, c := setUp(t), tiny(mnistunet.Class)
	want := reference(t, o, c)
	dir := filepath.Join(t.TempDir(), "run")
	out, err := process(dir, "UNNOISE_TEST_LIMIT=1").CombinedOutput()
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !strings.Contains(string(out), "file too large") ||
		!strings.Contains(string(out), checkpointsDir) {
		t.Fatalf("a full disk: %v\n%s", err, out)
	}
	left, err := filepath.Glob(filepath.Join(dir, checkpointsDir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	hidden, err := filepath.Glob(filepath.Join(dir, checkpointsDir, ".*"))
	if err != nil || len(hidden) > 0 {
		t.Errorf("left over: %v, %v", hidden, err)
	}
	t.Logf("left: %v", left)
	if _, err := c.resume(t.Context(), dir, o); err != nil {
		t.Fatal(err)
	}
	mustEqual(t, dir, want)
}
