package weights

import (
	"encoding/binary"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

func file(t testing.TB, header, data string) string {
	t.Helper()
	b := binary.LittleEndian.AppendUint64(nil, uint64(len(header)))
	path := filepath.Join(t.TempDir(), "x.safetensors")
	if err := os.WriteFile(path, append(append(b, header...), data...), 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRoundTrip(t *testing.T) {
	path := filepath.Join(t.TempDir(), "x.safetensors")
	tensors := map[string]Tensor{
		"b":   FromFloat32([]int{2, 3}, []float32{1, -2, 3.5, 0, float32(math.Inf(1)), 1e-40}),
		"a":   FromInt32([]int{}, []int32{-7}),
		"é\"": {DType: I64, Shape: []int{0, 4}},
	}
	if err := Write(path, tensors, map[string]string{"k": "v"}); err != nil {
		t.Fatal(err)
	}
	first, _ := os.ReadFile(path)
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, want := f.Names(), []string{"a", "b", "é\""}; !slices.Equal(got, want) {
		t.Errorf("names %q, want %q", got, want)
	}
	if f.Metadata()["k"] != "v" {
		t.Errorf("metadata %v", f.Metadata())
	}
	b, err := f.Tensor("b")
	if err != nil {
		t.Fatal(err)
	}
	v, err := b.Float32()
	if err != nil || !slices.Equal(v, []float32{1, -2, 3.5, 0, float32(math.Inf(1)), 1e-40}) ||
		!slices.Equal(b.Shape, []int{2, 3}) {
		t.Errorf("b = %v %v, %v", b.Shape, v, err)
	}
	a, _ := f.Tensor("a")
	if i, err := a.Int32(); err != nil || !slices.Equal(i, []int32{-7}) {
		t.Errorf("a = %v, %v", i, err)
	}
	if _, err := f.Tensor("c"); err == nil || !strings.Contains(err.Error(), path) {
		t.Errorf("missing tensor: %v", err)
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}
	if err := Write(path, tensors, map[string]string{"k": "v"}); err != nil {
		t.Fatal(err)
	}
	if second, _ := os.ReadFile(path); !slices.Equal(first, second) {
		t.Error("writing the same twice gave other bytes")
	}
}

func TestConversions(t *testing.T) {
	for _, c := range []struct {
		dtype DType
		bits  []byte
		want  float32
	}{
		{F16, []byte{0x00, 0x3c}, 1}, {F16, []byte{0x01, 0x80}, -1.0 / (1 << 24)}, {F16, []byte{0xff, 0x7b}, 65504},
		{F16, []byte{0, 0xfc}, float32(math.Inf(-1))},
		{BF16, []byte{0xc0, 0xbf}, -1.5}, {F64, binary.LittleEndian.AppendUint64(nil, math.Float64bits(0.1)), 0.1},
	} {
		if v, err := (Tensor{DType: c.dtype, Data: c.bits}).Float32(); err != nil || v[0] != c.want {
			t.Errorf("%s %x: got %v, %v; want %v", c.dtype, c.bits, v, err, c.want)
		}
	}
	if _, err := (Tensor{DType: I32, Data: make([]byte, 4)}).Float32(); err == nil {
		t.Error("I32 read as floats")
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct{ header, data, want string }{
		{``, "", "JSON object"}, {`[]`, "", "JSON object"}, {`{"a":`, "", "entry"},
		{`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,8]}}`, "1234", "truncated"},
		{`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,4]}}`, "1234", "needs 8 bytes"},
		{`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`, "12345", "follow"},
		{`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`, "12345678", "starts at"},
		{`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"b":{"dtype":"F32","shape":[1],"data_offsets":[2,6]}}`,
			"123456", "starts at"},
		{`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]},"a":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}}`,
			"12345678", "twice"},
		{`{"a":{"dtype":"Q4","shape":[1],"data_offsets":[0,4]}}`, "1234", "dtype"},
		{`{"a":{"dtype":"F32","shape":[-1],"data_offsets":[0,4]}}`, "1234", "negative"},
		{`{"a":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,4]}}`, "1234", "too large"},
		{`{"a":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}}`, "1234", ""},
		{`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0]}}`, "1234", "data_offsets are 1 numbers"},
		{`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4,9]}}`, "1234", "data_offsets are 3 numbers"},
		{`{"a":{"dtype":"F32","shape":[1]}}`, "1234", "data_offsets are 0 numbers"},
		{`{"a":{"dtype":"F32","shape":[1` + strings.Repeat(",1", 16) + `],"data_offsets":[0,4]}}`, "1234",
			"17 dimensions"},
		{`{"a":{"dtype":"F32","shape":[` + strings.Repeat("1,", 1000) + `1],"data_offsets":[0,4]}}`, "1234",
			"expected at most 1024"},
		{`{"__metadata__":{"a":1}}`, "", "metadata"}, {`{} {}`, "", "goes on"},
	} {
		path := file(t, c.header, c.data)
		f, err := Open(path)
		if err == nil {
			f.Close()
			t.Errorf("%s: accepted", c.header)
		} else if !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v; want it to name the file and say %q", c.header, err, c.want)
		}
	}
	for _, b := range [][]byte{nil, {1, 2}, {0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, '{', '}'},
		{9, 0, 0, 0, 0, 0, 0, 0, '{'}} {
		path := filepath.Join(t.TempDir(), "x")
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		if f, err := Open(path); err == nil {
			f.Close()
			t.Errorf("%x: accepted", b)
		}
	}
	if _, err := Open(t.TempDir()); err == nil {
		t.Error("a folder was accepted")
	}
}

// What a header takes is a small multiple of its bytes, whatever it says.
func TestHeaderMemory(t *testing.T) {
	var many strings.Builder
	for i := range 20_000 {
		fmt.Fprintf(&many, `,"%x":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}`, i)
	}
	heap := func() (m runtime.MemStats) {
		runtime.GC()
		runtime.ReadMemStats(&m)
		return m
	}
	const most = 8
	data := func(header string) []byte {
		return append(binary.LittleEndian.AppendUint64(nil, uint64(len(header))), header...)
	}
	long := data(`{"a":{"dtype":"U8","shape":[1` + strings.Repeat(",1", 1<<20) + `],"data_offsets":[0,1]}}`)
	before := heap()
	if _, err := Parse("long", long); err == nil {
		t.Error("a shape of a million dimensions was accepted")
	}
	if took := heap().TotalAlloc - before.TotalAlloc; took > most*uint64(len(long)) {
		t.Errorf("a header of %d bytes took %d to refuse", len(long), took)
	}
	short := data("{" + many.String()[1:] + "}")
	before = heap()
	f, err := Parse("many", short)
	if err != nil {
		t.Fatal(err)
	}
	if takes := heap().HeapAlloc - before.HeapAlloc; takes > most*uint64(len(short)) {
		t.Errorf("a header of %d bytes takes %d", len(short), takes)
	}
	runtime.KeepAlive(f)
	runtime.KeepAlive(short)
}

func FuzzOpen(f *testing.F) {
	f.Add([]byte(`{"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}}`), []byte("1234"))
	f.Add([]byte(`{"__metadata__":{"k":"v"}}`), []byte{})
	f.Fuzz(func(t *testing.T, header, data []byte) {
		opened, err := Open(file(t, string(header), string(data)))
		if err != nil {
			return
		}
		defer opened.Close()
		total := 0
		for _, name := range opened.Names() {
			tensor, err := opened.Tensor(name)
			if err != nil {
				t.Fatal(err)
			}
			if tensor.Size()*tensor.DType.Size() != len(tensor.Data) {
				t.Fatalf("%q: %v of %s with %d bytes", name, tensor.Shape, tensor.DType, len(tensor.Data))
			}
			total += len(tensor.Data)
			_, _ = tensor.Float32()
			_, _ = tensor.Int32()
		}
		if total != len(data) {
			t.Fatalf("tensors hold %d bytes of %d", total, len(data))
		}
	})
}

func TestWriteEach(t *testing.T) {
	tensors := map[string]Tensor{"a": {DType: BF16, Shape: []int{2, 3}}, "b": {DType: F32, Shape: []int{1}}}
	path := filepath.Join(t.TempDir(), "a.safetensors")
	data := map[string]string{"a": "0123456789ab", "b": "wxyz"}
	write := func(w io.Writer, name string) error {
		for _, c := range data[name] { // in pieces
			if _, err := io.WriteString(w, string(c)); err != nil {
				return err
			}
		}
		return nil
	}
	if err := WriteEach(path, tensors, map[string]string{"format": "pt"}, write); err != nil {
		t.Fatal(err)
	}
	f, err := Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for name, want := range data {
		if x, err := f.Tensor(name); err != nil || string(x.Data) != want {
			t.Errorf("%s holds %q, %v, want %q", name, x.Data, err, want)
		}
	}
	for _, wrong := range []string{"0123456789a", "0123456789abc"} {
		data["a"] = wrong
		if err := WriteEach(filepath.Join(filepath.Dir(path), "b"), tensors, nil, write); err == nil ||
			!strings.Contains(err.Error(), `"a"`) {
			t.Errorf("%d of 12 bytes: %v", len(wrong), err)
		}
	}
	if left, _ := os.ReadDir(filepath.Dir(path)); len(left) != 1 {
		t.Errorf("left behind: %v", left)
	}
}
