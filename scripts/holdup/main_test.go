package main

import (
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// The load and the kill run, shortened. What they ask for are counts: no time that passes makes them fail.
func TestHoldup(t *testing.T) {
	*program = filepath.Join(t.TempDir(), "unnoise")
	if text, err := exec.Command("go", "build", "-o", *program, "../../cmd/unnoise").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, text)
	}
	*clients, *length, *kills, *queue, *redrawn = 20, 4*time.Second, 5, 8, 4
	for name, run := range map[string]func(string) error{"load": load, "kill": kill} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			if err := run(dir); err != nil {
				t.Errorf("%v\n%s", err, logs(dir))
			}
		})
	}
}
