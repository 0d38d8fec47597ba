//go:build !unix

package weights

import (
	"errors"
	"os"
)

// mapFile reads the file whole where files are not mapped.
func mapFile(path string) (data []byte, unmap func() error, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, nil, &os.PathError{Op: "read", Path: path, Err: errors.New("it is no regular file")}
	}
	data, err = os.ReadFile(path)
	return data, func() error { return nil }, err
}

// dropPages does nothing: what was read stays.
func dropPages([]byte) {}
