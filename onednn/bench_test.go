package onednn

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
)

// BenchmarkConvolution times the convolutions of the MNIST network, 3×3 with padding 1 on 128 images: forward, and the
// gradients for input and weights.
func BenchmarkConvolution(b *testing.B) {
	for _, s := range []struct{ size, in, out int }{{28, 64, 64}, {14, 128, 128}, {7, 256, 256}, {28, 1, 64},
		{28, 64, 1}} {
		const images = 128
		r := rand.New(rand.NewPCG(1, 1))
		x, w, dy := random(r, images, s.size, s.size, s.in), random(r, 3, 3, s.in, s.out),
			random(r, images, s.size, s.size, s.out)
		convolve := func(x, w *Node) *Node {
			return Convolve(x, w).PaddingPerDim([][2]int{{1, 1}, {1, 1}}).Done()
		}
		flops := 2 * 9 * float64(images*s.size*s.size*s.in*s.out)
		name := fmt.Sprintf("%dx%dx%d-%d", s.size, s.size, s.in, s.out)
		rate(b, name+"/forward", flops, func(in []*Node) *Node { return convolve(in[0], in[1]) }, x, w)
		rate(b, name+"/data", flops, func(in []*Node) *Node {
			zero := Zeros(in[0].Graph(), x.Shape())
			return Gradient(ReduceAllSum(Mul(convolve(zero, in[0]), in[1])), zero)[0]
		}, w, dy)
		rate(b, name+"/weights", flops, func(in []*Node) *Node {
			zero := Zeros(in[0].Graph(), w.Shape())
			return Gradient(ReduceAllSum(Mul(convolve(in[0], zero), in[1])), zero)[0]
		}, x, dy)
	}
}

// BenchmarkProduct times matrix products [m k]·[k n].
func BenchmarkProduct(b *testing.B) {
	for _, s := range [][3]int{{1024, 1024, 1024}, {128, 256, 512}, {1, 512, 512}} {
		r := rand.New(rand.NewPCG(1, 1))
		rate(b, fmt.Sprint(s), 2*float64(s[0]*s[1]*s[2]), func(in []*Node) *Node { return Dot(in[0], in[1]).Product() },
			random(r, s[0], s[1]), random(r, s[1], s[2]))
	}
}

// rate times the convolution or product in a computation, of so many floating-point operations, with oneDNN and
// without. The rate is the best run's.
func rate(b *testing.B, name string, flops float64, f func([]*Node) *Node, in ...*tensors.Tensor) {
	for _, configuration := range []string{"", "portable"} {
		kind := configuration
		if kind == "" {
			kind = "oneDNN"
		}
		b.Run(name+"/"+kind, func(b *testing.B) {
			backend, err := New(configuration)
			if err != nil {
				b.Fatal(err)
			}
			defer backend.Finalize()
			if configuration == "" && Library().Path == "" {
				b.Skip("there is no oneDNN here")
			}
			exec, err := NewExec(backend, func(in []*Node) *Node { return f(in) })
			if err != nil {
				b.Fatal(err)
			}
			defer exec.Finalize()
			args := make([]any, len(in))
			for i, x := range in {
				if args[i], err = x.LocalClone(); err != nil {
					b.Fatal(err)
				}
			}
			best := math.Inf(1)
			for b.Loop() {
				StartProfile(backend)
				exec.MustExec(args...)[0].MustFinalizeAll()
				seconds := 0.0
				for label, entry := range backend.(*Backend).profile.entries {
					if strings.HasPrefix(label, "convolution") || strings.HasPrefix(label, "product") {
						seconds += entry.seconds
					}
				}
				best = min(best, seconds)
			}
			b.ReportMetric(flops/best/1e9, "GFLOP/s")
			b.ReportMetric(0, "ns/op")
		})
	}
}
