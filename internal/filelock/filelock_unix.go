//go:build unix

// Package filelock keeps a second process from writing to the same file or folder.
package filelock

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// Take locks what f has open, and reports whether it could: false if another process has the lock. It ends when f is
// closed, and with the process, however that ends. On a file system without locks it is true.
func Take(f *os.File) bool {
	return !errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB), unix.EWOULDBLOCK)
}
