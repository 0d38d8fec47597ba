//go:build unix

package weights

import (
	"errors"
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

func mapFile(path string) (data []byte, unmap func() error, err error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, &os.PathError{Op: "read", Path: path, Err: errors.New("it is no regular file")}
	}
	if info.Size() == 0 {
		return nil, func() error { return nil }, nil
	}
	data, err = unix.Mmap(int(f.Fd()), 0, int(info.Size()), unix.PROT_READ, unix.MAP_SHARED)
	if err != nil {
		return nil, nil, &os.PathError{Op: "mmap", Path: path, Err: err}
	}
	return data, func() error { return unix.Munmap(data) }, nil
}

// dropPages gives back the pages that lie in data as a whole. They are of a file that is only read, so nothing is lost.
func dropPages(data []byte) {
	page := os.Getpagesize()
	start := (page - int(uintptr(unsafe.Pointer(unsafe.SliceData(data)))%uintptr(page))) % page
	if size := (len(data) - start) / page * page; size > 0 {
		_ = unix.Madvise(data[start:start+size], unix.MADV_DONTNEED) // only memory is at stake
	}
}
