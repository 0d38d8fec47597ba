package weights

import (
	"encoding/binary"
	"fmt"
	"math"
	"slices"
)

// As returns a tensor of floats in another float dtype: F32, F16 or BF16, rounded to nearest, ties to even. What F16 is
// too small for (above 65504) is an error.
func (t Tensor) As(d DType) (Tensor, error) {
	v, err := t.Float32()
	if err != nil {
		return Tensor{}, err
	}
	out := Tensor{DType: d, Shape: slices.Clone(t.Shape), Data: make([]byte, len(v)*d.Size())}
	for i, x := range v {
		switch d {
		case F32:
			binary.LittleEndian.PutUint32(out.Data[4*i:], math.Float32bits(x))
		case BF16:
			binary.LittleEndian.PutUint16(out.Data[2*i:], toBrain(x))
		case F16:
			h := toHalf(x)
			if h&0x7fff == 0x7c00 && !math.IsInf(float64(x), 0) {
				return Tensor{}, fmt.Errorf("the tensor's value %g has no place in F16, whose largest number is 65504",
					x)
			}
			binary.LittleEndian.PutUint16(out.Data[2*i:], h)
		default:
			return Tensor{}, fmt.Errorf("floats become F32, F16 or BF16, not %s", d)
		}
	}
	return out, nil
}

// half converts an IEEE 754 half-precision number.
func half(h uint16) float32 {
	sign, exponent, fraction := uint32(h>>15)<<31, uint32(h>>10)&0x1f, uint32(h)&0x3ff
	switch {
	case exponent == 0x1f:
		return math.Float32frombits(sign | 0x7f800000 | fraction<<13)
	case exponent != 0:
		return math.Float32frombits(sign | (exponent+112)<<23 | fraction<<13)
	}
	v := float32(fraction) / (1 << 24)
	if sign != 0 {
		v = -v
	}
	return v
}

func toHalf(x float32) uint16 {
	b := math.Float32bits(x)
	sign, magnitude := uint16(b>>16)&0x8000, b&0x7fffffff
	switch {
	case magnitude > 0x7f800000:
		return sign | 0x7e00
	case magnitude >= 0x47800000: // 65536 and above
		return sign | 0x7c00
	case magnitude < 0x38800000: // below 2⁻¹⁴: multiples of 2⁻²⁴
		return sign | uint16(math.RoundToEven(float64(math.Float32frombits(magnitude))*(1<<24)))
	}
	rounded := magnitude + 0xfff + magnitude>>13&1
	return sign | uint16(rounded>>13-112<<10)
}

func toBrain(x float32) uint16 {
	b := math.Float32bits(x)
	if b&0x7fffffff > 0x7f800000 {
		return uint16(b>>16) | 0x40
	}
	return uint16((b + 0x7fff + b>>16&1) >> 16)
}
