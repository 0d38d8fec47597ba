package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/internal/shell"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/writeup"
)

func newDenoise() *cobra.Command {
	var (
		f           computing
		model, data string
		out         string
		sigma       float64
		count       int
		seed        uint64
	)
	cmd := &cobra.Command{
		Use:   "denoise",
		Short: "Show what a one-level denoiser makes of noisy test digits",
		Long:  "Draws three rows: test digits with noise, what a model of condition none makes of them in one evaluation, and the digits.",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if err := checkOutput("out", out, ".png"); err != nil {
				return err
			}
			name, _, test, err := openFlagData(data)
			if err != nil {
				return err
			}
			b, _, dtype, err := f.open(cmd)
			if err != nil {
				return err
			}
			defer b.Finalize()
			m, dir, err := openModel(b, model, dtype)
			if err != nil {
				return err
			}
			defer m.Close()
			if m.Config.Condition != mnistunet.None {
				return fmt.Errorf("%s has condition %s; denoise wants a model of condition none. Draw from noise with: unnoise sample --model %s", model, m.Config.Condition, shell.Quote(model))
			}
			if !cmd.Flags().Changed("sigma") {
				sigma = m.Config.Sigma
			}
			images, err := writeup.Denoised(cmd.Context(), m, test, sigma, count, seed)
			if err != nil {
				return err
			}
			var p figure.Parameters
			p.Add("Software", "unnoise "+build.Commit())
			p.Add("model", dir)
			p.Add("data", name)
			p.Add("count", images.N/3)
			p.Add("sigma", sigma)
			p.Add("seed", seed)
			f.describe(&p, dtype)
			if err := writeGrid(out, writeup.DenoisedGrid(images), p); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), out)
			return err
		},
	}
	modelFlag(cmd, &model, "mnist-none")
	cmd.Flags().StringVar(&data, "data", "", "folder with an IDX set (default: the embedded MNIST)")
	completeFolder(cmd, "data")
	cmd.Flags().StringVar(&out, "out", "denoised.png", "file to write")
	floatFlag(cmd, &sigma, "sigma", 0.5, 0, 100, "noise level")
	cmd.Flags().Lookup("sigma").DefValue = "the model's"
	intFlag(cmd, &count, "count", 10, 1, 500, "digits")
	seedFlag(cmd, &seed, "seed of the noise")
	computeFlags(cmd, &f)
	return cmd
}
