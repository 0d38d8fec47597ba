// Package disk tells how much room there is.
package disk

import (
	"cmp"

	"golang.org/x/sys/unix"
)

// Free returns the bytes that the user may still write to the disk of a folder, and false where the system does not
// say.
func Free(dir string) (int64, bool) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, false
	}
	return int64(s.Bavail) * cmp.Or(int64(s.Frsize), int64(s.Bsize)), true // blocks are counted in fragments
}
