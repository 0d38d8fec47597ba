package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/gobackend"
	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/internal/atomicfile"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/internal/shell"
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
	profile bool     // for benchmarks
}

func computeFlags(cmd *cobra.Command, c *computing) {
	cmd.Flags().StringVar(&c.backend, "backend", onednn.BackendName,
		"what computes networks: onednn, the CPU; xla:cuda, xla:cpu or xla:/path/to/plugin.so, XLA with that plugin; "+
			"go, GoMLX's own, slow")
	choiceFlag(cmd, &c.dtype, "dtype", "auto",
		"what convolutions compute in: auto is bf16 where the processor has units for it and oneDNN is there", "auto",
		"bf16", "f32")
	intFlag(cmd, &c.threads, "threads", 0, 0, 1024, "threads for networks; 0: one for each CPU")
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
		return usagef("--backend %s does not train: it lacks batch normalization's training", c.backend)
	}
	return nil
}

// describe tells what networks were computed in, and by what if it was not onednn.
func (c computing) describe(p *figure.Parameters, dtype dtypes.DType) {
	p.Add("dtype", engine.Name(dtype))
	if other := c.other(); other != "" {
		p.Add("backend", other)
	}
}

// open starts the backend and says once if it is slow.
func (c computing) open(cmd *cobra.Command) (compute.Backend, engine.Info, dtypes.DType, error) {
	for _, of := range []struct {
		flag  string
		given bool
	}{{"threads", c.threads > 0}, {"without", len(c.without) > 0}, {"profile", c.profile}} {
		if of.given && c.other() != "" {
			return nil, engine.Info{}, 0, usagef("--%s is for --backend %s", of.flag, onednn.BackendName)
		}
	}
	for _, name := range c.without {
		if all := onednn.Optimizations(); !slices.Contains(all, name) {
			return nil, engine.Info{}, 0, usagef("--without: expected %s, found %q", alternatives(all), name)
		}
	}
	b, info, err := engine.New(engine.Options{Backend: c.backend, Threads: c.threads, Without: c.without})
	if errors.Is(err, engine.ErrUnknown) {
		return nil, info, 0, usageError{err}
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

// openFlagData opens the images of --data.
func openFlagData(flag string) (name string, train, test *dataset.Labeled, err error) {
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
	err := cmd.RegisterFlagCompletionFunc(flag, func(*cobra.Command, []string, string) ([]string,
		cobra.ShellCompDirective) {
		return registry.Names(), cobra.ShellCompDirectiveDefault
	})
	if err != nil {
		panic(err) // the flag's name is misspelt in the program
	}
}

// openModel loads a network for digits, and returns what it is called.
func openModel(b compute.Backend, name string, dtype dtypes.DType) (*mnistunet.Model, string, error) {
	place, err := registry.Find(name)
	if err != nil {
		return nil, "", fmt.Errorf("--model: %w", err)
	}
	m, err := place.Digits(registry.Options{Backend: b, DType: dtype})
	if err != nil {
		return nil, "", fmt.Errorf("--model: %w", err)
	}
	return m, m.Name, nil
}

// checkOutput refuses an output file early, before work is lost on it.
func checkOutput(flag, path string, endings ...string) error {
	ending := strings.ToLower(filepath.Ext(path))
	for _, e := range endings {
		if ending == e {
			info, err := os.Stat(filepath.Dir(path))
			if errors.Is(err, fs.ErrNotExist) {
				return fmt.Errorf("--%s: there is no folder for %s: make it with mkdir -p %s", flag, path,
					shell.Quote(filepath.Dir(path)))
			}
			if err != nil {
				return fmt.Errorf("--%s: %w", flag, err)
			}
			if !info.IsDir() {
				return fmt.Errorf("--%s: %s is not a folder", flag, filepath.Dir(path))
			}
			if err := atomicfile.Check(path); err != nil {
				return fmt.Errorf("--%s: %w", flag, err)
			}
			return nil
		}
	}
	return usagef("--%s: expected a file name that ends with %s, found %q", flag, alternatives(endings), path)
}

// refuseUnnamed refuses to replace a file whose name is --out's default and so nobody's choice, where making it again
// takes long.
func refuseUnnamed(cmd *cobra.Command, path string) error {
	if _, err := os.Stat(path); err == nil && !cmd.Flags().Changed("out") {
		return usagef("--out: %s is there already; give its name to replace it, or another", path)
	}
	return nil
}

func platform() string { return runtime.GOOS + "/" + runtime.GOARCH }
