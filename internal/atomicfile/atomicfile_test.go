package atomicfile

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestWrite(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.txt")
	text := func(s string) func(io.Writer) error {
		return func(w io.Writer) error { _, err := io.WriteString(w, s); return err }
	}
	if err := Write(path, text("one")); err != nil {
		t.Fatal(err)
	}
	broken := errors.New("no more")
	err := Write(path, func(w io.Writer) error { _, _ = io.WriteString(w, "two"); return broken })
	if !errors.Is(err, broken) || !strings.Contains(err.Error(), path) {
		t.Errorf("error %v: want one that names the file and wraps %v", err, broken)
	}
	if got, _ := os.ReadFile(path); string(got) != "one" {
		t.Errorf("after a failed write the file holds %q, want what it held", got)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
	for what, path := range map[string]string{"below a file": filepath.Join(path, "below"),
		"over a folder":         filepath.Dir(path),
		"under too long a name": filepath.Join(filepath.Dir(path), strings.Repeat("x", 250))} {
		if err := Check(path); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: Check says %v", what, err)
		}
		if err := Write(path, text("")); err == nil {
			t.Errorf("writing %s succeeded", what)
		}
	}
	if err := Check(path); err != nil {
		t.Error(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := Write(path, text("mine")); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("a file for its owner only became %v, %v", info.Mode(), err)
	}
	if err := Check(path + ".new"); err != nil {
		t.Error(err)
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left behind by Check: %v", left)
	}
}

// TestClean removes what a killed Write leaves, and nothing else.
func TestClean(t *testing.T) {
	dir := t.TempDir()
	below := filepath.Join(dir, "below")
	if err := os.Mkdir(below, 0o755); err != nil {
		t.Fatal(err)
	}
	unfinished, err := temporary(filepath.Join(below, "a.txt"))
	if err != nil {
		t.Fatal(err)
	}
	unfinished.Close()
	others := []string{"a.txt", ".a.txt", "a.1.tmp", ".a.tmp"}
	for _, name := range others {
		if err := os.WriteFile(filepath.Join(below, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := Clean(dir); err != nil {
		t.Fatal(err)
	}
	if left, err := os.ReadDir(below); err != nil || len(left) != len(others) {
		t.Errorf("left: %v, %v", left, err)
	}
	if err := Clean(filepath.Join(dir, "none")); err == nil {
		t.Error("cleaned a folder that is not there")
	}
}
