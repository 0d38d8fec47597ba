package nn

import (
	"fmt"
	"sync"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/bfloat16"
	"github.com/gomlx/compute/shapes"

	"github.com/unnoise/unnoise/weights"
)

// Check reports whether a file holds these parameters, in dtypes that Load converts, and no others. Values are not
// read.
func Check(params []Param, f *weights.File) error {
	known := map[string]bool{}
	for _, p := range params {
		known[p.Name] = true
	}
	for _, name := range f.Names() {
		if t, err := f.Tensor(name); err == nil && (t.DType == weights.I8 || t.DType == weights.U8) {
			return fmt.Errorf("%s: tensor %q is of %s: quantized weights (int8, 4 bits) are not run; fetch the model "+
				"in float32, float16 or bfloat16", f.Path(), name, t.DType)
		}
		if !known[name] {
			return fmt.Errorf("%s: tensor %q has no place in this network: is its configuration another model's?",
				f.Path(), name)
		}
	}
	for _, p := range params {
		t, err := p.find(f, "")
		if err != nil {
			return err
		}
		if _, err := (weights.Tensor{DType: t.DType, Shape: []int{0}}).Float32(); err != nil {
			return fmt.Errorf("%s: tensor %q: %w", f.Path(), p.Name, err)
		}
	}
	return nil
}

// Load puts the values that stand in a file on the backend, tensor by tensor, converted to each parameter's dtype:
// Float32 or BFloat16. The file must hold these parameters, in the graph's layout, and no others. It must stay open as
// long as the buffers are in use: the onednn backend reads them when it lays weights out. progress, if not nil, is told
// each time that a tensor was first read, one call after the other.
func Load(b compute.Backend, params []Param, dtype func(Param) dtypes.DType, f *weights.File,
	progress Progress) ([]compute.Buffer, error) {
	if err := Check(params, f); err != nil {
		return nil, err
	}
	read := counter{progress: progress}
	for _, p := range params {
		t, err := p.find(f, "")
		if err != nil {
			return nil, err
		}
		read.total += len(t.Data)
	}
	var all []compute.Buffer
	for _, p := range params {
		buffer, err := p.load(b, dtype(p), f, &read)
		if err != nil {
			Finalize(all)
			return nil, err
		}
		all = append(all, buffer)
	}
	return all, nil
}

// Progress is told how many of a file's bytes were read.
type Progress func(done, total int)

// counter counts the bytes that were read, which backends may do on several threads.
type counter struct {
	progress    Progress
	mu          sync.Mutex
	done, total int
}

func (c *counter) add(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.done += n
	if c.progress != nil {
		c.progress(c.done, c.total)
	}
}

func (p Param) load(b compute.Backend, dtype dtypes.DType, f *weights.File, read *counter) (compute.Buffer, error) {
	t, err := p.find(f, "")
	if err != nil {
		return nil, err
	}
	shape, same := shapes.Make(dtype, p.Shape...), t.DType == fileDTypes[dtype]
	if b, ok := b.(sourcing); ok {
		var first sync.Once // it is read again where another layout is needed
		return b.BufferFrom(shape, same && t.Mapped(), func(use func(values []byte) error) error {
			defer first.Do(func() { read.add(len(t.Data)) })
			defer t.Drop()
			if same {
				return use(t.Data)
			}
			values, err := convert(t, dtype)
			if err != nil {
				return err
			}
			return use(dtypes.UnsafeByteSliceFromAny(values))
		})
	}
	defer t.Drop()
	values, err := convert(t, dtype)
	if err != nil {
		return nil, err
	}
	read.add(len(t.Data))
	return b.BufferFromFlatData(0, values, shape)
}

// sourcing is the onednn backend, which need not keep what it is given.
type sourcing interface {
	BufferFrom(shape shapes.Shape, mapped bool, source func(use func(values []byte) error) error) (compute.Buffer,
		error)
}

var fileDTypes = map[dtypes.DType]weights.DType{dtypes.Float32: weights.F32, dtypes.BFloat16: weights.BF16}

// convert returns a tensor's values as a slice of dtype, a piece at a time.
func convert(t weights.Tensor, dtype dtypes.DType) (any, error) {
	const piece = 1 << 16
	n, size := t.Size(), t.DType.Size()
	values := dtypes.MakeAnySlice(dtype, n)
	for from := 0; ; from += piece {
		to := min(from+piece, n)
		v, err := weights.Tensor{DType: t.DType, Shape: []int{to - from}, Data: t.Data[from*size : to*size]}.Float32()
		if err != nil {
			return nil, err
		}
		switch values := values.(type) {
		case []float32:
			copy(values[from:], v)
		case []bfloat16.BFloat16:
			for i, x := range v {
				values[from+i] = bfloat16.FromFloat32(x)
			}
		default:
			return nil, fmt.Errorf("weights are loaded as float32 or bfloat16, not as %s", dtype)
		}
		if to == n {
			return values, nil
		}
	}
}

// Freeze promises the backend that a buffer's values stay: the onednn backend then lays weights out once.
func Freeze(b compute.Buffer) compute.Buffer {
	if f, ok := b.(interface{ Freeze() }); ok {
		f.Freeze()
	}
	return b
}
