package training

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/unnoise/unnoise/internal/filelock"
)

// lock keeps a second process from writing to the same run.
func lock(dir string) (unlock func(), err error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("the run's folder can't be written to: %w", err)
	}
	if !filelock.Take(f) {
		f.Close()
		return nil, fmt.Errorf("the run in %s is being trained by another process: wait for it, or stop it first", dir)
	}
	return func() { f.Close() }, nil
}
