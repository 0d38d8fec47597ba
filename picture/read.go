package picture

import (
	"fmt"
	"io"
	"os"
	"strings"
)

// ReadFile reads a picture's file, of at most [MaxBytes], or one of the [Examples] where there is no file of that name.
func ReadFile(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		if data, ok := example(name); ok {
			return data, nil
		}
		return nil, fmt.Errorf("%w; the pictures that come with the program are %s", err,
			strings.Join(Examples(), ", "))
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, MaxBytes+1))
	if err != nil {
		return nil, err
	}
	if len(data) > MaxBytes {
		return nil, fmt.Errorf("%s has over %d bytes, which are the most that are read", name, MaxBytes)
	}
	return data, nil
}
