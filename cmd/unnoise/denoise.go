package main

import (
	"slices"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/internal/cli"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/lab"
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
	cli.Hide(cmd, append(ofUpscale, "prompts", "count", "vary", "upscale")...) // of one picture by one model
	cli.List(cmd, &f.At, "at", "times", "times of the process or shares such as 50%, with commas",
		func(s string) (string, bool) { return s, s != "" },
		func(s string) string { return s },
		"times that the picture is noised to, with commas: timesteps such as 250, a flow's from 0 (noise) to 1, "+
			"or shares of the way to noise (default 25%,50%,75%)")
	pictureFlags(cmd, &f.Picture)
}

// run draws the strip.
func (f *stripFlags) run(cmd *cobra.Command, name string) error {
	if err := f.Picture.Read(name); err != nil {
		return err
	}
	f.Strip.Show = f.output.Show
	f.request.Strip = &f.Strip
	return f.drawFlags.run(cmd)
}

func newNoise() *cobra.Command {
	var f stripFlags
	cmd := &cobra.Command{
		Use: "noise PICTURE", Short: "Show how the forward process turns a picture into noise",
		Long: `Noises a picture to several times of a model's process, x_t = signal·x_0 + noise·ε, and draws them in one row. The
network is not asked, and its weights are not read. The same ε is added at all times.

The picture is a file, or one of the photographs that come with the program: ` + cli.Alternatives(picture.Examples()) + `.`,
		Example: `  unnoise noise cat --at 25,75,150,299
  unnoise noise cat --model DeepFloyd/IF-I-M-v1.0 --at 250,500,750
  unnoise noise seven.png --model mnist-class --at 25%,50%,75% --show x_t,epsilon`,
		Args: cli.Arg("picture"), ValidArgsFunction: pictureOrExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			f.Forward = true
			if changed := cmd.Flags().Changed; !changed("model") && !changed("side") {
				f.Side = 128
			}
			return f.run(cmd, args[0])
		},
	}
	f.add(cmd, "noised.png")
	cli.Hide(cmd, "prompt", "negative", "embeds", "no-cache", "animate", "previews", "sampler", "steps", "timesteps",
		"eta", "guidance", "batch")
	cmd.Flags().Lookup("show").Usage = "what is shown, with commas: x_t, epsilon (default x_t)"
	cli.Int(cmd, &f.Side, "side", 0, 0, 1024,
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
		Use: "denoise [PICTURE]", Short: "Show what a model makes of a noised picture, at once and step by step",
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
			return cli.Arg("picture")(cmd, args)
		},
		ValidArgsFunction: pictureOrExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return f.digits(cmd, data, sigma)
			}
			if err := cli.Refuse(cmd, "has no meaning with a picture", "data", "sigma"); err != nil {
				return err
			}
			return f.run(cmd, args[0])
		},
	}
	f.add(cmd, "denoised.png")
	flags := cmd.Flags()
	flags.Lookup("model").DefValue = "mnist-class with a picture, mnist-none without"
	flags.Lookup("show").Usage = "what is shown of each moment, with commas: x_t, x0 (what it is estimated to " +
		"become), epsilon (the noise seen in it) (default x_t)"
	cli.Int(cmd, &f.Every, "every", 0, 0, 1<<20,
		"show x_t after every k-th step of the sampler's path too; 0: the result only")
	cli.Float(cmd, &f.Blur, "blur", 2, 0, 64,
		"standard deviation of the blur in pixels, for pictures of 64 a side; others have it scaled")
	cli.Folder(cmd, &data, "data", "", "without a picture: folder with an IDX set (default: the embedded MNIST)")
	cli.Float(cmd, &sigma, "sigma", 0.5, 0, 100, "without a picture: noise level")
	flags.Lookup("sigma").DefValue = "the model's"
	count := flags.Lookup("count")
	count.Hidden, count.Usage, count.DefValue = false, "without a picture: digits, at most 500", "10"
	return cmd
}

// digits draws what a model of condition none makes of test digits.
func (f *stripFlags) digits(cmd *cobra.Command, data string, sigma float64) error {
	known := []string{"model", "data", "out", "sigma", "count", "seed", "backend", "dtype", "threads"}
	var err error
	changed := cmd.Flags().Changed
	cmd.Flags().Visit(func(flag *pflag.Flag) {
		if err == nil && !slices.Contains(known, flag.Name) {
			err = cli.Refuse(cmd, "needs a picture", flag.Name)
		}
	})
	if err != nil {
		return err
	}
	model, d := "mnist-none", writeup.DenoisedPicture{Count: 10, Backend: f.other()}
	if changed("model") {
		model = f.request.Model
	}
	if changed("count") {
		d.Count = f.request.Count
	}
	if changed("sigma") {
		d.Sigma = &sigma
	}
	if d.Count > 500 {
		return cli.Usagef("--count: expected a whole number from 1 to 500, found %d", d.Count)
	}
	if f.request.Seed != nil {
		d.Seed = *f.request.Seed
	}
	out := f.output.Files[0]
	if err := cli.CheckOutput("out", out, ".png"); err != nil {
		return err
	}
	var test *dataset.Labeled
	if d.Data, _, test, err = openData(data); err != nil {
		return err
	}
	b, _, dtype, err := f.open(cmd)
	if err != nil {
		return err
	}
	defer b.Finalize()
	m, err := openDigits(b, model, dtype)
	if err != nil {
		return err
	}
	defer m.Close()
	d.DType = engine.Name(dtype)
	if err := d.Write(cmd.Context(), m, test, out); err != nil {
		return err
	}
	return cli.Printf(cmd, "%s", out)
}
