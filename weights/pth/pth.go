// Package pth reads files that PyTorch's torch.save wrote, as far as they hold tensors in plain containers:
// dictionaries, lists, tuples, numbers, texts, booleans and None.
//
// Such a file is a zip archive: data.pkl is a pickle that says how all belongs together, data/N are the numbers of
// storages, and byteorder is their order of bytes. A pickle is a program. This package never runs what it says: it
// knows the opcodes that build containers, and the one function that makes a tensor of a storage. All else is refused
// by name.
package pth

import (
	"archive/zip"
	"bytes"
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/unnoise/unnoise/internal/otherfile"
	"github.com/unnoise/unnoise/weights"
)

// File is what a file holds.
type File struct {
	// Value is nil, a bool, an int64, a float64, a string, a [weights.Tensor], a *[Dict], a *[List] or a [Tuple] of
	// them.
	Value   any
	path    string
	names   []string
	tensors map[string]weights.Tensor
}

// Dict is a dictionary in the order it was filled in.
type Dict struct {
	Items []Item
	keys  map[any]bool
}

// Item is an entry of a dictionary; Key is a string or an int64.
type Item struct{ Key, Value any }

// List is a list.
type List struct{ Items []any }

// Tuple is a tuple.
type Tuple []any

// maxPickle bounds data.pkl, of which each byte can make a container. A prompt takes about 150.
const maxPickle = 16 << 20

// Read reads a file. Whatever it says, tensors take no more memory than eight times the file and 1 MiB, and containers
// about a hundred bytes for each of data.pkl's, which may have 16 MiB.
func Read(path string) (*File, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading a .pth file: %w", err)
	}
	f, err := parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	f.path = path
	return f, nil
}

func parse(data []byte) (*File, error) {
	a, err := openArchive(data)
	if err != nil {
		return nil, err
	}
	pickle, err := a.entry("data.pkl")
	if err != nil {
		return nil, err
	}
	if len(pickle) > maxPickle {
		return nil, fmt.Errorf("its data.pkl has %d bytes; at most %d are read", len(pickle), maxPickle)
	}
	m := machine{in: pickle, archive: a, memo: map[uint64]any{}, copies: copyLimit(len(data))}
	value, err := m.run()
	if err != nil {
		return nil, fmt.Errorf("its data.pkl at byte %d: %w", m.opcode, err)
	}
	f := &File{Value: value, tensors: map[string]weights.Tensor{}}
	w := walker{file: f, budget: copyLimit(len(data))}
	return f, w.walk("", value, 0)
}

// copyLimit is how many bytes may be made of a file of size bytes: a file can say the same numbers, and hold the same
// container, in many places.
func copyLimit(size int) int { return 1<<20 + 8*size }

// archive is the zip archive, in memory.
type archive struct {
	data      []byte
	files     map[string]*zip.File
	bigEndian bool
	sound     map[string]bool // entries whose checksums were found right: a pickle may refer to one many times
}

// legacy is what torch.save wrote before version 1.6: a pickle of this number.
var legacy = []byte("\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19")

func openArchive(data []byte) (*archive, error) {
	switch {
	case bytes.HasPrefix(data, legacy):
		return nil, errors.New("it is in the format of torch before 1.6: load it with torch and save it again")
	case !bytes.HasPrefix(data, []byte("PK\x03\x04")):
		return nil, otherfile.Explain(data, errors.New("it is not a zip archive as torch.save writes it"))
	}
	z, err := zip.NewReader(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, fmt.Errorf("its archive can't be read (is the file truncated?): %w", err)
	}
	a := &archive{data: data, files: map[string]*zip.File{}, sound: map[string]bool{}}
	var folder string
	for i, f := range z.File {
		first, name, _ := strings.Cut(f.Name, "/")
		if i == 0 {
			folder = first
		}
		if first != folder {
			return nil, fmt.Errorf("its archive has the folders %q and %q; torch.save writes one", folder, first)
		}
		if _, twice := a.files[name]; twice {
			return nil, fmt.Errorf("its archive has %q twice", f.Name)
		}
		a.files[name] = f
	}
	if _, ok := a.files["data.pkl"]; !ok {
		return nil, errors.New("its archive has no data.pkl: it was not written by torch.save")
	}
	if _, ok := a.files["byteorder"]; ok {
		order, err := a.entry("byteorder")
		if err != nil {
			return nil, err
		}
		if a.bigEndian = string(order) == "big"; !a.bigEndian && string(order) != "little" {
			return nil, fmt.Errorf("its byteorder is %q, expected little or big", order[:min(len(order), 20)])
		}
	}
	if _, ok := a.files["version"]; ok {
		version, err := a.entry("version")
		if err != nil {
			return nil, err
		}
		// PyTorch's own reader stops at 10; tensors have been written the same way since 1.
		if v, err := strconv.Atoi(strings.TrimSpace(string(version[:min(len(version), 20)]))); err != nil || v < 1 ||
			v > 10 {
			return nil, fmt.Errorf("its version is %q, expected 1 to 10", version[:min(len(version), 20)])
		}
	}
	return a, nil
}

// entry returns an entry's bytes, which lie in the archive as they are.
func (a *archive) entry(name string) ([]byte, error) {
	f := a.files[name]
	if f == nil {
		return nil, fmt.Errorf("its archive has no %s", name)
	}
	if f.Method != zip.Store || f.UncompressedSize64 != f.CompressedSize64 {
		return nil, fmt.Errorf("%s in its archive is compressed; torch.save does not compress", name)
	}
	at, err := f.DataOffset()
	if err != nil {
		return nil, fmt.Errorf("%s in its archive: %w", name, err)
	}
	if at < 0 || at > int64(len(a.data)) || f.UncompressedSize64 > uint64(len(a.data))-uint64(at) {
		return nil, fmt.Errorf("%s in its archive has %d bytes from byte %d on, and the file has %d (is it truncated?)",
			name, f.UncompressedSize64, at, len(a.data))
	}
	end := at + int64(f.UncompressedSize64)
	data := a.data[at:end:end]
	if a.sound[name] {
		return data, nil
	}
	if sum := crc32.ChecksumIEEE(data); sum != f.CRC32 {
		return nil, fmt.Errorf("%s in its archive has the checksum %08x, expected %08x: the file is damaged, or "+
			"saved without checksums", name, sum, f.CRC32)
	}
	a.sound[name] = true
	return data, nil
}

// walker lists the tensors by path.
type walker struct {
	file   *File
	budget int // bytes of paths that may still be made
}

const maxDepth = 64

func (w *walker) walk(path string, v any, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("its containers lie more than %d deep in each other: %.80s…", maxDepth, path)
	}
	if w.budget -= 1 + len(path); w.budget < 0 {
		return errors.New("its containers hold each other in so many places that they unfold to a multiple of the " +
			"file's size")
	}
	switch v := v.(type) {
	case weights.Tensor:
		w.file.names = append(w.file.names, path)
		w.file.tensors[path] = v
	case *Dict:
		for _, item := range v.Items {
			if err := w.walk(path+"["+key(item.Key)+"]", item.Value, depth+1); err != nil {
				return err
			}
		}
	case *List:
		return w.walkAll(path, v.Items, depth)
	case Tuple:
		return w.walkAll(path, v, depth)
	case global, storage:
		return fmt.Errorf("it holds %s itself at %q; want containers and tensors", describe(v), path)
	}
	return nil
}

func (w *walker) walkAll(path string, items []any, depth int) error {
	for i, item := range items {
		if err := w.walk(path+"["+strconv.Itoa(i)+"]", item, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// key writes a dictionary's key.
func key(k any) string {
	if s, ok := k.(string); ok {
		return strconv.Quote(s)
	}
	return fmt.Sprint(k)
}

// Names returns the tensors' paths in the file's order, such as ["prompts"][0]; a tensor that is all there is has "".
func (f *File) Names() []string { return slices.Clone(f.names) }

// Tensor returns a tensor by its path.
func (f *File) Tensor(name string) (weights.Tensor, error) {
	t, ok := f.tensors[name]
	if !ok {
		return weights.Tensor{}, fmt.Errorf("%s has no tensor %s", f.path, name)
	}
	return t, nil
}
