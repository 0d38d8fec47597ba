package onednn_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/bfloat16"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"
	"github.com/gomlx/gomlx/core/tensors"
	"github.com/gomlx/gomlx/support/exceptions"
	"golang.org/x/sys/unix"

	"github.com/unnoise/unnoise/onednn"
)

// convolvedAndMultiplied reads a kernel only as a convolution does, a matrix only as a product does, and a vector as
// numbers.
func convolvedAndMultiplied(x, kernel, matrix, vector *Node) *Node {
	y := Convolve(x, kernel).PadSame().Done()
	y = Add(y, BroadcastToShape(ExpandLeftToRank(vector, 4), y.Shape()))
	return ConvertDType(Dot(y, matrix).General([]int{-1}, nil, []int{1}, nil), dtypes.Float32)
}

// Executables of several batch sizes get the same results from a buffer over a source as from one that holds its
// values, and share what they made of it.
func TestBufferFrom(t *testing.T) {
	for _, dtype := range []dtypes.DType{dtypes.Float32, dtypes.BFloat16} {
		t.Run(dtype.String(), func(t *testing.T) { testBufferFrom(t, dtype, -1) })
		for shift := range 2 {
			t.Run(fmt.Sprintf("%s mapped at %d", dtype, shift), func(t *testing.T) { testBufferFrom(t, dtype, shift) })
		}
	}
}

// testBufferFrom reads values that are lent or, with a shift from 0, mapped at so many bytes.
func testBufferFrom(t *testing.T, dtype dtypes.DType, shift int) {
	backend, err := onednn.New("")
	if err != nil {
		t.Fatal(err)
	}
	defer backend.Finalize()
	b := backend.(*onednn.Backend)
	flat := func(n int, seed float64) any {
		v := values(n, seed)
		if dtype == dtypes.BFloat16 {
			return bfloat16.FromFloat32s(v...)
		}
		return v
	}
	var sources, plain []compute.Buffer
	shape := []shapes.Shape{shapes.Make(dtype, 3, 3, 48, 160), shapes.Make(dtype, 96, 160), shapes.Make(dtype, 160)}
	reads := make([]int, len(shape))
	broken := errors.New("the file is gone")
	fail := broken
	for i, s := range shape {
		v := flat(s.Size(), float64(i))
		p, err := b.BufferFromFlatData(0, v, s)
		if err != nil {
			t.Fatal(err)
		}
		defer p.Finalize()
		plain = append(plain, p)
		stored := append([]byte{0}, dtypes.UnsafeByteSliceFromAny(v)...)[1:]
		if uintptr(unsafe.Pointer(&stored[0]))%2 == 0 {
			t.Fatal("the values stand at an even address, they should not")
		}
		var mapped []byte
		if shift >= 0 {
			if mapped, err = unix.Mmap(-1, 0, shift+len(stored), unix.PROT_READ|unix.PROT_WRITE,
				unix.MAP_PRIVATE|unix.MAP_ANON); err != nil {
				t.Fatal(err)
			}
			defer unix.Munmap(mapped)
			mapped = mapped[shift:]
			copy(mapped, stored)
		}
		p, err = b.BufferFrom(s, shift >= 0, func(use func([]byte) error) error {
			if i == 0 && fail != nil {
				return fail
			}
			reads[i]++
			if shift >= 0 {
				return use(mapped)
			}
			lent := append([]byte{0}, stored...)[1:]
			defer clear(lent)
			return use(lent)
		})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Finalize()
		sources = append(sources, p)
	}
	for run, batch := range []int{2, 1, 2, 3} {
		input := shapes.Make(dtype, batch, 8, 8, 48)
		g := NewGraph(b, "source")
		in := []*Node{Parameter(g, "x", input)}
		for i, s := range shape {
			in = append(in, Parameter(g, string(rune('a'+i)), s))
		}
		if err := g.Compile(convolvedAndMultiplied(in[0], in[1], in[2], in[3])); err != nil {
			t.Fatal(err)
		}
		defer g.Finalize()
		execute := func(weights []compute.Buffer) (y []float32, err error) {
			x, err := b.BufferFromFlatData(0, flat(input.Size(), 7), input)
			if err != nil {
				return nil, err
			}
			err = exceptions.TryCatch[error](func() {
				out := g.RunWithBuffers(append([]compute.Buffer{x}, weights...), make([]bool, 1+len(weights)), 0)
				defer out[0].FinalizeAll()
				y = tensors.MustCopyFlatData[float32](out[0])
			})
			return y, err
		}
		want, err := execute(plain)
		if err != nil {
			t.Fatal(err)
		}
		if run == 0 {
			if _, err := execute(sources); !errors.Is(err, broken) || !strings.Contains(err.Error(), `"a"`) {
				t.Errorf("a source that fails: %v; want its error and the parameter's name", err)
			}
			fail = nil
		}
		before := slices.Clone(reads)
		for range 2 {
			got, err := execute(sources)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(got, want) {
				t.Errorf("batch %d: a buffer over a source gives other results than one with its values", batch)
			}
		}
		if run == 2 && !slices.Equal(reads, before) {
			t.Errorf("the sources were read %v times, want %v: an executable of the same batch has laid the weights out", reads, before)
		}
	}
	for i, s := range shape {
		got, err := sources[i].(*onednn.Buffer).Data()
		if err != nil || !slices.Equal(dtypes.UnsafeByteSliceFromAny(got),
			dtypes.UnsafeByteSliceFromAny(flat(s.Size(), float64(i)))) {
			t.Errorf("Data of %s is not what the source gives (%v)", s, err)
		}
		_ = sources[i].Finalize()
		if _, err := sources[i].Shape(); err == nil {
			t.Error("a finalized buffer over a source still answers")
		}
	}
	short, err := b.BufferFrom(shape[1], false, func(use func([]byte) error) error { return use(make([]byte, 3)) })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := short.(*onednn.Buffer).Data(); err == nil || !strings.Contains(err.Error(), "gives 3 bytes, want") {
		t.Errorf("a source of another size: %v", err)
	}
}
