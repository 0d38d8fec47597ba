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
	if train.Len() != 60000 || test.Len() != 10000 || train.Rows != 28 || train.Cols != 28 ||
		len(test.Images) != 10000*28*28 {
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

// integers encodes numbers of four bytes in rows of so many columns.
func integers(kind byte, rows, columns int, values ...int32) []byte {
	b := []byte{0, 0, kind, 2}
	for _, d := range append([]int32{int32(rows), int32(columns)}, values...) {
		b = binary.BigEndian.AppendUint32(b, uint32(d))
	}
	return b
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
	// as some archives have one beside the file
	if err := os.Mkdir(filepath.Join(dir, "t10k-images-idx3-ubyte"), 0o755); err != nil {
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

// TestLayouts opens the same little set as people have it.
func TestLayouts(t *testing.T) {
	images, labels := encode([]int{3, 2, 2}, []byte("abcdefghijkl")), encode([]int{3}, []byte{1, 2, 3})
	testImages, testLabels := encode([]int{1, 2, 2}, []byte("mnop")), encode([]int{1}, []byte{9})
	for name, of := range map[string]struct {
		files map[string][]byte
		open  string // behind the folder
	}{
		"unpacked, with the names of archives": {files: map[string][]byte{"train-images-idx3-ubyte.gz": images,
			"train-labels-idx1-ubyte.gz": labels, "t10k-images-idx3-ubyte.gz": testImages,
			"t10k-labels-idx1-ubyte.gz": testLabels}},
		"archives, with the names of files": {files: map[string][]byte{"train-images-idx3-ubyte": zipped(images),
			"train-labels-idx1-ubyte": zipped(labels), "t10k-images-idx3-ubyte": zipped(testImages),
			"t10k-labels-idx1-ubyte": zipped(testLabels)}},
		"a folder for each file": {files: map[string][]byte{"train-images-idx3-ubyte/train-images-idx3-ubyte": images,
			"train-labels-idx1-ubyte/train-labels-idx1-ubyte": labels,
			"t10k-images-idx3-ubyte/t10k-images.idx3-ubyte":   testImages,
			"t10k-labels-idx1-ubyte/t10k-labels-idx1-ubyte":   testLabels}},
		"torchvision": {files: map[string][]byte{"MNIST/raw/train-images-idx3-ubyte": images,
			"MNIST/raw/train-images-idx3-ubyte.gz": zipped(images), "MNIST/raw/train-labels-idx1-ubyte": labels,
			"MNIST/raw/t10k-images-idx3-ubyte": testImages, "MNIST/raw/t10k-labels-idx1-ubyte": testLabels,
			"notes/readme": nil}},
		"QMNIST": {files: map[string][]byte{"qmnist-train-images-idx3-ubyte.gz": zipped(images),
			"qmnist-train-labels-idx2-int.gz":  zipped(integers(0x0c, 3, 2, 1, 7, 2, 300, 3, -1)),
			"qmnist-test-images-idx3-ubyte.gz": zipped(testImages),
			"qmnist-test-labels-idx2-int.gz":   zipped(integers(0x0c, 1, 2, 9, 0))}},
		"one of several": {open: "some-letters",
			files: map[string][]byte{"some-letters-train-images-idx3-ubyte": images,
				"some-letters-train-labels-idx1-ubyte": labels,
				"some-letters-test-images-idx3-ubyte":  testImages, "some-letters-test-labels-idx1-ubyte": testLabels,
				"other-train-images-idx3-ubyte": images, "other-train-labels-idx1-ubyte": labels,
				"other-test-images-idx3-ubyte": images, "other-test-labels-idx1-ubyte": labels}},
		"an own one beside another": {files: map[string][]byte{"train-images-idx3-ubyte": images,
			"train-labels-idx1-ubyte": labels, "test-images-idx3-ubyte": testImages,
			"test-labels-idx1-ubyte":        testLabels,
			"other-train-images-idx3-ubyte": testImages, "other-train-labels-idx1-ubyte": testLabels,
			"other-test-images-idx3-ubyte": images, "other-test-labels-idx1-ubyte": labels}},
	} {
		train, test, err := Open(filepath.Join(write(t, of.files), of.open))
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if string(train.Images) != "abcdefghijkl" || !slices.Equal(train.Labels, []byte{1, 2, 3}) ||
			string(test.Images) != "mnop" || !slices.Equal(test.Labels, []byte{9}) || train.Transposed {
			t.Errorf("%s: got %+v, %+v", name, train, test)
		}
	}
}

// A folder may lead to where the set is kept for all.
func TestLinkedFolder(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink(folder(t, nil), filepath.Join(dir, "mnist")); err != nil {
		t.Fatal(err)
	}
	if train, _, err := Open(dir); err != nil || train.Len() != 3 {
		t.Errorf("%+v, %v", train, err)
	}
}

func write(t *testing.T, files map[string][]byte) string {
	t.Helper()
	dir := t.TempDir()
	for name, b := range files {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

// EMNIST's letters have labels from 1, and its images lie on their side.
func TestEMNIST(t *testing.T) {
	files := map[string][]byte{}
	for _, which := range []string{"train", "test"} {
		files["gzip/emnist-letters-"+which+"-images-idx3-ubyte.gz"] = zipped(encode([]int{2, 2, 3},
			[]byte("abcdefghijkl")))
		files["gzip/emnist-letters-"+which+"-labels-idx1-ubyte.gz"] = zipped(encode([]int{2}, []byte{26, 1}))
	}
	train, _, err := Open(write(t, files))
	if err != nil {
		t.Fatal(err)
	}
	if !train.Transposed || train.Rows != 3 || train.Cols != 2 || string(train.Images) != "adbecfgjhkil" {
		t.Errorf("got %+v", train)
	}
	if got := train.Occurring(); !slices.Equal(got, []int{1, 26}) || train.Classes() != 27 {
		t.Errorf("classes %v of %d", got, train.Classes())
	}
}

func TestSeveralSets(t *testing.T) {
	image, label := encode([]int{1, 1, 1}, []byte{1}), encode([]int{1}, []byte{1})
	files := map[string][]byte{}
	for _, set := range []string{"a/x-", "b/y-"} {
		for _, which := range []string{"train", "test"} {
			files[set+which+"-images-idx3-ubyte"], files[set+which+"-labels-idx1-ubyte"] = image, label
		}
	}
	dir := write(t, files)
	if _, _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "name one, "+filepath.Join(dir,
		"a/x")+" or "+filepath.Join(dir, "b/y")) {
		t.Error(err)
	}
	if _, _, err := Open(filepath.Join(dir, "b/y")); err != nil {
		t.Error(err)
	}
	if _, _, err := Open(write(t, map[string][]byte{"digits.csv": nil})); err == nil ||
		!strings.Contains(err.Error(), "found digits.csv") {
		t.Error(err)
	}
}

func TestRefusals(t *testing.T) {
	const images, labels = "train-images-idx3-ubyte", "train-labels-idx1-ubyte"
	good := encode([]int{3, 2, 2}, []byte("abcdefghijkl"))
	for want, files := range map[string]map[string][]byte{
		"train-images-idx3-ubyte: its dimensions [3 2 2] claim 12 bytes, it holds 11": {images: good[:len(good)-1]},
		"it holds more":                      {images: append(slices.Clone(good), 0)},
		"starts with":                        {images: append([]byte{0, 0, 9, 3}, good[4:]...)},
		"make more than":                     {images: encode([]int{1 << 31, 1 << 31, 1 << 31}, nil)},
		"its header needs":                   {images: good[:7]},
		"2 labels":                           {labels: encode([]int{2}, []byte{1, 2})},
		"no train-labels":                    {labels: nil},
		"no whole gzip file":                 {images: []byte{0x1f, 0x8b}},
		"an HTML or XML page":                {images: []byte("<!DOCTYPE html>")},
		"label 1 is 256, expected 0 to 255":  {labels: nil, "train-labels-idx2-int": integers(0x0c, 3, 1, 5, 256, 2)},
		"expected at least one column":       {labels: nil, "train-labels-idx2-int": integers(0x0c, 3, 0)},
		"ends early":                         {images: nil, images + ".gz": zipped(good)[:20]},
		"holds no images":                    {images: encode([]int{0, 2, 2}, nil), labels: encode([]int{0}, nil)},
		"expected one size":                  {images: encode([]int{3, 1, 4}, []byte("abcdefghijkl"))},
		"claim 1073741824 bytes, it holds 1": {images: encode([]int{32768, 32768, 1}, []byte{1})},
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
	f.Add(encode([]int{3}, []byte{1, 2, 3}))
	f.Add(zipped(encode([]int{1, 2, 2}, []byte{1, 2, 3, 4})))
	f.Add(integers(0x0c, 2, 1, 7, 9))
	f.Fuzz(func(t *testing.T, b []byte) {
		if x, k, err := read(bytes.NewReader(b), pictures, classes, table); err == nil {
			n := k.size()
			for _, d := range x.dims {
				n *= d
			}
			if len(x.dims) != int(k.rank) || n != len(x.data) {
				t.Fatalf("dims %v with %d bytes", x.dims, len(x.data))
			}
		}
		if labels, err := readLabels(bytes.NewReader(b)); err == nil && len(labels) > len(b)*1100 { // gzip's best
			t.Fatalf("%d labels of %d bytes", len(labels), len(b))
		}
	})
}
