package diffusion

import (
	"fmt"
	"math"
)

// Generator draws what PyTorch's CPU generator draws: after NewGenerator(s), the same sequence of calls
// gives the numbers that torch.manual_seed(s) would give. Integers and uniforms are equal bit by bit,
// normals up to float32 rounding of logarithm and cosine (about 1e-6).
//
// The order and the sizes of the calls matter, as they do in PyTorch: two draws of 8 normals are not one of 16.
// A Generator must not be used by several goroutines at once.
type Generator struct {
	engine mt19937

	// The scalar Box–Muller path makes normals in pairs and keeps the second for its next call.
	spare    float64
	hasSpare bool
}

// NewGenerator returns a generator seeded as torch.Generator().manual_seed(seed) is.
// Like PyTorch's, its engine uses the lower 32 bits of the seed only.
func NewGenerator(seed uint64) *Generator {
	g := new(Generator)
	g.engine.seed(uint32(seed))
	return g
}

// Uniform fills dst with numbers in [0, 1), multiples of 2⁻²⁴, as torch.rand(len(dst)) does.
func (g *Generator) Uniform(dst []float32) {
	for len(dst) > 0 {
		words := g.engine.words(len(dst))
		for i, w := range words {
			dst[i] = float32(temper(w)&(1<<24-1)) * 0x1p-24
		}
		dst = dst[len(words):]
	}
}

// Normal fills dst with standard normal numbers, as torch.randn(len(dst)) does; for images, len(dst) is the whole
// batch's.
func (g *Generator) Normal(dst []float32) {
	const block = 16
	if len(dst) < block {
		for i := range dst {
			dst[i] = float32(g.normal())
		}
		return
	}
	g.Uniform(dst)
	for i := 0; i+block <= len(dst); i += block {
		boxMuller((*[block]float32)(dst[i:]))
	}
	if len(dst)%block != 0 { // PyTorch draws the last whole block again
		last := dst[len(dst)-block:]
		g.Uniform(last)
		boxMuller((*[block]float32)(last))
	}
}

// Noise fills dst with standard normal numbers. It is a [NoiseSource].
func (g *Generator) Noise(_ int, _ float64, dst Images) error {
	g.Normal(dst.Data)
	return nil
}

// normal is PyTorch's scalar path: Box–Muller in float64, one number a call.
func (g *Generator) normal() float64 {
	if g.hasSpare {
		g.hasSpare = false
		return g.spare
	}
	u1, u2 := g.float64(), g.float64()
	radius := math.Sqrt(-2 * math.Log1p(-u2))
	sin, cos := math.Sincos(2 * math.Pi * u1)
	g.spare, g.hasSpare = radius*sin, true
	return radius * cos
}

// float64 is uniform in [0, 1), a multiple of 2⁻⁵³.
func (g *Generator) float64() float64 {
	return float64(g.engine.uint64()&(1<<53-1)) * 0x1p-53
}

// IntN fills dst with integers in [0, high), as torch.randint(high, (len(dst),)) does. Like rand.IntN, it panics when
// high is not positive.
func (g *Generator) IntN(dst []int, high int) {
	if high <= 0 {
		panic(fmt.Sprintf("diffusion: IntN needs a positive bound, found %d", high))
	}
	if high < 1<<28 {
		for i := range dst {
			dst[i] = int(g.engine.uint32() % uint32(high))
		}
		return
	}
	// PyTorch takes 64 bits from here on, so that the remainder stays almost uniform.
	for i := range dst {
		dst[i] = int(g.engine.uint64() % uint64(high))
	}
}

// Perm returns the integers 0..n-1 in random order, as torch.randperm(n) does for n below 214,748,364
// (beyond, PyTorch shuffles in another way). n is at most 2³²-1.
func (g *Generator) Perm(n int) []int {
	perm := make([]int, n)
	for i := range perm {
		perm[i] = i
	}
	for i := range n - 1 {
		j := i + int(g.engine.uint32()%uint32(n-i))
		perm[i], perm[j] = perm[j], perm[i]
	}
	return perm
}
