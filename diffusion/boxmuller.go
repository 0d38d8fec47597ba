package diffusion

import "math"

// boxMuller turns 16 uniform numbers into 16 normal ones: the first eight give the radii, the last eight the angles.
// Radius and angle are rounded to float32 where PyTorch rounds them.
func boxMuller(block *[16]float32) {
	const tau = float32(2 * math.Pi)
	for i := range 8 {
		radius := float32(math.Sqrt(-2 * logUnit(1-block[i])))
		sin, cos := sincos(tau * block[i+8])
		block[i] = radius * float32(cos)
		block[i+8] = radius * float32(sin)
	}
}

// logUnit returns ln(u) for a positive normal u, to about 1e-11.
// With u = 2^e m and m in [√½, √2): ln(u) = e ln2 + 2 artanh((m-1)/(m+1)).
func logUnit(u float32) float64 {
	const sqrtHalf = 0x3f3504f3 // float32 bits of √½
	shifted := math.Float32bits(u) - sqrtHalf
	exponent := int32(shifted) >> 23
	m := float64(math.Float32frombits(shifted&(1<<23-1) + sqrtHalf))
	s := (m - 1) / (m + 1)
	z := s * s
	return float64(exponent)*math.Ln2 + 2*s*(1+z*(1./3+z*(1./5+z*(1./7+z*(1./9+z*(1./11))))))
}

// sincos returns sin(x) and cos(x) for 0 ≤ x < 7, to about 1e-10: Taylor series around the nearest multiple of π/2,
// without a branch.
func sincos(x float32) (sin, cos float64) {
	quarter := int(float64(x)*(2/math.Pi) + 0.5)
	r := float64(x) - float64(quarter)*(math.Pi/2)
	z := r * r
	s := r * (1 + z*(-1./6+z*(1./120+z*(-1./5040+z*(1./362880+z*(-1./39916800))))))
	c := 1 + z*(-1./2+z*(1./24+z*(-1./720+z*(1./40320+z*(-1./3628800+z*(1./479001600))))))
	qs, qc := quarterSin[quarter&3], quarterSin[(quarter+1)&3]
	return s*qc + c*qs, c*qc - s*qs
}

var quarterSin = [4]float64{0, 1, 0, -1}
