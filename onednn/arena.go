package onednn

import (
	"unsafe"

	"github.com/pkg/errors"
	"golang.org/x/sys/unix"
)

// arena is memory for intermediate results, outside Go's heap, in huge pages where the system has them.
type arena struct{ bytes []byte }

// grow returns memory for at least size bytes. What was returned before is no longer valid.
func (a *arena) grow(size int) (unsafe.Pointer, error) {
	if size > len(a.bytes) || a.bytes == nil {
		a.release()
		const page = 2 << 20
		size = (max(size, 1) + page - 1) / page * page
		b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_PRIVATE|unix.MAP_ANON)
		if err != nil {
			return nil, errors.Errorf("onednn: no memory for %d MiB of intermediate results: %v", size>>20, err)
		}
		_ = unix.Madvise(b, unix.MADV_HUGEPAGE) // only an optimization
		a.bytes = b
	}
	return unsafe.Pointer(unsafe.SliceData(a.bytes)), nil
}

func (a *arena) release() {
	if a.bytes != nil {
		_ = unix.Munmap(a.bytes)
		a.bytes = nil
	}
}
