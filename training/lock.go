package training

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/unnoise/unnoise/internal/filelock"
)

// runLock keeps a second process from writing to the same run.
type runLock struct{ file *os.File }

func lock(dir string) (*runLock, error) {
	f, err := os.OpenFile(filepath.Join(dir, lockFile), os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, fmt.Errorf("the run's folder can't be written to: %w", err)
	}
	if !filelock.Take(f) {
		f.Close()
		return nil, fmt.Errorf("the run in %s is being trained by another process: wait for it, or stop it first", dir)
	}
	return &runLock{f}, nil
}

// check reports whether the folder's name has another run's folder by now.
func (l *runLock) check() error {
	mine, err := l.file.Stat()
	if err != nil {
		return fmt.Errorf("checking the run's lock: %w", err)
	}
	if there, err := os.Stat(l.file.Name()); err == nil && !os.SameFile(mine, there) {
		return fmt.Errorf("%s was moved or removed during the training, and another run begun there: "+
			"this one ends, and leaves that one alone", filepath.Dir(l.file.Name()))
	}
	return nil
}

func (l *runLock) release() { l.file.Close() }
