package evaluation

import (
	"testing"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/internal/engine"
)

// BenchmarkClassifier trains the classifier that eval uses, on all of MNIST.
func BenchmarkClassifier(b *testing.B) {
	backend, _, err := engine.New(engine.Options{})
	if err != nil {
		b.Fatal(err)
	}
	defer backend.Finalize()
	train, test, err := dataset.MNIST()
	if err != nil {
		b.Fatal(err)
	}
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
