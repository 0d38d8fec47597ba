package evaluation

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/weights"
)

func setUp(t testing.TB) (b compute.Backend, train, test *dataset.Labeled) {
	t.Helper()
	b, _, err := engine.New(engine.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Finalize)
	if train, test, err = dataset.MNIST(); err != nil {
		t.Fatal(err)
	}
	return b, train, test
}

// BenchmarkClassifier trains the classifier that eval uses, on all of MNIST. It takes minutes.
func BenchmarkClassifier(b *testing.B) {
	backend, train, test := setUp(b)
	for b.Loop() {
		c, err := Train(b.Context(), backend, train, test, 0, nil)
		if err != nil {
			b.Fatal(err)
		}
		c.Close()
		b.ReportMetric(100*c.Accuracy, "%accuracy")
		if c.Accuracy < 0.99 {
			b.Errorf("accuracy %.4f, want 0.99", c.Accuracy)
		}
	}
}

func TestTrain(t *testing.T) {
	b, train, test := setUp(t)
	train, test = train.Head(2500), test.Head(600)
	c, err := Train(t.Context(), b, train, test, 0, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if c.Accuracy < 0.9 {
		t.Errorf("accuracy %.3f after %d images, want 0.9", c.Accuracy, epochs*train.Len())
	}

	j, err := NewJudge(t.Context(), c, train, test)
	if err != nil {
		t.Fatal(err)
	}
	images, labels := diffusion.NewImages(test.Len(), 1, size, size), make([]int, test.Len())
	test.Batch(upTo(test.Len()), images.Data, nil)
	for i, label := range test.Labels {
		labels[i] = int(label)
	}
	s, err := j.Score(t.Context(), images, labels)
	if err != nil {
		t.Fatal(err)
	}
	near(t, "the test images' accuracy", *s.Accuracy, c.Accuracy, 1e-12)
	near(t, "the test images' distance", s.Frechet, 0, 1e-4)
	asked, correct, read := 0, 0, 0
	for _, class := range s.Classes {
		asked, correct, read = asked+class.Asked, correct+class.Correct, read+class.Read
		near(t, "a class's accuracy", *class.Accuracy, float64(class.Correct)/float64(class.Asked), 1e-12)
	}
	if asked != 600 || read != 600 || correct != int(math.Round(600*c.Accuracy)) {
		t.Errorf("%d asked for, %d correct, %d read", asked, correct, read)
	}

	// Noise is further away than digits, and few digits further than many.
	noise := diffusion.NewImages(600, 1, size, size)
	diffusion.NewGenerator(1).Uniform(noise.Data)
	far, err := j.Score(t.Context(), noise, nil)
	if err != nil {
		t.Fatal(err)
	}
	all, err := j.Baseline(train.Len(), false)
	if err != nil {
		t.Fatal(err)
	}
	few, err := j.Baseline(100, false)
	if err != nil {
		t.Fatal(err)
	}
	if !(0 < all.Frechet && all.Frechet < few.Frechet && few.Frechet < far.Frechet) || all.Groups != 1 ||
		few.Groups != train.Len()/100 || all.Deviation != 0 || !(few.Deviation > 0) {
		t.Errorf("baselines %+v and %+v, noise %g; want rising", all, few, far.Frechet)
	}
	even, err := j.Baseline(train.Len(), true)
	if err != nil {
		t.Fatal(err)
	}
	if !even.Even || even.Images%c.Classes != 0 || even.Images >= train.Len() || even.Groups != 1 {
		t.Errorf("the baseline of digits that go round the classes is %+v", even)
	}
	checkBaselines(t, j, train, few)
	if far.Accuracy != nil || far.Classes[0].Accuracy != nil {
		t.Error("images that nothing was asked of have an accuracy")
	}

	// How many are read at once makes no difference, nor do values below black and above white.
	first, err := c.ReadSet(t.Context(), test)
	if err != nil {
		t.Fatal(err)
	}
	three := images.Slice(300, 303).Clone()
	for i, v := range three.Data {
		switch v {
		case 0:
			three.Data[i] = -0.3
		case 1:
			three.Data[i] = 1.4
		}
	}
	second, err := c.Read(t.Context(), three)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(second.Features, first.Features[300*Features:303*Features]) ||
		!slices.Equal(second.Classes, first.Classes[300:303]) {
		t.Error("three images alone are read otherwise than among 600")
	}

	three.Data[5] = float32(math.NaN())
	if _, err := c.Read(t.Context(), three); err == nil || !strings.Contains(err.Error(), "NaN") {
		t.Errorf("NaN was read: %v", err)
	}
	if _, err := j.Score(t.Context(), images, labels[:3]); err == nil {
		t.Error("3 classes for 600 images were accepted")
	}
	labels[7] = 10
	if _, err := j.Score(t.Context(), images, labels); err == nil || !strings.Contains(err.Error(), "image 7") {
		t.Errorf("class 10 was accepted: %v", err)
	}
	if _, err := c.Read(t.Context(), diffusion.NewImages(1, 3, size, size)); err == nil {
		t.Error("images of 3 channels were read")
	}
}

// checkBaselines reports whether baselines are of random training images, those that go round the classes of each class
// in turn, and whether one of several groups is their mean.
func checkBaselines(t *testing.T, j *Judge, train *dataset.Labeled, baseline BaselineDistance) {
	t.Helper()
	r, err := j.ReadSet(t.Context(), train)
	if err != nil {
		t.Fatal(err)
	}
	labels := map[[Features]float32]byte{}
	for i, label := range train.Labels {
		labels[[Features]float32(r.Features[i*Features:])] = label
	}
	for i := range len(j.even) / Features {
		if label, ok := labels[[Features]float32(j.even[i*Features:])]; !ok || int(label) != i%j.Classes {
			t.Fatalf("digit %d of those that go round the classes is a %d (known: %v)", i, label, ok)
		}
	}
	if slices.Equal(j.training, r.Features) {
		t.Error("baselines are of neighbours in the set")
	}
	var distances []float64
	for i := range baseline.Groups {
		g, err := Fit(j.training[i*baseline.Images*Features:(i+1)*baseline.Images*Features], Features)
		if err != nil {
			t.Fatal(err)
		}
		d, err := FrechetDistance(g, j.test)
		if err != nil {
			t.Fatal(err)
		}
		distances = append(distances, d)
	}
	mean, squares := 0.0, 0.0
	for _, d := range distances {
		mean += d / float64(len(distances))
	}
	for _, d := range distances {
		squares += (d - mean) * (d - mean)
	}
	near(t, "a baseline", baseline.Frechet, mean, 1e-9)
	near(t, "a baseline's deviation", baseline.Deviation, math.Sqrt(squares/float64(len(distances)-1)), 1e-9)
}

func TestShifts(t *testing.T) {
	_, train, _ := setUp(t)
	const n = 50
	tr := newBatch(n, 10)
	tr.fill(train, upTo(n), diffusion.NewGenerator(0))
	seen := map[int]bool{}
	for i := range n {
		dx, dy := tr.shifts[2*i]-maxShift, tr.shifts[2*i+1]-maxShift
		seen[dx], seen[dy] = true, true
		for at := range size * size {
			x, y, want := at%size-dx, at/size-dy, float32(0)
			if x >= 0 && x < size && y >= 0 && y < size {
				want = float32(train.Images[(i*size+y)*size+x]) / 255
			}
			if tr.pixels[i*size*size+at] != want {
				t.Fatalf("image %d moved by %d, %d has %g at %d, want %g", i, dx, dy, tr.pixels[i*size*size+at], at,
					want)
			}
		}
		for class, v := range tr.oneHot[i*10 : i*10+10] {
			if (v == 1) != (class == int(train.Labels[i])) || v != 0 && v != 1 {
				t.Fatalf("image %d of class %d has %g at class %d", i, train.Labels[i], v, class)
			}
		}
	}
	if len(seen) != 2*maxShift+1 {
		t.Errorf("shifts %v", seen)
	}
}

func TestOpen(t *testing.T) {
	b, train, test := setUp(t)
	train, test = train.Head(200), test.Head(50)
	train.Labels = slices.Clone(train.Labels)
	train.Labels[0] = 255 // as many classes as there can be
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	path, err := CachePath(train, test, 3)
	if err != nil {
		t.Fatal(err)
	}
	other, err := CachePath(train.Head(199), test, 3)
	if err != nil || other == path {
		t.Errorf("another set has the same file %s, %v", path, err)
	}
	trained := 0
	open := func(retrain bool) *Classifier {
		t.Helper()
		trained = 0
		c, err := Open(t.Context(), b, path, train, test, 3, retrain, func(TrainProgress) { trained++ })
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(c.Close)
		return c
	}
	a := open(false)
	if trained != epochs {
		t.Errorf("%d steps, want %d", trained, epochs)
	}
	first, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	loaded := open(false)
	if trained != 0 || loaded.Accuracy != a.Accuracy || loaded.Seed != 3 || loaded.Classes != 256 {
		t.Errorf("after %d steps the kept classifier is %+v, want that of accuracy %g, seed 3, 256 classes", trained,
			loaded, a.Accuracy)
	}
	before, err := a.ReadSet(t.Context(), test)
	if err != nil {
		t.Fatal(err)
	}
	after, err := loaded.ReadSet(t.Context(), test)
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Equal(before.Features, after.Features) {
		t.Error("the kept classifier has other features")
	}
	open(true)
	if again, err := os.ReadFile(path); err != nil || trained != epochs || !slices.Equal(first, again) {
		t.Errorf("the same seed gave another classifier after %d steps, %v", trained, err)
	}

	f, err := weights.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	m, tensors := f.Metadata(), map[string]weights.Tensor{}
	for _, name := range f.Names() {
		if tensors[name], err = f.Tensor(name); err != nil {
			t.Fatal(err)
		}
	}
	damaged := filepath.Join(t.TempDir(), "c.safetensors")
	for key, value := range map[string]string{"recipe": "0", "model": "other", "test_accuracy": "NaN", "classes": "0",
		"seed": "-1"} {
		wrong := maps.Clone(m)
		wrong[key] = value
		if err := weights.Write(damaged, tensors, wrong); err != nil {
			t.Fatal(err)
		}
		if _, err := Open(t.Context(), b, damaged, train, test, 3, false, nil); err == nil ||
			!strings.Contains(err.Error(), damaged) || !strings.Contains(err.Error(), "retrain") {
			t.Errorf("%s %s: %v", key, value, err)
		}
	}
	f.Close()
	if err := os.Truncate(path, 100); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), b, path, train, test, 3, false, nil); err == nil ||
		!strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "retrain") {
		t.Errorf("a truncated classifier: %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	_, err = Open(ctx, b, path, train, test, 3, true, func(TrainProgress) { cancel() })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("a training that was cancelled returned %v", err)
	}
}

func TestReadSamples(t *testing.T) {
	path := filepath.Join(t.TempDir(), "s.safetensors")
	pixels := make([]float32, 2*size*size)
	pixels[3] = 1.5
	good := func() map[string]weights.Tensor {
		return map[string]weights.Tensor{"images": weights.FromFloat32([]int{2, 1, size, size}, pixels),
			"labels": weights.FromInt32([]int{2}, []int32{7, -1})}
	}
	write := func(tensors map[string]weights.Tensor) {
		t.Helper()
		if err := weights.Write(path, tensors, nil); err != nil {
			t.Fatal(err)
		}
	}
	write(good())
	images, labels, err := ReadSamples(path, 10)
	if err != nil || images.N != 2 || images.Data[3] != 1.5 || !slices.Equal(labels, []int{7, -1}) {
		t.Errorf("read %s, %v, %v", images.Shape(), labels, err)
	}
	filled := func(at int, v float32) []float32 {
		p := slices.Clone(pixels)
		if at < 0 {
			for i := range p {
				p[i] = v
			}
			return p
		}
		p[at] = v
		return p
	}
	for want, change := range map[string]func(map[string]weights.Tensor){
		`no tensor "images"`: func(t map[string]weights.Tensor) { delete(t, "images") },
		`no tensor "labels"`: func(t map[string]weights.Tensor) { delete(t, "labels") },
		`"images" has shape [2 28 28]`: func(t map[string]weights.Tensor) {
			t["images"] = weights.FromFloat32([]int{2,
				size, size}, pixels)
		},
		`"images" has shape [1 1 28 56`: func(t map[string]weights.Tensor) {
			t["images"] = weights.FromFloat32([]int{1, 1, size, 2 * size}, pixels)
		},
		`"labels" has shape [1]`: func(t map[string]weights.Tensor) {
			t["labels"] = weights.FromInt32([]int{1},
				[]int32{1})
		},
		`elements are I64; want I32`: func(t map[string]weights.Tensor) {
			t["labels"] = weights.Tensor{DType: weights.I64, Shape: []int{2}, Data: make([]byte, 16)}
		},
		`image 1 has class 10; want 0 to 9`: func(t map[string]weights.Tensor) {
			t["labels"] = weights.FromInt32(
				[]int{2}, []int32{9, 10})
		},
		`image 0 has class -2`: func(t map[string]weights.Tensor) {
			t["labels"] = weights.FromInt32(
				[]int{2}, []int32{-2, 1})
		},
		`elements are I32; want F32`: func(t map[string]weights.Tensor) {
			t["images"] = weights.FromInt32([]int{2, 1, size, size}, make([]int32, 2*size*size))
		},
		`image 1 has a value that is NaN`: func(t map[string]weights.Tensor) {
			t["images"] = weights.FromFloat32([]int{2, 1, size, size}, filled(size*size+4, float32(math.NaN())))
		},
		`mean of -0.9`: func(t map[string]weights.Tensor) {
			t["images"] = weights.FromFloat32([]int{2, 1, size, size}, filled(-1, -0.9))
		},
	} {
		tensors := good()
		change(tensors)
		write(tensors)
		if _, _, err := ReadSamples(path, 10); err == nil || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), path) {
			t.Errorf("%v; want %q and the file", err, want)
		}
	}
	if _, _, err := ReadSamples(path+".none", 10); err == nil {
		t.Error("a missing file was read")
	}
}

func TestMeasureDenoising(t *testing.T) {
	b, _, test := setUp(t)
	test = test.Head(300) // more than one batch
	config := mnistunet.Default(mnistunet.None)
	config.Dim = 4
	m, err := mnistunet.New(b, config, dtypes.Float32, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	mean, variance := make([]float64, size*size), 0.0
	for i, v := range test.Images {
		mean[i%(size*size)] += float64(v) / 255 / 300
	}
	for i, v := range test.Images {
		variance += math.Pow(float64(v)/255-mean[i%(size*size)], 2) / float64(len(test.Images))
	}
	clean := diffusion.NewImages(300, 1, size, size)
	test.Batch(upTo(300), clean.Data, nil)
	for _, sigma := range []float64{0, 0.5} {
		random, noisy := diffusion.NewGenerator(0), clean.Clone()
		for _, of := range []diffusion.Images{noisy.Slice(0, 250), noisy.Slice(250, 300)} {
			noise := make([]float32, len(of.Data))
			random.Normal(noise)
			for i, e := range noise {
				of.Data[i] += float32(sigma) * e
			}
		}
		estimate, err := m.Denoise(t.Context(), noisy)
		if err != nil {
			t.Fatal(err)
		}
		want := 0.0
		for i, v := range clean.Data {
			want += math.Pow(float64(estimate.Data[i]-v), 2) / float64(len(clean.Data))
		}
		r, err := MeasureDenoising(t.Context(), m, test, sigma, 0)
		if err != nil {
			t.Fatal(err)
		}
		near(t, "the mean image's error", r.Constant, variance, 1e-6)
		near(t, "the noisy image's error", r.Noisy, sigma*sigma, 0.005*sigma)
		near(t, "the model's error", r.Model, want, 1e-6)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := MeasureDenoising(ctx, m, test, 0.5, 0); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled measurement returned %v", err)
	}
}

func TestRound(t *testing.T) {
	if got := round([]byte{7, 7, 3, 7, 3, 1, 1, 7}); fmt.Sprint(got) != "[5 2 0 6 4 1]" {
		t.Errorf("went round the classes in the order %v", got)
	}
	if got := round(nil); len(got) != 0 {
		t.Errorf("of no labels: %v", got)
	}
}
