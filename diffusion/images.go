package diffusion

import (
	"fmt"
	"slices"
)

// Images is a batch of N images of C channels, H rows and W columns, kept as PyTorch keeps them: NCHW,
// the value of image n, channel c, row y, column x at Data[((n*C+c)*H+y)*W+x].
//
// Copying an Images shares its Data, as copying a slice does; Clone copies the values too.
type Images struct {
	N, C, H, W int
	Data       []float32
}

// NewImages returns a batch of zeros.
func NewImages(n, c, h, w int) Images {
	return Images{N: n, C: c, H: h, W: w, Data: make([]float32, n*c*h*w)}
}

// Like returns a batch of zeros of the same shape.
func (m Images) Like() Images { return NewImages(m.N, m.C, m.H, m.W) }

// Clone returns a copy that shares nothing with m.
func (m Images) Clone() Images {
	m.Data = slices.Clone(m.Data)
	return m
}

// Size returns the number of values of one image, C·H·W.
func (m Images) Size() int { return m.C * m.H * m.W }

// Slice returns images from (included) to to (excluded). It shares m's Data.
// Like a slice expression, it panics where the bounds are outside the batch.
func (m Images) Slice(from, to int) Images {
	size := m.Size()
	m.Data = m.Data[from*size : to*size : to*size]
	m.N = to - from
	return m
}

// SameShape reports whether both batches have the same N, C, H and W.
func (m Images) SameShape(o Images) bool {
	return m.N == o.N && m.C == o.C && m.H == o.H && m.W == o.W
}

// Shape returns the shape in words, such as "[4,1,28,28]".
func (m Images) Shape() string {
	return fmt.Sprintf("[%d,%d,%d,%d]", m.N, m.C, m.H, m.W)
}

// Concat joins batches of equal C, H and W, in order, into a new one.
func Concat(batches ...Images) (Images, error) {
	if len(batches) == 0 {
		return Images{}, nil
	}
	all := batches[0]
	all.N, all.Data = 0, nil
	for i, b := range batches {
		if err := b.check(); err != nil {
			return Images{}, err
		}
		if b.C != all.C || b.H != all.H || b.W != all.W {
			return Images{}, fmt.Errorf("cannot join images of different sizes: batch 0 is %s, batch %d is %s",
				batches[0].Shape(), i, b.Shape())
		}
		all.N += b.N
		all.Data = append(all.Data, b.Data...)
	}
	return all, nil
}

// check reports whether the shape is possible and Data has its length.
func (m Images) check() error {
	if m.N < 0 || m.C < 0 || m.H < 0 || m.W < 0 || len(m.Data) != m.N*m.C*m.H*m.W {
		return fmt.Errorf("images of shape %s need %d values, found %d", m.Shape(), m.N*m.C*m.H*m.W, len(m.Data))
	}
	return nil
}

// checkLike reports whether m, named what, is a sound batch of x's shape.
func (m Images) checkLike(x Images, what string) error {
	if err := m.check(); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	if !m.SameShape(x) {
		return fmt.Errorf("%s has shape %s, expected %s", what, m.Shape(), x.Shape())
	}
	return nil
}
