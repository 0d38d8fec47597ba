package graph

import (
	"encoding/binary"
	"math"
	"reflect"
	"slices"
	"unsafe"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/bfloat16"
	"github.com/gomlx/compute/dtypes/float16"
	"github.com/gomlx/compute/shapes"
)

// MaxRank bounds the axes of what native code walks.
const MaxRank = 8

// Native reports whether native code has the elements' type: registers hold float32, so that integers and float64 are
// the fallback's.
func Native(d dtypes.DType) bool { return IsFloat(d) || d == dtypes.Bool }

// IsFloat reports whether the type is one of the floats that native code computes with.
func IsFloat(d dtypes.DType) bool {
	return d == dtypes.Float32 || d == dtypes.BFloat16 || d == dtypes.Float16
}

// RowMajor is the strides, in elements, of an array whose last axis lies together.
func RowMajor(s shapes.Shape) []int { return RowMajorOf(s.Dimensions) }

// RowMajorOf is RowMajor for dimensions.
func RowMajorOf(dims []int) []int {
	stride := make([]int, len(dims))
	n := 1
	for i, d := range slices.Backward(dims) {
		stride[i] = n
		n *= d
	}
	return stride
}

// ByteSize is the storage of an array, in bytes.
func ByteSize(s shapes.Shape) int { return s.DType.SizeForDimensions(s.Dimensions...) }

// FlatBytes is the storage of a flat slice.
func FlatBytes(flat any) []byte {
	v := reflect.ValueOf(flat)
	if v.Kind() != reflect.Slice {
		return nil
	}
	if v.Len() == 0 {
		return []byte{}
	}
	return unsafe.Slice((*byte)(v.UnsafePointer()), v.Len()*int(v.Type().Elem().Size()))
}

// flatOf is a one-element slice that holds v.
func flatOf(dtype dtypes.DType, v float64) any {
	s := reflect.MakeSlice(reflect.SliceOf(dtype.GoType()), 1, 1)
	s.Index(0).Set(reflect.ValueOf(shapes.CastAsDType(v, dtype)))
	return s.Interface()
}

// ScalarOf reads one element as float32.
func ScalarOf(d dtypes.DType, b []byte) (float32, bool) {
	switch d {
	case dtypes.Float32:
		return math.Float32frombits(binary.LittleEndian.Uint32(b)), true
	case dtypes.BFloat16:
		return bfloat16.FromBits(binary.LittleEndian.Uint16(b)).Float32(), true
	case dtypes.Float16:
		return float16.FromBits(binary.LittleEndian.Uint16(b)).Float32(), true
	case dtypes.Bool:
		return float32(b[0]), true
	}
	return 0, false
}

// ReduceShape sees dims as [outer, mid, inner] with mid reduced; that needs the axes to stand together.
func ReduceShape(dims, axes []int) (outer, mid, inner int, ok bool) {
	if len(axes) == 0 {
		axes = make([]int, len(dims))
		for i := range axes {
			axes[i] = i
		}
	}
	axes = slices.Clone(axes)
	slices.Sort(axes)
	outer, mid, inner = 1, 1, 1
	for i, d := range dims {
		switch {
		case d == 1:
		case slices.Contains(axes, i):
			if inner != 1 {
				return 0, 0, 0, false
			}
			mid *= d
		case mid == 1:
			outer *= d
		default:
			inner *= d
		}
	}
	return outer, mid, inner, true
}

// MomentsShape sees what n reduces as [outer, rows, channels] with moments over rows; ok if the native operation
// computes that.
func MomentsShape(n *Node) (outer, rows, channels int, ok bool) {
	x := n.In[0].Shape()
	if !IsFloat(x.DType) || n.Out[0].Shape().DType != dtypes.Float32 || x.Size() == 0 {
		return 0, 0, 0, false
	}
	return ReduceShape(x.Dimensions, n.Attr.([]int))
}
