package nn

import (
	"fmt"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/bfloat16"
	"github.com/gomlx/compute/shapes"

	"github.com/unnoise/unnoise/weights"
)

// Load puts the values that stand in a file on the backend, tensor by tensor, converted to each parameter's dtype: Float32 or
// BFloat16. The file must hold these parameters and no others.
func Load(b compute.Backend, params []Param, dtype func(Param) dtypes.DType, f *weights.File) ([]compute.Buffer, error) {
	known := map[string]bool{}
	for _, p := range params {
		known[p.Name] = true
	}
	for _, name := range f.Names() {
		if !known[name] {
			return nil, fmt.Errorf("%s: tensor %q has no place in this network: is its configuration another model's?", f.Path(), name)
		}
	}
	var all []compute.Buffer
	for _, p := range params {
		v, err := p.Read(f, "")
		if err == nil {
			var values any = v
			if dtype(p) == dtypes.BFloat16 {
				values = bfloat16.FromFloat32s(v...)
			}
			var buffer compute.Buffer
			if buffer, err = b.BufferFromFlatData(0, values, shapes.Make(dtype(p), p.GraphShape()...)); err == nil {
				all = append(all, Freeze(buffer))
				continue
			}
		}
		Finalize(all)
		return nil, err
	}
	return all, nil
}

// Freeze promises the backend that a buffer's values stay: the onednn backend then lays weights out once.
func Freeze(b compute.Buffer) compute.Buffer {
	if f, ok := b.(interface{ Freeze() }); ok {
		f.Freeze()
	}
	return b
}
