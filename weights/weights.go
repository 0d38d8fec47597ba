// Package weights reads and writes safetensors files, the format of the hub's model folders.
//
// A file is eight bytes of header length, a JSON header that gives each tensor's dtype, shape and byte range, and the
// ranges' bytes. See https://github.com/huggingface/safetensors.
package weights

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"math/bits"
	"slices"

	"github.com/unnoise/unnoise/internal/atomicfile"
	"github.com/unnoise/unnoise/internal/modelfile"
	"github.com/unnoise/unnoise/internal/otherfile"
)

// DType is an element type by its name in the format.
type DType string

// The element types that the format knows and this package reads.
const (
	BOOL DType = "BOOL"
	U8   DType = "U8"
	I8   DType = "I8"
	U16  DType = "U16"
	I16  DType = "I16"
	U32  DType = "U32"
	I32  DType = "I32"
	U64  DType = "U64"
	I64  DType = "I64"
	F16  DType = "F16"
	BF16 DType = "BF16"
	F32  DType = "F32"
	F64  DType = "F64"
)

var dtypes = []DType{BOOL, U8, I8, U16, I16, U32, I32, U64, I64, F16, BF16, F32, F64}

// Size returns the bytes of one element, 0 for an unknown type.
func (d DType) Size() int {
	switch d {
	case BOOL, U8, I8:
		return 1
	case U16, I16, F16, BF16:
		return 2
	case U32, I32, F32:
		return 4
	case U64, I64, F64:
		return 8
	}
	return 0
}

// Tensor is an array of little-endian elements, row-major. Data of an opened file is valid until its Close and must
// not be written to.
type Tensor struct {
	DType DType
	Shape []int
	Data  []byte

	mapped bool // Data is of a mapped file
}

// Drop lets the memory go that holds the tensor's Data, where that is of a mapped file. Who reads Data again gets it
// from the file again.
func (t Tensor) Drop() {
	if t.mapped {
		dropPages(t.Data)
	}
}

// Mapped reports whether Data is of a mapped file, which stays until the file is closed.
func (t Tensor) Mapped() bool { return t.mapped }

// ByteSize returns the size of the elements in bytes.
func (t Tensor) ByteSize() int { return t.Size() * t.DType.Size() }

// Size returns the number of elements.
func (t Tensor) Size() int {
	n := 1
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Float32 returns the elements of an F32, F16, BF16 or F64 tensor as a new slice.
func (t Tensor) Float32() ([]float32, error) {
	v := make([]float32, t.Size())
	switch t.DType {
	case F32:
		for i := range v {
			v[i] = math.Float32frombits(binary.LittleEndian.Uint32(t.Data[4*i:]))
		}
	case BF16:
		for i := range v {
			v[i] = math.Float32frombits(uint32(binary.LittleEndian.Uint16(t.Data[2*i:])) << 16)
		}
	case F16:
		for i := range v {
			v[i] = half(binary.LittleEndian.Uint16(t.Data[2*i:]))
		}
	case F64:
		for i := range v {
			v[i] = float32(math.Float64frombits(binary.LittleEndian.Uint64(t.Data[8*i:])))
		}
	default:
		return nil, fmt.Errorf("the tensor's elements are %s; want F32, F16, BF16 or F64", t.DType)
	}
	return v, nil
}

// Int32 returns the elements of an I32 tensor as a new slice.
func (t Tensor) Int32() ([]int32, error) {
	if t.DType != I32 {
		return nil, fmt.Errorf("the tensor's elements are %s; want I32", t.DType)
	}
	v := make([]int32, t.Size())
	for i := range v {
		v[i] = int32(binary.LittleEndian.Uint32(t.Data[4*i:]))
	}
	return v, nil
}

// FromFloat32 makes an F32 tensor of the values, which it copies. It panics if the shape has another number of
// elements.
func FromFloat32(shape []int, values []float32) Tensor { return from(F32, shape, values) }

// FromInt32 makes an I32 tensor as FromFloat32 does.
func FromInt32(shape []int, values []int32) Tensor { return from(I32, shape, values) }

func from[T any](dtype DType, shape []int, values []T) Tensor {
	t := Tensor{DType: dtype, Shape: slices.Clone(shape)}
	if t.Size() != len(values) {
		panic(fmt.Sprintf("weights: shape %v has %d elements, got %d values", shape, t.Size(), len(values)))
	}
	// never fails with numbers
	t.Data, _ = binary.Append(make([]byte, 0, len(values)*dtype.Size()), binary.LittleEndian, values)
	return t
}

// entry is a tensor's line in the header.
type entry struct {
	DType   DType     `json:"dtype"`
	Shape   []int     `json:"shape"`
	Offsets [2]uint64 `json:"data_offsets"`
}

// maxEntry bounds the bytes of an entry, and so what reading it takes; maxRank bounds its dimensions, which together
// need less.
const (
	maxEntry = 1024
	maxRank  = 16
)

func (e *entry) UnmarshalJSON(data []byte) error {
	if len(data) > maxEntry {
		return fmt.Errorf("it has %d bytes, expected at most %d, which %d dimensions need", len(data), maxEntry,
			maxRank)
	}
	var raw struct {
		DType   DType    `json:"dtype"`
		Shape   []int    `json:"shape"`
		Offsets []uint64 `json:"data_offsets"`
	}
	if err := json.Unmarshal(data, &raw); err != nil {
		return err
	}
	if len(raw.Shape) > maxRank {
		return fmt.Errorf("its shape has %d dimensions, expected at most %d", len(raw.Shape), maxRank)
	}
	if len(raw.Offsets) != len(e.Offsets) {
		return fmt.Errorf("its data_offsets are %d numbers, expected begin and end", len(raw.Offsets))
	}
	*e = entry{raw.DType, raw.Shape, [2]uint64(raw.Offsets)}
	return nil
}

// place is where a tensor's bytes are.
type place struct {
	name       string
	begin, end uint64
}

// maxHeader is the longest header the format allows.
const maxHeader = 100_000_000

const metadataName = "__metadata__"

// File is an opened safetensors file.
type File struct {
	path     string
	names    []string
	tensors  map[string]Tensor
	metadata map[string]string
	unmap    func() error
}

// Open maps a file into memory and checks its header: every tensor's range must fit its dtype and shape, and the ranges
// must cover the rest of the file without gap or overlap. Errors name the file and the tensor.
func Open(path string) (*File, error) {
	if modelfile.IsInProgram(path) {
		data, err := modelfile.ReadFile(path)
		if err != nil {
			return nil, fmt.Errorf("opening weights: %w", err)
		}
		return Parse(path, data)
	}
	data, unmap, err := mapFile(path)
	if err != nil {
		return nil, fmt.Errorf("opening %s: %w", path, err)
	}
	f, err := Parse(path, data)
	if err != nil {
		unmap()
		return nil, err
	}
	f.unmap = unmap
	for name, t := range f.tensors {
		t.mapped = true
		f.tensors[name] = t
	}
	return f, nil
}

// Parse reads a file that is in memory, under the path that errors shall name. Its tensors lie in data.
func Parse(path string, data []byte) (*File, error) {
	f := &File{path: path, unmap: func() error { return nil }}
	if err := f.parse(data); err != nil {
		if len(data) <= 8 || data[8] != '{' { // where a header begins
			err = otherfile.Explain(data, err)
		}
		return nil, fmt.Errorf("%s is not a valid safetensors file: %w", path, err)
	}
	return f, nil
}

// Zeros returns a file that lies nowhere, with tensors of zeros that share their memory: to time networks with.
func Zeros(dtype DType, shapes map[string][]int) *File {
	f := &File{path: "zeros", tensors: map[string]Tensor{}, unmap: func() error { return nil }}
	f.names = slices.Sorted(maps.Keys(shapes))
	most := 0
	for _, name := range f.names {
		f.tensors[name] = Tensor{DType: dtype, Shape: shapes[name]}
		most = max(most, f.tensors[name].ByteSize())
	}
	zeros := make([]byte, most)
	for name, t := range f.tensors {
		t.Data = zeros[:t.ByteSize()]
		f.tensors[name] = t
	}
	return f
}

func (f *File) parse(data []byte) error {
	if len(data) < 8 {
		return fmt.Errorf("it has %d bytes; want at least 8 for the header's length (is it truncated?)", len(data))
	}
	length, rest := binary.LittleEndian.Uint64(data), data[8:]
	if length > maxHeader {
		return fmt.Errorf("its header claims %d bytes; the format allows %d", length, maxHeader)
	}
	if length > uint64(len(rest)) {
		return fmt.Errorf("its header claims %d bytes, the file has %d after the length (is it truncated?)", length,
			len(rest))
	}
	places, err := f.parseHeader(rest[:length])
	if err != nil {
		return err
	}
	return f.layOut(places, rest[length:])
}

// parseHeader reads the object token by token, so that a name that stands twice is noticed, and no more is kept of many
// tensors than is needed.
func (f *File) parseHeader(header []byte) ([]place, error) {
	d := json.NewDecoder(bytes.NewReader(header))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return nil, errors.New("its header is not a JSON object")
	}
	f.tensors = map[string]Tensor{}
	var places []place
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, fmt.Errorf("its header is not JSON: %v", err)
		}
		name, _ := t.(string)
		if name == metadataName {
			if f.metadata != nil {
				return nil, errors.New("its header has two __metadata__")
			}
			if err := d.Decode(&f.metadata); err != nil {
				return nil, fmt.Errorf("its __metadata__ is not an object of strings: %v", err)
			}
			continue
		}
		if _, twice := f.tensors[name]; twice {
			return nil, fmt.Errorf("its header names tensor %q twice", name)
		}
		var e entry
		if err := d.Decode(&e); err != nil {
			return nil, fmt.Errorf("tensor %q: its header entry can't be read: %v", name, err)
		}
		dtype := slices.Index(dtypes, e.DType)
		if dtype < 0 {
			return nil, fmt.Errorf("tensor %q has the unknown dtype %q; floats are read in F64, F32, F16 and BF16",
				name, e.DType)
		}
		f.tensors[name] = Tensor{DType: dtypes[dtype], Shape: e.Shape}
		places = append(places, place{name, e.Offsets[0], e.Offsets[1]})
	}
	if _, err := d.Token(); err != nil {
		return nil, fmt.Errorf("its header is not JSON: %v", err)
	}
	if trailing := bytes.TrimRight(header[d.InputOffset():], " \t\r\n\x00"); len(trailing) > 0 {
		return nil, errors.New("its header goes on after the JSON object")
	}
	return places, nil
}

func (f *File) layOut(places []place, data []byte) error {
	slices.SortFunc(places, func(a, b place) int {
		return cmp.Or(cmp.Compare(a.begin, b.begin), cmp.Compare(a.end, b.end), cmp.Compare(a.name, b.name))
	})
	at := uint64(0)
	for _, p := range places {
		name, begin, end, t := p.name, p.begin, p.end, f.tensors[p.name]
		want := uint64(t.DType.Size())
		for _, d := range t.Shape {
			if d < 0 {
				return fmt.Errorf("tensor %q has shape %v: a dimension is negative", name, t.Shape)
			}
			high, low := bits.Mul64(want, uint64(d))
			if high != 0 || low > math.MaxInt64 {
				return fmt.Errorf("tensor %q has shape %v: too large", name, t.Shape)
			}
			want = low
		}
		switch {
		case begin != at:
			return fmt.Errorf("tensor %q starts at byte %d of the data; the one before it ends at %d", name, begin, at)
		case end < begin || end-begin != want:
			return fmt.Errorf("tensor %q of %s %v needs %d bytes, its range is [%d, %d)", name, t.DType, t.Shape, want,
				begin, end)
		case end > uint64(len(data)):
			return fmt.Errorf("tensor %q ends at byte %d of the data, the file has %d (is it truncated?)", name, end,
				len(data))
		}
		t.Data = data[begin:end:end]
		f.tensors[name] = t
		at = end
	}
	if at != uint64(len(data)) {
		return fmt.Errorf("%d bytes follow the last tensor", uint64(len(data))-at)
	}
	f.names = slices.Sorted(maps.Keys(f.tensors))
	return nil
}

// Close unmaps the file. Tensors taken from it can't be used any more.
func (f *File) Close() error {
	f.tensors = nil
	return f.unmap()
}

// Without returns a view of the file that lacks some tensors. It ends with the file's Close.
func (f *File) Without(drop func(name string) bool) *File {
	view := &File{path: f.path, metadata: f.metadata, tensors: map[string]Tensor{}, unmap: func() error { return nil }}
	for _, name := range f.names {
		if !drop(name) {
			view.names = append(view.names, name)
			view.tensors[name] = f.tensors[name]
		}
	}
	return view
}

// Path returns the path the file was opened with.
func (f *File) Path() string { return f.path }

// Names returns the tensors' names in order.
func (f *File) Names() []string { return slices.Clone(f.names) }

// Metadata returns the header's free-form strings.
func (f *File) Metadata() map[string]string { return maps.Clone(f.metadata) }

// Tensor returns a tensor by name.
func (f *File) Tensor(name string) (Tensor, error) {
	t, ok := f.tensors[name]
	if !ok {
		return Tensor{}, fmt.Errorf("%s has no tensor %q", f.path, name)
	}
	return t, nil
}

// Write writes a file atomically. The same tensors and metadata give the same bytes: tensors are ordered by falling
// alignment, then by name, as the reference implementation does.
func Write(path string, tensors map[string]Tensor, metadata map[string]string) error {
	for name, t := range tensors {
		if t.ByteSize() != len(t.Data) {
			return fmt.Errorf("writing %s: tensor %q of %s %v with %d bytes can't be stored", path, name, t.DType,
				t.Shape, len(t.Data))
		}
	}
	return WriteEach(path, tensors, metadata, func(w io.Writer, name string) error {
		_, err := w.Write(tensors[name].Data)
		return err
	})
}

// WriteEach is Write for tensors that need not be in memory together: their Data is not read, write writes it instead,
// tensor by tensor.
func WriteEach(path string, tensors map[string]Tensor, metadata map[string]string,
	write func(w io.Writer, name string) error) error {
	names := slices.SortedFunc(maps.Keys(tensors), func(a, b string) int {
		if x, y := tensors[a].DType.Size(), tensors[b].DType.Size(); x != y {
			return y - x
		}
		return bytes.Compare([]byte(a), []byte(b))
	})
	header, err := header(names, tensors, metadata)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return atomicfile.Write(path, func(w io.Writer) error {
		if err := binary.Write(w, binary.LittleEndian, uint64(len(header))); err != nil {
			return err
		}
		if _, err := w.Write(header); err != nil {
			return err
		}
		for _, name := range names {
			c := counter{w: w}
			if err := write(&c, name); err != nil {
				return err
			}
			if want := tensors[name].ByteSize(); c.n != want {
				return fmt.Errorf("tensor %q: %d bytes were written, expected %d", name, c.n, want)
			}
		}
		return nil
	})
}

// header is the JSON header of tensors that follow each other, filled up to whole alignments.
func header(names []string, tensors map[string]Tensor, metadata map[string]string) ([]byte, error) {
	var header bytes.Buffer
	header.WriteByte('{')
	if len(metadata) > 0 {
		m, err := json.Marshal(metadata)
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&header, "%q:%s", metadataName, m)
	}
	at := uint64(0)
	for _, name := range names {
		t := tensors[name]
		if name == metadataName || t.DType.Size() == 0 {
			return nil, fmt.Errorf("tensor %q of %s can't be stored", name, t.DType)
		}
		if header.Len() > 1 {
			header.WriteByte(',')
		}
		shape := t.Shape
		if shape == nil {
			shape = []int{}
		}
		n, err := json.Marshal(name)
		if err != nil {
			return nil, err
		}
		end := at + uint64(t.ByteSize())
		e, err := json.Marshal(entry{t.DType, shape, [2]uint64{at, end}})
		if err != nil {
			return nil, err
		}
		fmt.Fprintf(&header, "%s:%s", n, e)
		at = end
	}
	header.WriteByte('}')
	for header.Len()%8 != 0 {
		header.WriteByte(' ')
	}
	return header.Bytes(), nil
}

// counter counts the bytes that are written.
type counter struct {
	w io.Writer
	n int
}

func (c *counter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += n
	return n, err
}
