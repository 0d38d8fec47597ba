package memory

import "golang.org/x/sys/unix"

// Peak is the most memory, in bytes, that the process has held.
func Peak() int64 {
	var u unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return int64(u.Maxrss) * 1024 // Linux counts KiB
}
