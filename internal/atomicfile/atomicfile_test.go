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
	for what, path := range map[string]string{"below a file": filepath.Join(path, "below"), "over a folder": filepath.Dir(path),
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
