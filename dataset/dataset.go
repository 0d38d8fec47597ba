// Package dataset reads labelled image sets in the IDX format, and holds MNIST.
package dataset

import (
	"embed"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// Labeled is one split of a set: grey images and their labels.
type Labeled struct {
	Rows, Cols int
	Images     []byte // Len·Rows·Cols values, 0 black to 255 white
	Labels     []byte // Len classes
}

// Len returns the number of images.
func (l *Labeled) Len() int { return len(l.Labels) }

// Check tells whether the images are of rows×cols, at least one, and each has a label and all its values.
func (l *Labeled) Check(rows, cols int) error {
	switch {
	case l == nil || len(l.Labels) == 0:
		return errors.New("there are no images, or they have no labels: each needs one, 0 where there are no classes")
	case l.Rows != rows || l.Cols != cols:
		return fmt.Errorf("the images are %d×%d, expected %d×%d", l.Rows, l.Cols, rows, cols)
	case len(l.Images) != l.Len()*rows*cols:
		return fmt.Errorf("%d images of %d×%d need %d values, found %d", l.Len(), rows, cols, l.Len()*rows*cols, len(l.Images))
	}
	return nil
}

// Head returns the first n images, all of them if there are fewer.
func (l *Labeled) Head(n int) *Labeled {
	n = min(max(n, 0), l.Len())
	return &Labeled{l.Rows, l.Cols, l.Images[:n*l.Rows*l.Cols], l.Labels[:n]}
}

// Classes returns how many classes there are: the largest label and one.
func (l *Labeled) Classes() int {
	if l.Len() == 0 {
		return 0
	}
	return int(slices.Max(l.Labels)) + 1
}

// Checksum sums up pixels and labels, as crc32c:XXXXXXXX.
func (l *Labeled) Checksum() string {
	table := crc32.MakeTable(crc32.Castagnoli)
	return fmt.Sprintf("crc32c:%08x", crc32.Update(crc32.Checksum(l.Images, table), table, l.Labels))
}

// Batch writes the images at indices to pixels, scaled to [0, 1], one after the other, and their labels to labels, which
// may be nil. It panics if an index is out of range or pixels is too short.
func (l *Labeled) Batch(indices []int, pixels []float32, labels []int32) {
	size := l.Rows * l.Cols
	for k, i := range indices {
		dst := pixels[k*size : (k+1)*size]
		for j, v := range l.Images[i*size : (i+1)*size] {
			dst[j] = float32(v) / 255
		}
		if labels != nil {
			labels[k] = int32(l.Labels[i])
		}
	}
}

//go:embed mnist/*.gz
var embedded embed.FS

// MNIST returns the embedded MNIST: 60,000 training and 10,000 test images of 28×28. See mnist/README.md for its source
// and licence. The splits are shared: don't write to them.
func MNIST() (train, test *Labeled, err error) {
	m := mnist()
	return m.train, m.test, m.err
}

type splits struct {
	train, test *Labeled
	err         error
}

var mnist = sync.OnceValue(func() splits {
	dir, err := fs.Sub(embedded, "mnist")
	if err != nil {
		return splits{err: err}
	}
	return open(dir, "embedded MNIST")
})

// Open reads a set in MNIST's four files from a folder: train-images-idx3-ubyte, train-labels-idx1-ubyte and the same
// with t10k, each plain or gzipped (.gz). Errors name the file.
func Open(dir string) (train, test *Labeled, err error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the data folder: %w", err)
	}
	if !info.IsDir() {
		return nil, nil, fmt.Errorf("%s is a file; want a folder with train-images-idx3-ubyte and the other three IDX files", dir)
	}
	s := open(os.DirFS(dir), dir)
	return s.train, s.test, s.err
}

func open(dir fs.FS, name string) (s splits) {
	if s.train, s.err = split(dir, name, "train"); s.err == nil {
		s.test, s.err = split(dir, name, "t10k")
	}
	if s.err == nil && (s.train.Rows != s.test.Rows || s.train.Cols != s.test.Cols) {
		s.err = fmt.Errorf("%s: training images are %d×%d, test images %d×%d; want one size", name, s.train.Rows, s.train.Cols, s.test.Rows, s.test.Cols)
	}
	if s.err != nil {
		return splits{err: s.err}
	}
	return s
}

func split(dir fs.FS, name, which string) (*Labeled, error) {
	images, imagesPath, err := readOne(dir, name, which+"-images", "idx3-ubyte", 3)
	if err != nil {
		return nil, err
	}
	labels, labelsPath, err := readOne(dir, name, which+"-labels", "idx1-ubyte", 1)
	if err != nil {
		return nil, err
	}
	if images.dims[0] != labels.dims[0] {
		return nil, fmt.Errorf("%s holds %d images, %s %d labels; want as many", imagesPath, images.dims[0], labelsPath, labels.dims[0])
	}
	if len(images.data) == 0 {
		return nil, fmt.Errorf("%s holds no images", imagesPath)
	}
	return &Labeled{images.dims[1], images.dims[2], images.data, labels.data}, nil
}

// readOne finds a file under one of its usual names and parses it.
func readOne(dir fs.FS, name, stem, ending string, rank int) (idx, string, error) {
	var tried []string
	for _, separator := range []string{"-", "."} {
		for _, gz := range []string{"", ".gz"} {
			base := stem + separator + ending + gz
			tried = append(tried, base)
			f, err := dir.Open(base)
			if err != nil {
				if os.IsNotExist(err) {
					continue
				}
				return idx{}, "", fmt.Errorf("opening %s: %w", filepath.Join(name, base), err)
			}
			defer f.Close()
			if info, err := f.Stat(); err == nil && info.IsDir() { // as some archives unpack it, with the file beside it
				continue
			}
			path := filepath.Join(name, base)
			x, err := read(f, gz != "", rank)
			if err != nil {
				return idx{}, "", fmt.Errorf("%s: %w", path, err)
			}
			return x, path, nil
		}
	}
	return idx{}, "", fmt.Errorf("%s has no %s (looked for %s)", name, stem, strings.Join(tried, ", "))
}
