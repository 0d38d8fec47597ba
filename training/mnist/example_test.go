package mnist_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/onednn"
	"github.com/unnoise/unnoise/training"
	"github.com/unnoise/unnoise/training/mnist"
)

// The recipe of the class-conditional model, with few digits and a small network. One's own images are a
// dataset.Labeled too, made by hand or read by dataset.Open.
func Example() {
	if err := train(); err != nil {
		fmt.Println(err)
	}
	// Output:
	// after epoch 1 of 2
	// after epoch 2 of 2
	// 8 steps, the model is in epoch-02
}

func train() error {
	backend, err := onednn.NewWithOptions(onednn.Options{})
	if err != nil {
		return err
	}
	defer backend.Finalize()
	digits, _, err := dataset.MNIST()
	if err != nil {
		return err
	}
	digits = digits.Head(200)
	dir, err := os.MkdirTemp("", "run")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	c := mnist.Default(mnistunet.Class)
	c.Network.Dim, c.Network.Classes = 4, digits.Classes()
	c.Epochs, c.Batch, c.DType = 2, 50, "f32"
	task, err := c.Task(digits, "MNIST")
	if err != nil {
		return err
	}
	result, err := training.Train(context.Background(), dir, c.Config, task, training.Options{
		Backend: backend,
		OnKept: func(k training.Kept) error {
			fmt.Printf("after epoch %d of %d\n", k.Epoch, k.Epochs) // the model is in k.ModelDir
			return nil
		},
	})
	if err != nil {
		return err
	}
	fmt.Printf("%d steps, the model is in %s\n", result.Steps, filepath.Base(result.ModelDir))
	return nil
}
