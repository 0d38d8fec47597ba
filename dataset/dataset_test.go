package dataset

import (
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestMNIST(t *testing.T) {
	train, test, err := MNIST()
	if err != nil {
		t.Fatal(err)
	}
	if train.Len() != 60000 || test.Len() != 10000 || train.Rows != 28 || train.Cols != 28 || len(test.Images) != 10000*28*28 {
		t.Errorf("got %d+%d images of %d×%d", train.Len(), test.Len(), train.Rows, train.Cols)
	}
	if want := []byte{5, 0, 4, 1, 9, 2, 1, 3, 1, 4}; !slices.Equal(train.Labels[:10], want) {
		t.Errorf("first labels %v, want %v", train.Labels[:10], want)
	}
}

// TestHashes checks the files against the table in mnist/README.md.
func TestHashes(t *testing.T) {
	readme, err := os.ReadFile("mnist/README.md")
	if err != nil {
		t.Fatal(err)
	}
	files, err := fs.Glob(embedded, "mnist/*.gz")
	if err != nil || len(files) != 4 {
		t.Fatal(files, err)
	}
	for _, name := range files {
		b, err := embedded.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if sum := sha256.Sum256(b); !bytes.Contains(readme, []byte(hex.EncodeToString(sum[:]))) {
			t.Errorf("%s has SHA-256 %x, which mnist/README.md does not list", name, sum)
		}
	}
}

func encode(dims []int, data []byte) []byte {
	b := []byte{0, 0, 8, byte(len(dims))}
	for _, d := range dims {
		b = binary.BigEndian.AppendUint32(b, uint32(d))
	}
	return append(b, data...)
}

func zipped(b []byte) []byte {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	_, _ = w.Write(b)
	_ = w.Close()
	return z.Bytes()
}

// folder writes a valid little set with some files replaced (nil: left out).
func folder(t *testing.T, replaced map[string][]byte) string {
	t.Helper()
	files := map[string][]byte{
		"train-images-idx3-ubyte":   encode([]int{3, 2, 2}, []byte("abcdefghijkl")),
		"train-labels-idx1-ubyte":   encode([]int{3}, []byte{1, 2, 3}),
		"t10k-images.idx3-ubyte.gz": zipped(encode([]int{1, 2, 2}, []byte{0, 51, 102, 255})),
		"t10k-labels-idx1-ubyte.gz": zipped(encode([]int{1}, []byte{9})),
	}
	dir := t.TempDir()
	for name, b := range replaced {
		files[name] = b
	}
	for name, b := range files {
		if b == nil {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestOpen(t *testing.T) {
	dir := folder(t, nil)
	if err := os.Mkdir(filepath.Join(dir, "t10k-images-idx3-ubyte"), 0o755); err != nil { // as some archives have one beside the file
		t.Fatal(err)
	}
	train, test, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if train.Len() != 3 || string(train.Images) != "abcdefghijkl" || test.Len() != 1 || test.Labels[0] != 9 {
		t.Errorf("got %+v, %+v", train, test)
	}
	pixels, labels := make([]float32, 8), make([]int32, 2)
	test.Batch([]int{0, 0}, pixels, labels)
	if want := []float32{0, .2, .4, 1, 0, .2, .4, 1}; !slices.Equal(pixels, want) || labels[1] != 9 {
		t.Errorf("batch %v %v, want %v", pixels, labels, want)
	}
	if h := train.Head(2); h.Len() != 2 || string(h.Images) != "abcdefgh" {
		t.Errorf("head %+v", h)
	}
}

func TestRefusals(t *testing.T) {
	const images, labels = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
	good := encode([]int{3, 2, 2}, []byte("abcdefghijkl"))
	for want, files := range map[string]map[string][]byte{
		"train-images-idx3-ubyte: its dimensions [3 2 2] claim 12 values, it holds 11": {images: good[:len(good)-1]},
		"it holds more":                       {images: append(slices.Clone(good), 0)},
		"starts with":                         {images: append([]byte{0, 0, 9, 3}, good[4:]...)},
		"make more than":                      {images: encode([]int{1 << 31, 1 << 31, 1 << 31}, nil)},
		"its header needs":                    {images: good[:7]},
		"2 labels":                            {labels: encode([]int{2}, []byte{1, 2})},
		"no train-labels":                     {labels: nil},
		"not a gzip file":                     {images: nil, images + ".gz": good},
		"ends early":                          {images: nil, images + ".gz": zipped(good)[:20]},
		"holds no images":                     {images: encode([]int{0, 2, 2}, nil), labels: encode([]int{0}, nil)},
		"want one size":                       {images: encode([]int{3, 1, 4}, []byte("abcdefghijkl"))},
		"claim 1073741824 values, it holds 1": {images: encode([]int{32768, 32768, 1}, []byte{1})},
	} {
		if _, _, err := Open(folder(t, files)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got error %v, want one that says %q", err, want)
		}
	}
	if _, _, err := Open(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("a missing folder was accepted")
	}
}

func FuzzIDX(f *testing.F) {
	f.Add(encode([]int{3}, []byte{1, 2, 3}), false, 1)
	f.Add(zipped(encode([]int{1, 2, 2}, []byte{1, 2, 3, 4})), true, 3)
	f.Fuzz(func(t *testing.T, b []byte, gzipped bool, rank int) {
		if rank < 0 || rank > 8 {
			return
		}
		x, err := read(bytes.NewReader(b), gzipped, rank)
		if err != nil {
			return
		}
		n := 1
		for _, d := range x.dims {
			n *= d
		}
		if len(x.dims) != rank || n != len(x.data) {
			t.Fatalf("dims %v with %d values", x.dims, len(x.data))
		}
	})
}
