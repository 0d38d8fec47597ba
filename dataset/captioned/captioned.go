// Package captioned has pictures with captions for text-to-image training: what a source of them is, the reader of any
// folder of them, and batches drawn ahead of the training step.
package captioned

import (
	"context"
	"errors"
	"fmt"
	"image"
	"iter"
	"math/rand/v2"
	"regexp"
	"runtime"
	"sync"
)

// Example is a picture and what it shows.
type Example struct {
	Image   *image.RGBA // size×size, opaque; not shared
	Caption string
	Mirror  bool // reports whether the caption fits the mirror image as well
}

// Source is an endless sequence of examples for each seed. Example i of a seed is always the same, in whatever order
// examples are asked for. It may be used by several goroutines at once.
type Source interface {
	Len() int // pictures, in other words the examples of an epoch
	At(seed uint64, i, size int) (Example, error)
	Caption(seed uint64, i int) (string, error) // the caption of At, without the picture
}

// Options say which batches are drawn.
type Options struct {
	Seed  uint64
	First int // number of the first example: 0, or where training goes on
	Batch int // examples in a batch
	Size  int // pixels in height and width
	Ahead int // batches drawn ahead; 0 means 4
}

// Batch is a number of examples for training.
type Batch struct {
	First    int       // number of the first example
	Pixels   []float32 // examples × 3 × size × size, from -1 to 1
	Captions []string
}

// Batches draws batches without end. It works ahead on other goroutines until the loop is left or ctx ends.
func Batches(ctx context.Context, src Source, o Options) iter.Seq2[*Batch, error] {
	return func(yield func(*Batch, error) bool) {
		if err := o.check(src); err != nil {
			yield(nil, err)
			return
		}
		ctx, cancel := context.WithCancel(ctx)
		var running sync.WaitGroup
		defer running.Wait()
		defer cancel()

		type result struct {
			batch *Batch
			err   error
		}
		ahead := o.Ahead
		if ahead < 1 {
			ahead = 4
		}
		queue := make(chan chan result, ahead) // in order, though several may be drawn at once
		running.Go(func() {
			defer close(queue)
			workers := make(chan struct{}, min(ahead, max(1, runtime.GOMAXPROCS(0)/2)))
			for first := o.First; ctx.Err() == nil; first += o.Batch {
				drawn := make(chan result, 1)
				select {
				case queue <- drawn:
				case <-ctx.Done():
					return
				}
				workers <- struct{}{}
				running.Go(func() {
					defer func() { <-workers }()
					b, err := Draw(src, o.Seed, first, o.Batch, o.Size)
					drawn <- result{b, err}
				})
			}
		})
		for drawn := range queue {
			select {
			case r := <-drawn:
				if !yield(r.batch, r.err) || r.err != nil {
					return
				}
			case <-ctx.Done():
				yield(nil, context.Cause(ctx))
				return
			}
		}
		yield(nil, context.Cause(ctx))
	}
}

func (o Options) check(src Source) error {
	switch {
	case src.Len() == 0:
		return errors.New("expected pictures with captions, found none")
	case o.Batch < 1 || o.Size < 1 || o.First < 0:
		return fmt.Errorf("expected a batch and a size of at least 1 and a first example of at least 0, found %d, %d "+
			"and %d",
			o.Batch, o.Size, o.First)
	}
	return nil
}

// Draw draws the n examples from number first on. Half of the pictures whose captions allow it are mirrored.
func Draw(src Source, seed uint64, first, n, size int) (*Batch, error) {
	b := &Batch{First: first, Pixels: make([]float32, n*3*size*size), Captions: make([]string, n)}
	for k := range n {
		e, err := src.At(seed, first+k, size)
		if err != nil {
			return nil, err
		}
		mirrored := e.Mirror && Random(seed, first+k, "mirror").IntN(2) == 0
		b.Captions[k] = e.Caption
		Pixels(e.Image, mirrored, b.Pixels[k*3*size*size:(k+1)*3*size*size])
	}
	return b, nil
}

// Pixels writes an opaque picture, or its mirror image, to dst: 3 × height × width values from -1 to 1.
func Pixels(m *image.RGBA, mirrored bool, dst []float32) {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	for y := range h {
		row := m.Pix[y*m.Stride : y*m.Stride+4*w]
		for x := range w {
			at := y*w + x
			if mirrored {
				at = y*w + w - 1 - x
			}
			for c := range 3 {
				dst[c*w*h+at] = float32(row[4*x+c])/127.5 - 1
			}
		}
	}
}

// Random returns the random numbers of example i of a seed, apart for each purpose.
func Random(seed uint64, i int, purpose string) *rand.Rand {
	h := uint64(14695981039346656037) // FNV-1a
	for _, c := range []byte(purpose) {
		h = (h ^ uint64(c)) * 1099511628211
	}
	return rand.New(rand.NewPCG(seed^h, uint64(i)*0x9e3779b97f4a7c15+h))
}

var sided = regexp.MustCompile(`(?i)\b(left|right|leftwards?|rightwards?|clockwise|anticlockwise|counterclockwise|` +
	`mirror(ed)?|text|letters?|words?|writing|numbers?|digits?|says|saying|logo|sign|clock|watch)\b|"`)

// Mirrorable reports whether a caption seems to fit the mirror image too: it names no side and nothing written.
func Mirrorable(caption string) bool { return !sided.MatchString(caption) }
