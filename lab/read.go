package lab

import (
	"math"
	"slices"
	"strconv"

	"gonum.org/v1/gonum/floats"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/reader"
)

// readable reports whether a model draws what the reader can read, by its shape and its vocabulary.
func readable(spec model.Spec) bool {
	if spec.Channels != 1 || spec.Height != reader.Size || spec.Width != reader.Size {
		return false
	}
	for _, word := range spec.Vocabulary {
		if digit, err := strconv.Atoi(word); err != nil || digit < 0 || digit >= reader.Digits {
			return false
		}
	}
	return len(spec.Vocabulary) > 0
}

// digits returns the reader, which is opened once.
func (c *computer) digits() (*reader.Reader, error) {
	if c.reader == nil {
		r, err := reader.Open(c.Backend)
		if err != nil {
			return nil, err
		}
		c.reader = r
	}
	return c.reader, nil
}

// readDigits judges images by what the reader makes of their looks. prompts are the looks' own ones first, in their
// order, then all other digits of the model's vocabulary.
func (d *drawing) readDigits(images diffusion.Images, seeds []uint64, looks []Look, prompts []string) ([]Verdict,
	error) {
	c, err := d.lab.engine(d.key.engine)
	if err != nil {
		return nil, err
	}
	r, err := c.digits()
	if err != nil {
		return nil, err
	}
	verdicts := make([]Verdict, images.N)
	for n := range verdicts {
		verdicts[n] = Verdict{Seed: seeds[n], Score: math.Inf(1)}
	}
	for _, look := range looks {
		rows, err := r.Read(d.ctx, d.model.spec.Range.To(model.ZeroToOne, look.See(images)))
		if err != nil {
			return nil, err
		}
		for n, logs := range rows {
			var row, others []float64
			asked := 0.0
			for k, text := range prompts {
				digit, err := strconv.Atoi(text)
				if err != nil {
					return nil, err // which the vocabulary rules out
				}
				switch {
				case text == look.Prompt:
					asked = logs[digit]
				case !slices.Contains(prompts[:k], text):
					others = append(others, logs[digit])
				}
				row = append(row, -logs[digit])
			}
			v := &verdicts[n]
			if len(others) > 0 {
				v.Score = min(v.Score, asked-floats.LogSumExp(others))
			}
			floats.AddConst(-slices.Min(row), row)
			v.Matrix = append(v.Matrix, row)
		}
	}
	return verdicts, nil
}
