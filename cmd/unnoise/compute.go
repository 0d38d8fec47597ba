package main

import (
	"errors"
	"fmt"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/gobackend"
	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/internal/cli"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/onednn"
	"github.com/unnoise/unnoise/registry"
	"github.com/unnoise/unnoise/training/mnist"
)

// computing holds the flags that say how networks are computed.
type computing struct {
	backend string
	dtype   string
	threads int
	without []string // for benchmarks
}

func computeFlags(cmd *cobra.Command, c *computing) {
	cmd.Flags().StringVar(&c.backend, "backend", onednn.BackendName,
		"what computes networks: onednn, the CPU; xla:cuda, xla:cpu or xla:/path/to/plugin.so, XLA with that plugin; "+
			"go, GoMLX's own, slow")
	cli.Choice(cmd, &c.dtype, "dtype", "auto",
		"what convolutions compute in: auto is bf16 where the processor has units for it and oneDNN is there", "auto",
		"bf16", "f32")
	cli.Int(cmd, &c.threads, "threads", 0, 0, 1024, "threads for networks; 0: one for each CPU")
}

// other is the backend if it is not onednn.
func (c computing) other() string {
	if c.backend == onednn.BackendName {
		return ""
	}
	return c.backend
}

// trains refuses a backend that can't train.
func (c computing) trains() error {
	if c.backend == gobackend.BackendName {
		return cli.Usagef("--backend %s does not train: it lacks batch normalization's training", c.backend)
	}
	return nil
}

// open starts the backend and says once if it is slow.
func (c computing) open(cmd *cobra.Command) (compute.Backend, engine.Info, dtypes.DType, error) {
	if c.other() != "" {
		err := cli.Refuse(cmd, "is for --backend "+onednn.BackendName, "threads", "without", "profile")
		if err != nil {
			return nil, engine.Info{}, 0, err
		}
	}
	b, info, err := engine.New(engine.Options{Backend: c.backend, Threads: c.threads, Without: c.without})
	if errors.Is(err, engine.ErrUnknown) {
		return nil, info, 0, cli.UsageError{Err: err}
	}
	if err != nil {
		return nil, info, 0, err
	}
	if w := info.Warning(); w != "" {
		fmt.Fprintln(cmd.ErrOrStderr(), "unnoise: warning:", w)
	}
	dtype, err := engine.DType(c.dtype, c.backend)
	if err != nil {
		b.Finalize()
		return nil, info, 0, err
	}
	return b, info, dtype, nil
}

// openData opens the images of --data.
func openData(flag string) (name string, train, test *dataset.Labeled, err error) {
	if name, err = mnist.DataName(flag); err == nil {
		train, test, err = mnist.OpenData(name)
	}
	if err != nil {
		err = fmt.Errorf("--data: %w", err)
	}
	return name, train, test, err
}

// modelFlag adds --model.
func modelFlag(cmd *cobra.Command, target *string, value string) {
	cmd.Flags().StringVar(target, "model", value,
		"one of 'unnoise model list', the folder of a run, of a model or of a pipeline of the hub, or OWNER/NAME in "+
			"the hub's cache")
	completeModels(cmd, "model")
}

// completeModels offers folders and the models that come with the program for a flag.
func completeModels(cmd *cobra.Command, flag string) {
	cli.CompleteBy(cmd, flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return registry.Names(), cobra.ShellCompDirectiveDefault
	})
}

// openDigits loads the network for digits of --model.
func openDigits(b compute.Backend, name string, dtype dtypes.DType) (*mnistunet.Model, error) {
	m, err := registry.OpenDigits(name, registry.Options{Backend: b, DType: dtype})
	if err != nil {
		err = fmt.Errorf("--model: %w", err)
	}
	return m, err
}
