package cachedir

import (
	"os"
	"path/filepath"
	"testing"
)

func TestPath(t *testing.T) {
	t.Setenv("HOME", "/home/a")
	for xdg, want := range map[string]string{"": "/home/a/.cache/unnoise/b", "relative": "/home/a/.cache/unnoise/b",
		"/x": "/x/unnoise/b"} {
		t.Setenv("XDG_CACHE_HOME", xdg)
		if got, err := Path("b"); err != nil || got != want {
			t.Errorf("with XDG_CACHE_HOME %q: %s, %v; expected %s", xdg, got, err, want)
		}
	}
}

func TestCheck(t *testing.T) {
	dir := t.TempDir()
	if err := Check(filepath.Join(dir, "not", "there", "yet")); err != nil {
		t.Error(err)
	}
	file := filepath.Join(dir, "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	if err := Check(filepath.Join(file, "below")); err == nil {
		t.Error("a folder in a file was accepted")
	}
}
