package evaluation

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/gomlx/compute"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/internal/checksum"
	"github.com/unnoise/unnoise/internal/duration"
	"github.com/unnoise/unnoise/internal/ranges"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/training/mnist"
)

// classifierSeed is that of the classifier which judges: always the same one, so that distances can be compared.
const classifierSeed = 0

// leastAccuracy is what a classifier of MNIST is to reach to judge well.
const leastAccuracy = 0.99

// NoiseLevels are the σ at which denoisers are shown and measured.
var NoiseLevels = []float64{0, 0.2, 0.4, 0.5, 0.6, 0.8, 1}

// Measurement fills in a report. Its functions may not be nil.
type Measurement struct {
	*Report
	Backend     compute.Backend
	Train, Test *dataset.Labeled
	Retrain     bool // train the classifier anew
	Draw        Draw // for Model

	Update func(line func() string) // told how far it is
	Done   func(line string)        // told what was measured, once it is in the report
	Warn   func(text string)
}

func (m *Measurement) update(format string, args ...any) {
	m.Update(func() string { return fmt.Sprintf(format, args...) })
}

// judge gets the classifier, reads both sets, and measures the baselines for all training digits and for as many as
// there are samples; labels are the classes that these are asked for, if they are.
func (m *Measurement) judge(ctx context.Context, n int, labels []int) (*Judge, error) {
	path, err := CachePath(m.Train, m.Test, classifierSeed)
	if err != nil {
		return nil, err
	}
	start := time.Now()
	c, err := Open(ctx, m.Backend, path, m.Train, m.Test, classifierSeed, m.Retrain, func(p TrainProgress) {
		m.update("training the classifier: step %d/%d  loss %.3f  %s left", p.Step, p.Steps, p.Loss,
			duration.Left(start, p.Step, p.Steps))
	})
	if err != nil {
		return nil, err
	}
	m.Classifier = &ClassifierInfo{Recipe: RecipeVersion, Seed: c.Seed, Accuracy: c.Accuracy, Path: path}
	if m.Classifier.Sum, err = checksum.File(path); err != nil {
		m.Warn(fmt.Sprintf("the classifier could not be kept, and is trained again the next time: %v", err))
	}
	if m.Data == mnist.Embedded && c.Accuracy < leastAccuracy {
		m.Warn(fmt.Sprintf("the classifier reads %.2f %% of the test digits; expected at least %g %%. Its judgement "+
			"is poor",
			100*c.Accuracy, 100*leastAccuracy))
	}
	m.update("reading the training and test digits")
	j, err := NewJudge(ctx, c, m.Train, m.Test)
	if err != nil {
		c.Close()
		return nil, err
	}
	for _, n := range []int{m.Train.Len(), n} {
		baseline, err := j.Baseline(n, goesRound(labels, m.Train.Occurring()))
		if err != nil {
			j.Close()
			return nil, err
		}
		if !slices.Contains(m.Baselines, baseline) { // as many samples as images
			m.Baselines = append(m.Baselines, baseline)
		}
	}
	return j, nil
}

// goesRound reports whether equally many images of each class were asked for, up to one.
func goesRound(labels, classes []int) bool {
	count := make([]int, len(classes))
	for _, label := range labels {
		i, ok := slices.BinarySearch(classes, label)
		if !ok {
			return false
		}
		count[i]++
	}
	return labels != nil && slices.Max(count)-slices.Min(count) <= 1
}

// Samples measures the samples in a file; see [ReadSamples].
func (m *Measurement) Samples(ctx context.Context, path string) error {
	m.Report.Samples = path
	images, labels, err := ReadSamples(path, m.Train.Classes())
	if err != nil {
		return err
	}
	j, err := m.judge(ctx, images.N, labels)
	if err != nil {
		return err
	}
	defer j.Close()
	score, err := j.Score(ctx, images, labels)
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	m.Rows = []Row{{Score: score}}
	return nil
}

// Labels are the classes that n samples of a network are asked to show, going round them; none without classes. The
// network may know no class that the training images lack.
func (m *Measurement) Labels(c mnistunet.Config, n int) (labels []int, err error) {
	if c.Condition != mnistunet.Class {
		return nil, nil
	}
	drawn, found := c.Occurring(), m.Train.Occurring()
	if slices.ContainsFunc(drawn, func(class int) bool { return !slices.Contains(found, class) }) {
		return nil, fmt.Errorf("%s draws images of the classes %s; expected all of them in %s, found %s",
			m.Report.Model, ranges.Format(drawn), m.Data, ranges.Format(found))
	}
	for i := range n {
		labels = append(labels, drawn[i%len(drawn)])
	}
	return labels, nil
}

// Model measures n samples of a model for each way to draw them; labels are those that Labels gave.
func (m *Measurement) Model(ctx context.Context, network *mnistunet.Model, ways []Sampling, labels []int, n int) error {
	j, err := m.judge(ctx, n, labels)
	if err != nil {
		return err
	}
	defer j.Close()
	for _, s := range ways {
		row := Row{Sampler: s.Sampler, Steps: s.Steps, Evaluations: s.Evaluations(network.Config)}
		if labels != nil {
			row.Guidance = &s.Guidance
		}
		start := time.Now()
		frames, err := m.Draw(ctx, network, Drawing{Sampling: s, Labels: labels, Count: n, Frames: 1, OnStep: func(done,
			total int) {
			m.update("row %d/%d, %s: step %d/%d  %s left", len(m.Rows)+1, len(ways), row.name(), done, total,
				duration.Left(start, done, total))
		}})
		if err != nil {
			return err
		}
		row.Seconds = time.Since(start).Seconds()
		row.ImagesPerSecond = float64(n) / row.Seconds
		if row.Score, err = j.Score(ctx, frames[len(frames)-1].X, labels); err != nil {
			return err
		}
		m.Rows = append(m.Rows, row)
		m.Done(fmt.Sprintf("row %d/%d, %s: %s", len(m.Rows), len(ways), row.name(), duration.Format(time.Since(start))))
	}
	return nil
}

// Denoiser measures a model of condition none on the test images.
func (m *Measurement) Denoiser(ctx context.Context, network *mnistunet.Model, seed uint64) error {
	for _, sigma := range NoiseLevels {
		m.update("%d test digits at σ = %g", m.Test.Len(), sigma)
		level, err := MeasureDenoising(ctx, network, m.Test, sigma, seed)
		if err != nil {
			return err
		}
		m.Denoising = append(m.Denoising, level)
		m.Done(fmt.Sprintf("σ = %g: mean squared error %.5f", sigma, level.Model))
	}
	return nil
}
