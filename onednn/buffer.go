package onednn

import (
	"reflect"
	"sync"
	"sync/atomic"
	"unsafe"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	"github.com/pkg/errors"

	"github.com/unnoise/unnoise/onednn/internal/graph"
)

// Buffer is an array in the host's memory, shared with the client.
type Buffer struct {
	backend *Backend
	shape   shapes.Shape
	bytes   []byte // nil once finalized, and while the values are only at the source
	source  func(use func(values []byte) error) error
	mapped  bool       // what source gives is a mapped file's
	there   []byte     // what it gave, if so; touched on the native thread, and by Finalize
	loading sync.Mutex // bytes of a source
	frozen  atomic.Bool
	packed  *packedCopies // touched on the native thread, and by Finalize
}

// Freeze promises that the buffer's values will not change any more. Executions that get the same frozen buffers again
// as parameters keep what they made of them, such as weights in oneDNN's layouts.
func (b *Buffer) Freeze() { b.frozen.Store(true) }

const alignment = 64

// memory keeps finalized buffers' storage by size, so that a training loop allocates nothing once it runs.
type memory struct {
	mu   sync.Mutex
	free map[int][][]byte
	held int
}

// maxHeld bounds what is kept, in bytes.
const maxHeld = 1 << 30

func (m *memory) get(size int) []byte {
	m.mu.Lock()
	defer m.mu.Unlock()
	if list := m.free[size]; len(list) > 0 {
		b := list[len(list)-1]
		m.free[size] = list[:len(list)-1]
		m.held -= size
		return b
	}
	return aligned(size)
}

func (m *memory) put(b []byte) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.free == nil {
		m.free = map[int][][]byte{}
	}
	if len(b) > 0 && m.held+len(b) <= maxHeld {
		m.free[len(b)] = append(m.free[len(b)], b)
		m.held += len(b)
	}
}

func (m *memory) clear() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.free, m.held = nil, 0
}

func aligned(size int) []byte {
	raw := make([]byte, size+alignment)
	shift := 0
	if r := int(uintptr(unsafe.Pointer(unsafe.SliceData(raw))) % alignment); r != 0 {
		shift = alignment - r
	}
	return raw[shift : shift+size : shift+size]
}

func (b *Backend) newBuffer(shape shapes.Shape) *Buffer {
	return &Buffer{backend: b, shape: shape.Clone(), bytes: b.memory.get(graph.ByteSize(shape))}
}

// flat is a slice of the dtype's Go type over bytes.
func flat(shape shapes.Shape, b []byte) any {
	n := shape.Size()
	if shape.DType.IsPacked() {
		n = len(b)
	}
	if n == 0 {
		return dtypes.MakeAnySlice(shape.DType, 0)
	}
	return dtypes.UnsafeAnySliceFromBytes(unsafe.Pointer(unsafe.SliceData(b)), shape.DType, n)
}

// values are those in memory, or nil where they are only at the source: executions of several goroutines may bring
// them.
func (b *Buffer) values() []byte {
	b.loading.Lock()
	defer b.loading.Unlock()
	return b.bytes
}

func (b *Buffer) check() error {
	if b == nil || b.source == nil && b.values() == nil {
		return errGone
	}
	return nil
}

var errGone = errors.New("onednn: the buffer was finalized or donated; it can't be used any more")

// Backend returns the backend that made the buffer.
func (b *Buffer) Backend() compute.Backend { return b.backend }

// Finalize gives the storage back. It does nothing for a buffer that was finalized or donated before.
func (b *Buffer) Finalize() error {
	if b == nil {
		return nil
	}
	if b.bytes != nil && !b.backend.IsFinalized() {
		b.backend.memory.put(b.bytes)
	}
	if b.packed != nil {
		b.packed.free()
	}
	b.bytes, b.there, b.source = nil, nil, nil
	return nil
}

// resident returns values for an execution to read; own reports whether they are in Go's memory.
func (b *Buffer) resident() (values []byte, own bool, err error) {
	if values := b.values(); values != nil {
		return values, true, nil
	}
	if b.mapped && b.there == nil && b.source != nil {
		err := b.atSource(func(values []byte) error {
			if uintptr(unsafe.Pointer(unsafe.SliceData(values)))%uintptr(max(b.shape.DType.Size(), 1)) == 0 {
				b.there = values
			}
			return nil
		})
		if err != nil {
			return nil, false, err
		}
	}
	if b.there != nil {
		return b.there, false, nil
	}
	values, err = b.load()
	return values, true, err
}

// use calls f with the values, wherever they are.
func (b *Buffer) use(f func(values []byte) error) error {
	if values := b.values(); values != nil {
		return f(values)
	}
	return b.atSource(f)
}

func (b *Buffer) atSource(f func(values []byte) error) error {
	return b.source(func(values []byte) error {
		if want := graph.ByteSize(b.shape); len(values) != want {
			return errors.Errorf("onednn: the source of a buffer of shape %s gives %d bytes, want %d", b.shape,
				len(values), want)
		}
		return f(values)
	})
}

// load returns the values in memory, and brings them there where they are only at the source.
func (b *Buffer) load() ([]byte, error) {
	b.loading.Lock()
	defer b.loading.Unlock()
	if b.bytes != nil {
		return b.bytes, nil
	}
	if b.source == nil {
		return nil, errGone
	}
	err := b.atSource(func(values []byte) error {
		bytes := b.backend.memory.get(len(values))
		copy(bytes, values)
		b.bytes = bytes
		return nil
	})
	return b.bytes, err
}

// Shape returns the buffer's shape.
func (b *Buffer) Shape() (shapes.Shape, error) { return b.shape, b.check() }

// DeviceNum returns 0: there is one device.
func (b *Buffer) DeviceNum() (compute.DeviceNum, error) { return 0, b.check() }

// ToFlatData copies the values out.
func (b *Buffer) ToFlatData(flat any) error {
	if err := b.check(); err != nil {
		return err
	}
	return b.use(func(values []byte) error {
		dst := graph.FlatBytes(flat)
		if len(dst) != len(values) {
			return errors.Errorf("onednn: ToFlatData of %s needs %d bytes, the slice given (%T) has %d", b.shape,
				len(values), flat, len(dst))
		}
		if !holds(flat, b.shape.DType) {
			return errors.Errorf("onednn: %s can't be read into a %T", b.shape, flat)
		}
		copy(dst, values)
		return nil
	})
}

// Data returns a slice over the buffer's own storage.
func (b *Buffer) Data() (any, error) {
	values, err := b.load()
	if err != nil {
		return nil, err
	}
	return flat(b.shape, values), nil
}

// CopyToDevice copies the buffer to device 0, the only one.
func (b *Buffer) CopyToDevice(device compute.DeviceNum) (compute.Buffer, error) {
	values, err := b.load()
	if err != nil {
		return nil, err
	}
	return b.backend.BufferFromFlatData(device, flat(b.shape, values), b.shape)
}

// BufferFromFlatData copies a flat slice of the shape's Go type into a new buffer.
func (b *Backend) BufferFromFlatData(device compute.DeviceNum, flat any, shape shapes.Shape) (compute.Buffer, error) {
	buffer, _, err := b.NewSharedBuffer(device, shape)
	if err != nil {
		return nil, err
	}
	src, dst := graph.FlatBytes(flat), buffer.(*Buffer).bytes
	if len(src) != len(dst) || src == nil {
		_ = buffer.Finalize()
		return nil, errors.Errorf("onednn: shape %s needs %d bytes, the slice given (%T) has %d", shape, len(dst), flat,
			len(src))
	}
	if !holds(flat, shape.DType) {
		_ = buffer.Finalize()
		return nil, errors.Errorf("onednn: a %T can't fill a buffer of shape %s", flat, shape)
	}
	copy(dst, src)
	return buffer, nil
}

// holds reports whether a slice's elements are of a dtype.
func holds(flat any, dtype dtypes.DType) bool {
	t := reflect.TypeOf(flat)
	return t != nil && t.Kind() == reflect.Slice && (dtype.IsPacked() || dtypes.FromGoType(t.Elem()) == dtype)
}

// BufferFrom returns a frozen buffer whose values stay at the source until they are needed, and are read again as often
// as they are. Weights that executions use in oneDNN's layouts only are thus in memory once, in these.
//
// source calls use with the values, in the machine's byte order, at any address, valid until use returns, and returns
// use's error or its own. It may be called until the buffer is finalized. Where mapped is set, the values are those of
// a mapped file, in no memory of Go's, and stay where they are until then: executions that take them as they are read
// them there.
func (b *Backend) BufferFrom(shape shapes.Shape, mapped bool,
	source func(use func(values []byte) error) error) (compute.Buffer, error) {
	if b.IsFinalized() {
		return nil, errFinalized
	}
	buffer := &Buffer{backend: b, shape: shape.Clone(), mapped: mapped, source: source}
	buffer.Freeze()
	return buffer, nil
}

// HasSharedBuffers returns true: buffers live in the host's memory.
func (b *Backend) HasSharedBuffers() bool { return true }

// NewSharedBuffer returns a zeroed or reused buffer and a slice over its storage.
func (b *Backend) NewSharedBuffer(device compute.DeviceNum, shape shapes.Shape) (compute.Buffer, any, error) {
	if b.IsFinalized() {
		return nil, nil, errFinalized
	}
	if device != 0 {
		return nil, nil, errors.Errorf("onednn: there is one device, number 0; got %d", device)
	}
	buffer := b.newBuffer(shape)
	return buffer, flat(buffer.shape, buffer.bytes), nil
}
