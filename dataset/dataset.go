// Package dataset reads labelled image sets in the IDX format, as MNIST, EMNIST, QMNIST and their kin come, and holds
// MNIST.
package dataset

import (
	"embed"
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"slices"
	"sync"

	"github.com/unnoise/unnoise/internal/ranges"
)

// Labeled is one split of a set: grey images and their labels.
type Labeled struct {
	Rows, Cols int
	Images     []byte // Len·Rows·Cols values, 0 black to 255 white
	Labels     []byte // Len classes

	Transposed bool // the files hold rows as columns, as EMNIST's; Images have them upright
}

// Len returns the number of images.
func (l *Labeled) Len() int { return len(l.Labels) }

// Check reports whether the images are of rows×cols, at least one, and each has a label and all its values.
func (l *Labeled) Check(rows, cols int) error {
	switch {
	case l == nil || len(l.Labels) == 0:
		return errors.New("there are no images, or they have no labels: each needs one, 0 where there are no classes")
	case l.Rows != rows || l.Cols != cols:
		return fmt.Errorf("the images are %d×%d, expected %d×%d", l.Rows, l.Cols, rows, cols)
	case len(l.Images) != l.Len()*rows*cols:
		return fmt.Errorf("%d images of %d×%d need %d values, found %d", l.Len(), rows, cols, l.Len()*rows*cols,
			len(l.Images))
	}
	return nil
}

// Head returns the first n images, all of them if there are fewer.
func (l *Labeled) Head(n int) *Labeled {
	n = min(max(n, 0), l.Len())
	head := *l
	head.Images, head.Labels = l.Images[:n*l.Rows*l.Cols], l.Labels[:n]
	return &head
}

// Occurring returns the classes that have images, in rising order.
func (l *Labeled) Occurring() []int {
	var has [256]bool
	for _, label := range l.Labels {
		has[label] = true
	}
	var classes []int
	for class, here := range has {
		if here {
			classes = append(classes, class)
		}
	}
	return classes
}

// Classes returns how many numbers classes have: the largest label and one. Not all need to have images; see
// [Labeled.Occurring].
func (l *Labeled) Classes() int {
	if l.Len() == 0 {
		return 0
	}
	return int(slices.Max(l.Labels)) + 1
}

// Notes tells, for training images and the test images beside them, what people don't expect of them: classes without
// images, test images of classes that there is nothing to learn of, images that were turned upright.
func (l *Labeled) Notes(test *Labeled) (notes []string) {
	classes := l.Occurring()
	if n := len(classes); n > 0 && n != l.Classes() {
		notes = append(notes,
			fmt.Sprintf("not every class has images, only %d (%s): the others are neither drawn nor measured", n,
				ranges.Format(classes)))
	}
	unknown := slices.DeleteFunc(test.Occurring(), func(class int) bool { return slices.Contains(classes, class) })
	if len(unknown) > 0 {
		notes = append(notes, fmt.Sprintf("there are test images of classes that no training image has: %s",
			ranges.Format(unknown)))
	}
	if l.Transposed {
		notes = append(notes, "EMNIST's files hold their images transposed: they were turned upright")
	}
	return notes
}

// Checksum sums up pixels and labels, as crc32c:XXXXXXXX.
func (l *Labeled) Checksum() string {
	table := crc32.MakeTable(crc32.Castagnoli)
	return fmt.Sprintf("crc32c:%08x", crc32.Update(crc32.Checksum(l.Images, table), table, l.Labels))
}

// Batch writes the images at indices to pixels, scaled to [0, 1], one after the other, and their labels to labels,
// which may be nil. It panics if an index is out of range or pixels is too short.
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
	train, test, err := open(dir, "embedded MNIST", "")
	return splits{train, test, err}
})
