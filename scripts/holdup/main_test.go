package main

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// The load and the kill run, shortened.
func TestHoldup(t *testing.T) {
	if testing.Short() {
		t.Skip("it starts the program many times")
	}
	*program = filepath.Join(t.TempDir(), "unnoise")
	if text, err := exec.Command("go", "build", "-o", *program, "../../cmd/unnoise").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	*clients, *length, *kills = 40, 5*time.Second, 5
	if err := load(t.TempDir()); err != nil {
		t.Error(err)
	}
	if err := kill(t.TempDir()); err != nil {
		t.Error(err)
	}
}
