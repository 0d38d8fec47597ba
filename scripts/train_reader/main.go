// Train_reader trains the networks that come with package reader, and writes them.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/reader"
	"github.com/unnoise/unnoise/weights"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "train_reader:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	var (
		out     = flag.String("out", "reader/reader.safetensors", "file to write")
		seed    = flag.Uint64("seed", 101, "of the first network; the others have those after it")
		threads = flag.Int("threads", 0, "that compute; 0: one for each CPU")
	)
	flag.Parse()
	if flag.NArg() > 0 {
		return fmt.Errorf("expected flags only, found %q", flag.Arg(0))
	}
	train, _, err := dataset.MNIST()
	if err != nil {
		return err
	}
	b, _, err := engine.New(engine.Options{Threads: *threads})
	if err != nil {
		return err
	}
	defer b.Finalize()
	tensors, err := reader.Train(ctx, b, train, *seed, func(done, total int, loss float64) {
		if done%100 == 0 || done == total {
			fmt.Fprintf(os.Stderr, "step %d of %d, loss %.4f\n", done, total, loss)
		}
	})
	if err != nil {
		return err
	}
	return weights.Write(*out, tensors, map[string]string{"format": "pt"})
}
