// Package engine chooses what networks run on: the backend, and the element type they compute in.
package engine

import (
	"fmt"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/onednn"
)

// Options choose a backend; the zero value is the default.
type Options struct {
	Threads int      // of native work; 0: one for each CPU
	Without []string // optimisations to leave out; see onednn.Optimizations
}

// Info says what was chosen.
type Info struct {
	Library onednn.LibraryInfo
	Threads int
}

// Warning tells people that networks run slowly here and what to do about it; it is empty where all is well.
func (i Info) Warning() string {
	if i.Library.Path != "" {
		return ""
	}
	return fmt.Sprintf("oneDNN was not found, so networks run slower than they could, by far where the CPU has units for bfloat16 (%s). Run 'make setup', or set ONEDNN_LIBRARY to a libdnnl.so.3.", i.Library.Problem)
}

// New makes the backend. The caller finalizes it.
func New(o Options) (compute.Backend, Info, error) {
	if o.Threads < 0 {
		return nil, Info{}, fmt.Errorf("the number of threads is %d, expected 1 or more, or 0 for one for each CPU", o.Threads)
	}
	b, err := onednn.NewWithOptions(onednn.Options{Threads: o.Threads, Without: o.Without})
	if err != nil {
		return nil, Info{}, fmt.Errorf("starting the compute engine: %w", err)
	}
	return b, Info{Library: onednn.Library(), Threads: b.Threads()}, nil
}

// DType resolves the name of an element type for convolutions and products: f32, bf16, or auto, which is bf16 where the CPU
// has units for it.
func DType(name string) (dtypes.DType, error) {
	switch name {
	case "f32":
		return dtypes.Float32, nil
	case "bf16":
		return dtypes.BFloat16, nil
	case "auto":
		if onednn.Library().BF16 {
			return dtypes.BFloat16, nil
		}
		return dtypes.Float32, nil
	}
	return dtypes.InvalidDType, fmt.Errorf("dtype %q is unknown, expected auto, bf16 or f32", name)
}

// Name is the name that DType gives d for: f32 or bf16.
func Name(d dtypes.DType) string {
	if d == dtypes.BFloat16 {
		return "bf16"
	}
	return "f32"
}
