// Package engine chooses what networks run on: the backend, and the element type they compute in.
package engine

import (
	"cmp"
	"errors"
	"fmt"
	"runtime"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/gobackend"

	"github.com/unnoise/unnoise/onednn"
)

// Options choose a backend; the zero value is the default.
type Options struct {
	Backend string   // onednn, which "" is too, go for GoMLX's own, or xla:PLUGIN with a plugin's name or file
	Threads int      // of onednn; 0: one for each CPU
	Without []string // optimizations of onednn to leave out; see onednn.Optimizations
}

// ErrUnknown is what New wraps where there is no such backend.
var ErrUnknown = errors.New("unknown")

// Info says what was chosen.
type Info struct {
	Device  string             // what computes, for people
	Library onednn.LibraryInfo // of onednn
	Threads int                // of onednn
	onednn  bool
}

// String describes the backend for people.
func (i Info) String() string {
	if !i.onednn {
		return i.Device
	}
	return i.Library.String() + ", " + Threads(i.Threads)
}

// Threads says how many.
func Threads(n int) string {
	if n == 1 {
		return "1 thread"
	}
	return fmt.Sprintf("%d threads", n)
}

// Computer says what computed: another backend by its name, or so many threads of onednn.
func Computer(backend string, threads int) string { return cmp.Or(backend, Threads(threads)) }

// Warning tells people that networks run slowly here and what to do about it; it is empty where all is well.
func (i Info) Warning() string {
	if !i.onednn || i.Library.Path != "" {
		return ""
	}
	help := "Run 'make setup'"
	if runtime.GOARCH != "amd64" { // there is none to fetch
		help = "Install your system's oneDNN 3"
	}
	return fmt.Sprintf("oneDNN was not found, so networks run slower than they could, by far where the CPU has units "+
		"for bfloat16 (%s). %s, or set ONEDNN_LIBRARY to the path of a libdnnl.so.3.", i.Library.Problem, help)
}

// New makes the backend. The caller finalizes it.
func New(o Options) (compute.Backend, Info, error) {
	if o.Threads < 0 {
		return nil, Info{}, fmt.Errorf("the number of threads is %d, expected 1 or more, or 0 for one for each CPU",
			o.Threads)
	}
	name, config, _ := strings.Cut(o.Backend, ":")
	if config != "" && name != "xla" {
		name = o.Backend // only XLA's has something behind it
	}
	var b compute.Backend
	var err error
	switch name {
	case "", onednn.BackendName:
		b, err := onednn.NewWithOptions(onednn.Options{Threads: o.Threads, Without: o.Without})
		if err != nil {
			return nil, Info{}, fmt.Errorf("starting the compute engine: %w", err)
		}
		l := onednn.Library()
		return b, Info{Device: l.ISA + ", " + Threads(b.Threads()), Library: l, Threads: b.Threads(), onednn: true}, nil
	case "go":
		b, err = gobackend.New("")
	case "xla":
		b, err = newXLA(config)
	default:
		return nil, Info{}, fmt.Errorf("backend %q is %w, expected onednn, go, xla:cuda, xla:cpu or xla: and a "+
			"plugin's file", o.Backend, ErrUnknown)
	}
	if err != nil {
		return nil, Info{}, err
	}
	return b, Info{Device: b.Description()}, nil
}

// DType resolves the name of an element type for convolutions and products on a backend: f32, bf16, or auto, which is
// bf16 where it has units for it.
func DType(name, backend string) (dtypes.DType, error) {
	switch name {
	case "f32":
		return dtypes.Float32, nil
	case "bf16":
		return dtypes.BFloat16, nil
	case "auto":
		other := backend != "" && backend != onednn.BackendName
		if !other && onednn.Library().BF16 || strings.HasPrefix(backend, "xla:cuda") ||
			strings.HasPrefix(backend, "xla:tpu") {
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
