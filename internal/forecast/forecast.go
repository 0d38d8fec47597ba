// Package forecast measures in a few seconds what a machine is good for.
package forecast

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/deepfloyd"
	"github.com/unnoise/unnoise/deepfloyd/synthetic"
	"github.com/unnoise/unnoise/deepfloyd/unet"
	"github.com/unnoise/unnoise/internal/bench"
	"github.com/unnoise/unnoise/internal/duration"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/training/mnist"
)

// Forecast says how long things take, in seconds. For DeepFloyd a UNet with half of its blocks is timed. Rates of single
// operations would not do: where the CPU multiplies fast, attention, norms and the reading of weights take more time
// than convolutions.
type Forecast struct {
	Digit     float64 `json:"digit_s"`       // drawn by mnist-class in 20 steps, with guidance
	Lesson    float64 `json:"lesson_s"`      // one epoch of the UNet of 32 channels, in batches of 32, as the demo trains
	Training  float64 `json:"training_s"`    // the whole recipe of condition class
	DeepFloyd float64 `json:"deepfloyd_m_s"` // stage I, M: 27 steps with guidance, without encoding the prompt
}

const digits = 60_000

// Measure measures this machine, for some seconds.
func Measure(ctx context.Context, b compute.Backend, dtype dtypes.DType) (f Forecast, err error) {
	timed := func(once func() error, release func(), err error) (float64, error) {
		if err != nil {
			return 0, err
		}
		defer release()
		s, err := bench.Runs{Warmup: 1, Counted: 3}.Time(ctx, b, once)
		return s.Best, err
	}
	c := mnist.Default(mnistunet.Class)
	evaluation, err := timed(bench.EvaluateDigits(ctx, b, c.Network, dtype, 2))
	if err != nil {
		return f, err
	}
	f.Digit = 20 * evaluation
	step, err := timed(bench.TrainDigits(b, c.Network, dtype, c.Batch))
	if err != nil {
		return f, err
	}
	f.Training = step * float64(c.Epochs) * float64((digits+c.Batch-1)/c.Batch)
	small := c.Network
	small.Dim = 32
	if step, err = timed(bench.TrainDigits(b, small, dtype, 32)); err != nil {
		return f, err
	}
	f.Lesson = step * digits / 32
	network, err := synthetic.Find("M")
	if err != nil {
		return f, err
	}
	whole, err := network.UNet()
	if err != nil {
		return f, err
	}
	short, err := synthetic.Short()
	if err != nil {
		return f, err
	}
	if evaluation, err = timed(bench.EvaluateUNet(ctx, b, short, dtype, 2)); err != nil {
		return f, err
	}
	f.DeepFloyd = 27 * evaluation * work(whole) / work(short)
	return f, nil
}

// work is the arithmetic of an evaluation, in multiply-adds.
func work(c unet.Config) float64 {
	w := c.Work(2, c.SampleSize.H, c.SampleSize.W, deepfloyd.TextTokens)
	return float64(w.Convolutions + w.Products)
}

// Text tells it to people. available is the memory that is free, in bytes.
func (f Forecast) Text(available uint64) string {
	var b strings.Builder
	row := func(what, format string, values ...any) {
		fmt.Fprintf(&b, "  %-34s %s\n", what, fmt.Sprintf(format, values...))
	}
	b.WriteString("what this machine is good for, measured just now (longer where others compute too):\n")
	row("a digit", "%.2g s (20 steps, guided)", f.Digit)
	row("a training that draws legibly", "%s (one epoch, dim 32)", spoken(f.Lesson))
	row("the whole recipe, train mnist", "%s", spoken(f.Training))
	row("DeepFloyd IF, M: 64×64 pixels", "%s (27 steps, guided), without the text's encoding",
		spoken(f.DeepFloyd))
	const encoder = 10.5e9 // T5-XXL's weights in bfloat16, and what an evaluation needs besides
	if available > 0 && float64(available) < encoder {
		row("", "its text encoder needs %.1f GB of memory, and %.1f are free: use embeddings made elsewhere",
			encoder/1e9, float64(available)/1e9)
	}
	return b.String()
}

func spoken(seconds float64) string {
	return duration.Format(time.Duration(seconds * float64(time.Second)))
}
