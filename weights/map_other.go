//go:build !unix

package weights

import "os"

func mapFile(path string) (data []byte, unmap func() error, err error) {
	data, err = os.ReadFile(path)
	return data, func() error { return nil }, err
}

func dropPages([]byte) {}
