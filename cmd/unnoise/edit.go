package main

import (
	"fmt"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/internal/cli"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/picture"
	"github.com/unnoise/unnoise/registry"
)

// pictureFlags say how a picture becomes images of a model.
func pictureFlags(cmd *cobra.Command, p *lab.Picture) {
	cli.Choice(cmd, &p.Fit, "fit", "",
		"how the picture gets the images' size: crop (default), pad, stretch, whole (not square, for models that "+
			"allow it) or digit (as MNIST's digits are)",
		"crop", "pad", "stretch", "whole", "digit")
	cli.Choice(cmd, &p.Ink, "ink", "",
		"dark: exchange dark and light; light: don't; auto: where dark ink on light ground is plain (default: auto "+
			"for models of digits, light else)", "dark", "light", "auto")
	cmd.Flags().StringVar(&p.Ground, "ground", "",
		"color behind transparent parts: white, black, gray or #rrggbb (default white)")
}

// pictureOrExample completes a picture's name.
func pictureOrExample(_ *cobra.Command, args []string, _ string) ([]string, cobra.ShellCompDirective) {
	if len(args) > 0 {
		return nil, cobra.ShellCompDirectiveNoFileComp
	}
	return picture.Examples(), cobra.ShellCompDirectiveDefault
}

func newEdit() *cobra.Command {
	var f drawFlags
	var e lab.Edit
	var start []int
	var strength []float64
	cmd := &cobra.Command{
		Use: "edit PICTURE", Short: "Draw a picture anew from a photo or a drawing (SDEdit)",
		Long: `Noises a picture up to a time in the middle of the path and draws from there, as prompts say: the more noise,
the more may change. The picture is a file (PNG, JPEG, GIF, WebP, BMP or TIFF), or one of the photographs that
come with the program: ` + cli.Alternatives(picture.Examples()) + `.

--start counts the steps of the path from 0, which is noise alone. Several values with commas, of --start or of
--strength, are drawn in one row beside the picture.`,
		Example: `  unnoise edit drawing.png --model mnist-class --prompt 3 --strength 0.5
  unnoise edit cat --model DeepFloyd/IF-I-M-v1.0 --prompt "a high quality photo" --steps 34 --start 1,3,5,7,10,20`,
		Args: cli.Arg("picture"), ValidArgsFunction: pictureOrExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := e.Picture.Read(args[0]); err != nil {
				return err
			}
			if len(start) > 0 && len(strength) > 0 {
				return cli.Usagef("--start can't be given with --strength")
			}
			f.request.Edit = &e
			f.request.Vary = append(f.request.Vary, e.Starts(start)...)
			f.request.Vary = append(f.request.Vary, e.Strengths(strength)...)
			return f.run(cmd)
		},
	}
	f.add(cmd, registry.Default(), "edited.png")
	cli.Numbers(cmd, &strength, "strength", "float", "numbers above 0 and at most 1, with commas",
		func(v float64) bool { return v > 0 && v <= 1 },
		"how much of the path is gone, and may change: 1 starts from noise alone; several with commas: a row "+
			"(default 0.6)")
	cli.List(cmd, &start, "start", "int", "whole numbers from 0, with commas", func(s string) (int, bool) {
		v, err := strconv.Atoi(s)
		return v, err == nil && v >= 0
	}, strconv.Itoa, "step of the path to start with, from 0, instead of --strength; several with commas: a row")
	pictureFlags(cmd, &e.Picture)
	return cmd
}

func newInpaint() *cobra.Command {
	var f drawFlags
	var in lab.Inpaint
	var mask string
	method := string(lab.Course)
	cmd := &cobra.Command{
		Use: "inpaint PICTURE", Short: "Draw a part of a picture anew",
		Long: `Draws the part of a picture that a mask selects anew, as prompts say or without, and keeps the rest. What is kept
comes back to the bit. The mask is an image of the picture's size, light where to draw, or a rectangle, or what is
transparent in the picture.

Methods: course overwrites what is known after each step by the original, noised to that time (RePaint, eq. 8);
repaint does so too and goes back --length steps again and again, --repeats times, so that old and new come to fit;
diffusers overwrites it by the original without noise, as that library does.`,
		Example: `  unnoise inpaint seven.png --model mnist-class --prompt 7 --box 0,0,100%,50%
  unnoise inpaint cat --box 30%,30%,40%,40% --model DeepFloyd/IF-I-M-v1.0 --prompt "a cat with glasses" --method repaint`,
		Args: cli.Arg("picture"), ValidArgsFunction: pictureOrExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			if err := in.Picture.Read(args[0]); err != nil {
				return err
			}
			if given := cli.Count(cmd, "mask", "box", "alpha"); given != 1 {
				return cli.Usagef("expected one of --mask, --box and --alpha, found %d", given)
			}
			if mask != "" {
				var err error
				if in.Mask.Data, err = picture.ReadFile(mask); err != nil {
					return fmt.Errorf("--mask: %w", err)
				}
			}
			in.Method = lab.Fill(method)
			f.request.Inpaint = &in
			return f.run(cmd)
		},
	}
	f.add(cmd, registry.Default(), "inpainted.png")
	flags := cmd.Flags()
	flags.StringVar(&mask, "mask", "", "image of the picture's size, light where to draw anew")
	flags.StringVar(&in.Mask.Box, "box", "",
		"rectangle to draw anew: x,y,width,height in the picture's pixels or percent")
	flags.BoolVar(&in.Mask.Alpha, "alpha", false, "draw anew what is transparent in the picture, and what padding adds")
	cli.Float(cmd, &in.Mask.Feather, "feather", 0, 0, 1024,
		"pixels of the images over which old and new are mixed, from the mask's edge inwards")
	cli.Choice(cmd, &method, "method", method, "how the known part enters: course, repaint or diffusers",
		string(lab.Course), string(lab.RePaint), string(lab.Diffusers))
	cli.Int(cmd, &in.Length, "length", 0, 0, 1000, "repaint: steps that a jump goes back; 0: 5")
	cli.Int(cmd, &in.Repeats, "repeats", 0, 0, 1000, "repaint: how often each step is made; 0: 3")
	pictureFlags(cmd, &in.Picture)
	return cmd
}
