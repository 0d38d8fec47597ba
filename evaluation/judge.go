package evaluation

import (
	"context"
	"fmt"
	"slices"

	"gonum.org/v1/gonum/stat"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/ranges"
)

// Judge measures images against a test set.
type Judge struct {
	*Classifier
	test     Gaussian
	training []float32 // features of the training images, in a random order
	occurs   []int     // the classes of the training images
	even     []float32 // of as many of these as go round the classes, in that order
}

// NewJudge reads both sets.
func NewJudge(ctx context.Context, c *Classifier, train, test *dataset.Labeled) (*Judge, error) {
	if train.Len() < 2 {
		return nil, fmt.Errorf("samples are compared with at least 2 training images, got %d", train.Len())
	}
	r, err := c.ReadSet(ctx, test)
	if err != nil {
		return nil, err
	}
	j := &Judge{Classifier: c}
	if j.test, err = Fit(r.Features, Features); err != nil {
		return nil, fmt.Errorf("the test images: %w", err)
	}
	if r, err = c.ReadSet(ctx, train); err != nil {
		return nil, err
	}
	j.occurs = slices.DeleteFunc(train.Occurring(), func(class int) bool { return class >= c.Classes })
	labels := make([]byte, 0, train.Len())
	for _, i := range diffusion.NewGenerator(0).Perm(train.Len()) { // neighbours in a set may be of one hand
		labels = append(labels, train.Labels[i])
		j.training = append(j.training, r.Features[i*Features:(i+1)*Features]...)
	}
	for _, i := range round(labels) {
		j.even = append(j.even, j.training[i*Features:(i+1)*Features]...)
	}
	return j, nil
}

// round goes round the classes, as far as each that there is has images, and returns their places.
func round(labels []byte) (order []int) {
	var places [256][]int
	for i, label := range labels {
		places[label] = append(places[label], i)
	}
	classes := slices.DeleteFunc(places[:], func(of []int) bool { return len(of) == 0 })
	for turn := 0; len(classes) > 0; turn++ {
		for _, of := range classes {
			if turn >= len(of) {
				return order[:turn*len(classes)]
			}
			order = append(order, of[turn])
		}
	}
	return nil
}

// maxGroups bounds the groups of training images over which a baseline is averaged.
const maxGroups = 100

// Baseline is the Fréchet distance to the test set that n training images have: what perfect samples would get. It is
// the mean over up to a hundred groups of n random images that share none, and larger for small n, where a covariance
// is estimated badly. With even, the images go round the classes, as samples of classes do; the test set has some more
// of one than of another. There are baselines for 2 to all such training images; n counts as one of these.
func (j *Judge) Baseline(n int, even bool) (BaselineDistance, error) {
	features := j.training
	if even {
		features = j.even
	}
	all := len(features) / Features
	n = max(2, min(n, all))
	f := BaselineDistance{Images: n, Groups: min(maxGroups, all/n), Even: even}
	distances := make([]float64, f.Groups)
	for i := range distances {
		d, err := j.distance(features[i*n*Features : (i+1)*n*Features])
		if err != nil {
			return BaselineDistance{}, fmt.Errorf("the training images: %w", err)
		}
		distances[i] = d
	}
	f.Frechet = stat.Mean(distances, nil)
	if f.Groups > 1 {
		f.Deviation = stat.StdDev(distances, nil)
	}
	return f, nil
}

func (j *Judge) distance(features []float32) (float64, error) {
	g, err := Fit(features, Features)
	if err != nil {
		return 0, err
	}
	return FrechetDistance(g, j.test)
}

// Score measures images [N,1,28,28], N at least 2. labels are the classes that were asked for, -1 for none, or nil.
func (j *Judge) Score(ctx context.Context, images diffusion.Images, labels []int) (Score, error) {
	if labels != nil && len(labels) != images.N {
		return Score{}, fmt.Errorf("got %d classes for %d images", len(labels), images.N)
	}
	for i, label := range labels {
		if label != -1 && !slices.Contains(j.occurs, label) {
			return Score{}, fmt.Errorf("image %d was asked to be of class %d, but the classifier knows %s", i, label,
				ranges.Format(j.occurs))
		}
	}
	r, err := j.Read(ctx, images)
	if err != nil {
		return Score{}, err
	}
	s := Score{Images: images.N}
	of := make([]ClassScore, j.Classes)
	for i, read := range r.Classes {
		of[read].Read++
		if labels != nil && labels[i] >= 0 {
			asked := &of[labels[i]]
			asked.Asked++
			if labels[i] == read {
				asked.Correct++
			}
		}
	}
	all := ClassScore{}
	for _, class := range j.occurs {
		c := of[class]
		c.Class, c.Accuracy = class, c.share()
		s.Classes = append(s.Classes, c)
		all.Asked += c.Asked
		all.Correct += c.Correct
	}
	s.Accuracy = all.share()
	if s.Frechet, err = j.distance(r.Features); err != nil {
		return Score{}, fmt.Errorf("the samples: %w", err)
	}
	return s, nil
}

// share is the accuracy, nil where no image was asked for.
func (c ClassScore) share() *float64 {
	if c.Asked == 0 {
		return nil
	}
	v := float64(c.Correct) / float64(c.Asked)
	return &v
}
