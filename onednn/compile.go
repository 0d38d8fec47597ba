package onednn

import (
	"fmt"
	"os"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/onednn/internal/graph"
	"github.com/unnoise/unnoise/onednn/internal/passes"
)

// compile is what the builders of the backend's computations end with.
func (b *Backend) compile(name string, g *graph.Graph) (compute.Executable, error) {
	dump := func(string) {}
	if os.Getenv("ONEDNN_DUMP") != "" {
		dump = func(pass string) { fmt.Fprintf(os.Stderr, "onednn: %q after pass %q\n%s", name, pass, g) }
		fmt.Fprintf(os.Stderr, "onednn: %q as recorded\n%s", name, g)
	}
	passes.Run(g, b.without, dump)
	// On the native thread: oneDNN plans for its number of threads and keeps its scratch memory there.
	var e *executable
	err := b.do(func() (err error) {
		e, err = lower(b, name, g)
		return err
	})
	if err != nil {
		return nil, err
	}
	if os.Getenv("ONEDNN_DUMP") != "" {
		fmt.Fprintf(os.Stderr, "onednn: %q lowered\n%s", e.name, e)
	}
	return e, nil
}

// attends reports whether attention on a type of floats is one operation.
func (b *Backend) attends(dtype dtypes.DType) bool {
	return !b.without["attention"] && !b.portable && loaded.Path != "" &&
		(dtype == dtypes.Float32 || dtype == dtypes.BFloat16 && loaded.BF16)
}
