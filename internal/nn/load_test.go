package nn

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/dtypes/bfloat16"
	_ "github.com/gomlx/compute/gobackend"

	_ "github.com/unnoise/unnoise/onednn"
	"github.com/unnoise/unnoise/weights"
)

// stored is a file with one tensor, w.
func stored(t *testing.T, w weights.Tensor) *weights.File {
	t.Helper()
	path := filepath.Join(t.TempDir(), "w.safetensors")
	if err := weights.Write(path, map[string]weights.Tensor{"w": w}, nil); err != nil {
		t.Fatal(err)
	}
	f, err := weights.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// Every dtype of a file becomes every dtype of computing, on a backend that copies and on one that reads when it must.
func TestLoad(t *testing.T) {
	n := 1<<16 + 3 // more than convert takes at once
	v := make([]float32, n)
	for i := range v {
		v[i] = float32(i%257-128) / 64 // numbers that all the dtypes have
	}
	params := []Param{{Name: "w", Shape: []int{n}}}
	for _, kept := range []weights.DType{weights.F32, weights.F16, weights.BF16} {
		tensor, err := weights.FromFloat32([]int{n}, v).As(kept)
		if err != nil {
			t.Fatal(err)
		}
		f := stored(t, tensor)
		for _, name := range []string{"go", "onednn"} {
			b, err := compute.NewWithConfig(name)
			if err != nil {
				t.Fatal(err)
			}
			defer b.Finalize()
			for _, dtype := range []dtypes.DType{dtypes.Float32, dtypes.BFloat16} {
				var read [][2]int
				buffers, err := Load(b, params, func(Param) dtypes.DType { return dtype }, f,
					func(done, total int) { read = append(read, [2]int{done, total}) })
				if err != nil {
					t.Fatal(err)
				}
				for range 2 { // the second time from dropped pages
					got := make([]float32, n)
					if dtype == dtypes.BFloat16 {
						narrow := make([]bfloat16.BFloat16, n)
						err = buffers[0].ToFlatData(narrow)
						for i, x := range narrow {
							got[i] = x.Float32()
						}
					} else {
						err = buffers[0].ToFlatData(got)
					}
					if err != nil || !slices.Equal(got, v) {
						t.Errorf("%s: %s in the file, %s on the backend: other values (%v)", name, kept, dtype, err)
					}
				}
				if all := n * kept.Size(); !slices.Equal(read, [][2]int{{all, all}}) {
					t.Errorf("%s: progress %d, expected %d bytes, told once", name, read, all)
				}
				Finalize(buffers)
			}
		}
	}
}

func TestLoadRefuses(t *testing.T) {
	b, err := compute.NewWithConfig("onednn")
	if err != nil {
		t.Fatal(err)
	}
	defer b.Finalize()
	f := stored(t, weights.FromInt32([]int{2}, []int32{1, 2}))
	for want, p := range map[string]Param{"elements are I32": {Name: "w", Shape: []int{2}},
		"has shape [2]": {Name: "w", Shape: []int{3}}, "no place in this network": {Name: "v", Shape: []int{2}}} {
		_, err := Load(b, []Param{p}, func(Param) dtypes.DType { return dtypes.Float32 }, f, nil)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), f.Path()) {
			t.Errorf("%v: %v; want the file's name and %q", p, err, want)
		}
	}
}

// Float32 weights are rounded to the nearest bfloat16, ties to even ones; other dtypes are refused.
func TestLoadRounds(t *testing.T) {
	f := stored(t, weights.FromFloat32([]int{4}, []float32{1 + 1./256, 1 + 3./256, 1 + 1./200, -1 - 1./300}))
	for _, name := range []string{"go", "onednn"} {
		b, err := compute.NewWithConfig(name)
		if err != nil {
			t.Fatal(err)
		}
		defer b.Finalize()
		load := func(dtype dtypes.DType) ([]bfloat16.BFloat16, error) {
			buffers, err := Load(b, []Param{{Name: "w", Shape: []int{4}}}, func(Param) dtypes.DType { return dtype }, f,
				nil)
			if err != nil {
				return nil, err
			}
			defer Finalize(buffers)
			got := make([]bfloat16.BFloat16, 4)
			return got, buffers[0].ToFlatData(got)
		}
		got, err := load(dtypes.BFloat16)
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []float32{1, 1 + 1./64, 1 + 1./128, -1} {
			if got[i].Float32() != want {
				t.Errorf("%s: value %d is %g, want %g", name, i, got[i].Float32(), want)
			}
		}
		if _, err := load(dtypes.Float16); err == nil {
			t.Errorf("%s: weights were loaded as float16", name)
		}
	}
}
