package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/onednn"
	"github.com/unnoise/unnoise/training"
)

// What stopped a run is followed by what to do.
func TestHowToGoOn(t *testing.T) {
	run := t.TempDir()
	if err := os.WriteFile(training.MetricsPath(run), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	full := &os.PathError{Op: "write", Path: "x", Err: unix.ENOSPC}
	for _, c := range []struct {
		err       error
		dir, want string
	}{
		{fmt.Errorf("writing: %w", full), run, "Make room, then go on with: unnoise train mnist --resume " + run},
		{full, t.TempDir(), "another disk with --out"},
		{&training.ExistsError{Dir: run}, run, "Go on with: unnoise train mnist --resume " + run},
		{&training.DivergedError{Dir: run, Step: 1, What: "the loss"}, run, "--lr"},
		{diffusion.ErrNotFinite, run, "a lower learning rate"},
	} {
		if got := howToGoOn(c.err, "train mnist", c.dir); !strings.Contains(got.Error(), c.want) {
			t.Errorf("%v; want %q", got, c.want)
		}
	}
}

// Training that diverges is told of as such, a run that is finished as that.
func TestWordsOfTraining(t *testing.T) {
	diverges := []string{"train", "mnist", "--limit", "1000", "--dim", "4", "--batch", "64", "--lr", "10", "--dtype",
		"f32", "--out", filepath.Join(t.TempDir(), "run")}
	if r := unnoise(t, append(diverges, "--epochs", "1", "--condition", "time")...); r.code != exitFailure ||
		!strings.Contains(r.stderr, "training diverged") {
		t.Errorf("training that ends in NaN: exit code %d, %q", r.code, r.stderr)
	}
	if r := unnoise(t, append(diverges[:len(diverges)-1], filepath.Join(t.TempDir(), "run"), "--epochs", "1",
		"--condition", "none")...); !strings.Contains(r.stderr, "training diverges") {
		t.Errorf("training with rising losses: exit code %d, %q", r.code, r.stderr)
	}
	if r := succeed(t, "train", "mnist", "--resume", small(t, "--no-samples")); !strings.Contains(r.stdout,
		"finished already") {
		t.Errorf("a finished run: %q", r.stdout)
	}
}

// oneDNN's own report stays out of what other programs read.
func TestVerboseLibrary(t *testing.T) {
	if onednn.Library().Path == "" {
		t.Skip("there is no oneDNN")
	}
	cmd := command(t, "sample", "--count", "1", "--steps", "1", "--json", "--out", filepath.Join(t.TempDir(), "a.png"))
	cmd.Env = append(os.Environ(), "ONEDNN_VERBOSE=1")
	r := finish(t, cmd)
	if r.code != 0 || !strings.Contains(r.stderr, "onednn_verbose") {
		t.Errorf("exit code %d, %.200q", r.code, r.stderr)
	}
	decode(t, r.stdout, &struct{}{})
}

// Paths may begin with ~ where the shell left it, behind = or in quotes.
func TestHomeInPaths(t *testing.T) {
	home := t.TempDir()
	cmd := command(t, "sample", "--count", "1", "--steps", "1", "--out=~/a.png", "--animate", "~/b.png", "--dtype",
		"f32")
	cmd.Env = append(os.Environ(), "HOME="+home)
	if r := finish(t, cmd); r.code != 0 {
		t.Fatal(r.stderr)
	}
	for _, name := range []string{"a.png", "b.png"} {
		if _, err := os.Stat(filepath.Join(home, name)); err != nil {
			t.Error(err)
		}
	}
	if r := unnoise(t, "sample", "--out", "new folder/a.png"); r.code != exitFailure ||
		!strings.Contains(r.stderr, "mkdir -p 'new folder'") {
		t.Errorf("a missing folder: exit code %d, %q", r.code, r.stderr)
	}
}

// A folder of runs names them.
func TestFolderOfRuns(t *testing.T) {
	run := small(t, "--no-samples", "--epochs", "1")
	if r := unnoise(t, "sample", "--model", filepath.Dir(run), "--out", "a.png"); r.code == 0 ||
		!strings.Contains(r.stderr, "it holds runs, of which one may be given: "+run) {
		t.Errorf("exit code %d, %q", r.code, r.stderr)
	}
}

// A file of prompts is text in UTF-8, with a byte-order mark or not.
func TestPromptsFileIsText(t *testing.T) {
	path := filepath.Join(t.TempDir(), "prompts.txt")
	for text, want := range map[string]string{
		"\ufeffa fox\r\n\r\nan owl\n":                     "",
		"404 as a sculpture\n":                            "",
		"version https://git-lfs.github.com/spec/v1\noid": "a Git LFS pointer",
		"\xff\xfea\x00 \x00":                              "UTF-16",
		"a\x00f\x00":                                      "no text in UTF-8",
		"caf\xe9":                                         "no text in UTF-8",
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		lines, err := lab.ReadPrompts(path)
		if want == "" && (err != nil || strings.ContainsAny(strings.Join(lines, ""), "\ufeff\r")) || want != "" &&
			(err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%q: %q, %v; want %q", text, lines, err, want)
		}
	}
}
