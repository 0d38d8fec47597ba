package pth

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/unnoise/unnoise/weights"
)

// tensor is torch._utils._rebuild_tensor_v2(storage, storage_offset, size, stride, requires_grad, backward_hooks,
// metadata).
func (m *machine) tensor(args Tuple) (weights.Tensor, error) {
	none := weights.Tensor{}
	if len(args) != 6 && len(args) != 7 {
		return none, fmt.Errorf("a tensor is made of %d things; want 6 or 7", len(args))
	}
	s, ok1 := args[0].(storage)
	offset, ok2 := args[1].(int64)
	shape, ok3 := ints(args[2])
	strides, ok4 := ints(args[3])
	if !ok1 || !ok2 || !ok3 || !ok4 || len(shape) != len(strides) || offset < 0 {
		return none, fmt.Errorf("a tensor is made of %s, %s, %s and %s; want a storage, an offset, and as many sizes "+
			"as strides, none of them negative",
			describe(args[0]), describe(args[1]), describe(args[2]), describe(args[3]))
	}
	// Hooks are functions; metadata says that a tensor is the conjugate or the negative of its numbers.
	for _, extra := range args[5:] {
		if d, ok := extra.(*Dict); extra != nil && (!ok || len(d.Items) > 0) {
			return none, fmt.Errorf("a tensor comes with %s, which is not understood", describe(extra))
		}
	}
	size := s.dtype.Size()
	elements, last := uint64(1), uint64(offset) // last is the highest index
	for i, n := range shape {
		high, low := bits.Mul64(elements, uint64(n))
		if high != 0 || low > 1<<48 {
			return none, fmt.Errorf("a tensor has shape %v: too large", shape)
		}
		elements = low
		if n > 0 {
			high, low = bits.Mul64(uint64(n-1), uint64(strides[i]))
			if high != 0 || low > 1<<48 || last > 1<<48 {
				return none, fmt.Errorf("a tensor has shape %v and strides %v: too large", shape, strides)
			}
			last += low
		}
	}
	t := weights.Tensor{DType: s.dtype, Shape: shape}
	if elements == 0 {
		return t, nil
	}
	if held := uint64(len(s.data) / size); last >= held {
		return none, fmt.Errorf("a tensor of shape %v, strides %v and offset %d goes to element %d of a storage of %d",
			shape, strides, offset, last, held)
	}
	bytes := int(elements) * size
	if !m.archive.bigEndian && rowMajor(shape, strides) {
		at := int(offset) * size
		t.Data = s.data[at : at+bytes : at+bytes]
		return t, nil
	}
	if uint64(bytes) > uint64(m.copies) {
		return none, fmt.Errorf("a tensor of shape %v would make %d bytes of a storage of %d: too many for a file of "+
			"this size", shape, bytes, len(s.data))
	}
	m.copies -= bytes
	t.Data = gather(s.data, int(offset), shape, strides, size)
	if m.archive.bigEndian {
		for element := range slices.Chunk(t.Data, size) {
			slices.Reverse(element)
		}
	}
	return t, nil
}

// maxRank is that of torch's tensors.
const maxRank = 64

// ints returns a tuple of numbers that are not negative, of at most a tensor's dimensions.
func ints(v any) ([]int, bool) {
	tuple, ok := v.(Tuple)
	if len(tuple) > maxRank {
		return nil, false
	}
	list := make([]int, len(tuple))
	for i, x := range tuple {
		n, isInt := x.(int64)
		if !isInt || n < 0 {
			return nil, false
		}
		list[i] = int(n)
	}
	return list, ok
}

// rowMajor reports whether the elements lie in order and without gaps.
func rowMajor(shape, strides []int) bool {
	want := 1
	for i := len(shape) - 1; i >= 0; i-- {
		if shape[i] != 1 && strides[i] != want {
			return false
		}
		want *= shape[i]
	}
	return true
}

// gather copies a view's elements in row-major order. The shape has no zeros.
func gather(data []byte, offset int, shape, strides []int, size int) []byte {
	n := size
	for _, d := range shape {
		n *= d
	}
	out := make([]byte, 0, n)
	at, where := offset, make([]int, len(shape))
	for {
		out = append(out, data[at*size:(at+1)*size]...)
		axis := len(shape) - 1
		for ; axis >= 0; axis-- {
			where[axis]++
			at += strides[axis]
			if where[axis] < shape[axis] {
				break
			}
			at -= shape[axis] * strides[axis]
			where[axis] = 0
		}
		if axis < 0 {
			return out
		}
	}
}
