package main

import (
	"fmt"
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/picture"
	"github.com/unnoise/unnoise/writeup"
)

// stripFlags are those of the verbs that show the process on a picture.
type stripFlags struct {
	drawFlags
	lab.Strip
}

func (f *stripFlags) add(cmd *cobra.Command, out string) {
	f.drawFlags.add(cmd, "mnist-class", out)
	for _, flag := range []string{"prompts", "count", "vary", "upscale", "upscale-sampler", "upscale-steps",
		"upscale-timesteps", "upscale-eta", "upscale-guidance", "noise-level"} {
		cmd.Flags().Lookup(flag).Hidden = true // of one picture by one model
	}
	listFlag(cmd, &f.At, "at", "times", "times of the process or shares such as 50%, with commas",
		func(s string) (string, bool) { return s, s != "" },
		func(s string) string { return s },
		"times that the picture is noised to, with commas: timesteps such as 250, a flow's from 0 (noise) to 1, "+
			"or shares of the way to noise (default 25%,50%,75%)")
	pictureFlags(cmd, &f.Picture)
}

// run draws the strip.
func (f *stripFlags) run(cmd *cobra.Command, name string) error {
	if err := readPicture(&f.Picture, name); err != nil {
		return err
	}
	f.Show = f.show
	f.request.Strip = &f.Strip
	return f.fillAndRun(cmd)
}

func newNoise() *cobra.Command {
	var f stripFlags
	cmd := &cobra.Command{
		Use:   "noise PICTURE",
		Short: "Show how the forward process turns a picture into noise",
		Long: `Noises a picture to several times of a model's process, x_t = signal·x_0 + noise·ε, and draws them in one row. The
network is not asked, and its weights are not read. The same ε is added at all times.

The picture is a file, or one of the photographs that come with the program: ` + alternatives(picture.Examples()) + `.`,
		Example: `  unnoise noise cat --at 25,75,150,299
  unnoise noise cat --model DeepFloyd/IF-I-M-v1.0 --at 250,500,750
  unnoise noise seven.png --model mnist-class --at 25%,50%,75% --show x_t,epsilon`,
		Args:              onePicture,
		ValidArgsFunction: pictureOrExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			f.Forward = true
			if changed := cmd.Flags().Changed; !changed("model") && !changed("side") {
				f.Side = 128
			}
			return f.run(cmd, args[0])
		},
	}
	f.add(cmd, "noised.png")
	for _, flag := range []string{"prompt", "negative", "embeds", "no-cache", "animate", "previews", "sampler", "steps",
		"timesteps", "eta", "guidance", "batch"} {
		cmd.Flags().Lookup(flag).Hidden = true
	}
	cmd.Flags().Lookup("show").Usage = "what is shown, with commas: x_t, epsilon (default x_t)"
	intFlag(cmd, &f.Side, "side", 0, 0, 1024,
		"pixels a side, in color; 0: images as the model's (default: 128, or 0 with --model)")
	return cmd
}

func newDenoise() *cobra.Command {
	var (
		f     stripFlags
		data  string
		sigma float64
	)
	cmd := &cobra.Command{
		Use:   "denoise [PICTURE]",
		Short: "Show what a model makes of a noised picture, at once and step by step",
		Long: `Noises a picture to several times and removes the noise again. Each time has a row: the picture, the noised one, its
Gaussian blur, the estimate of one evaluation, and what the sampler comes to step by step; with --every k also x_t
after every k-th step of its path.

Without a picture, and with models of condition none, it draws three rows: test digits with noise, what the model
makes of them in one evaluation, and the digits.`,
		Example: `  unnoise denoise seven.png --model mnist-class --at 100,200 --steps 30 --every 5
  unnoise denoise cat --model DeepFloyd/IF-I-M-v1.0 --at 250,500,750
  unnoise denoise --model mnist-none --sigma 0.8`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return nil
			}
			return onePicture(cmd, args)
		},
		ValidArgsFunction: pictureOrExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return f.digits(cmd, data, sigma)
			}
			for _, flag := range []string{"data", "sigma"} {
				if cmd.Flags().Changed(flag) {
					return usagef("--%s has no meaning with a picture", flag)
				}
			}
			return f.run(cmd, args[0])
		},
	}
	f.add(cmd, "denoised.png")
	flags := cmd.Flags()
	flags.Lookup("model").DefValue = "mnist-class with a picture, mnist-none without"
	flags.Lookup("show").Usage = "what is shown of each moment, with commas: x_t, x0 (what it is estimated to " +
		"become), epsilon (the noise seen in it) (default x_t)"
	intFlag(cmd, &f.Every, "every", 0, 0, 1<<20,
		"show x_t after every k-th step of the sampler's path too; 0: the result only")
	floatFlag(cmd, &f.Blur, "blur", 2, 0, 64,
		"standard deviation of the blur in pixels, for pictures of 64 a side; others have it scaled")
	flags.StringVar(&data, "data", "", "without a picture: folder with an IDX set (default: the embedded MNIST)")
	completeFolder(cmd, "data")
	floatFlag(cmd, &sigma, "sigma", 0.5, 0, 100, "without a picture: noise level")
	flags.Lookup("sigma").DefValue = "the model's"
	count := flags.Lookup("count")
	count.Hidden, count.Usage, count.DefValue = false, "without a picture: digits, at most 500", "10"
	return cmd
}

// digits draws what a model of condition none makes of test digits.
func (f *stripFlags) digits(cmd *cobra.Command, data string, sigma float64) error {
	known := []string{"model", "data", "out", "sigma", "count", "seed", "backend", "dtype", "threads"}
	var err error
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		if err == nil && !slices.Contains(known, flag.Name) {
			err = usagef("--%s needs a picture", flag.Name)
		}
	})
	if err != nil {
		return err
	}
	model, out, count := "mnist-none", f.out[0], 10
	if cmd.Flags().Changed("model") {
		model = f.request.Model
	}
	if cmd.Flags().Changed("count") {
		count = f.request.Count
	}
	if count > 500 {
		return usagef("--count: expected a whole number from 1 to 500, found %d", count)
	}
	var seed uint64
	if f.request.Seed != nil {
		seed = *f.request.Seed
	}
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
		return fmt.Errorf("%s has condition %s; without a picture, denoise wants a model of condition none", model,
			m.Config.Condition)
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
	if err := writeup.DenoisedGrid(images).WritePNG(out, p); err != nil {
		return err
	}
	_, err = fmt.Fprintln(cmd.OutOrStdout(), out)
	return err
}
