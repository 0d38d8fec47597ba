package main

import (
	"fmt"
	"slices"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/illusion"
	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/lab"
)

func newViews() *cobra.Command {
	var (
		perform, out string
		ways, json   bool
		frames, side int
	)
	cmd := &cobra.Command{
		Use:   "views [PICTURE]",
		Short: "List the views and bands of illusions, and show what they do to a picture",
		Long: `Lists the views under which one picture can show several things, and the bands that it can be taken apart
into. Parameters follow a name after a colon, as in jigsaw:7 or patch_permute:8,42. Views may follow each other,
as in rotate_180+negate.

With a picture it draws what they make of it, all of them or one performed. --ways shows beside each other what a view
may do to noise and what it may not: a denoiser knows noise of mean 0, variance 1 and independent pixels only.`,
		Example: `  unnoise views
  unnoise views cat
  unnoise views cat --perform jigsaw:7 --out jigsaw.gif
  unnoise views cat --ways --out ways.png`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				for _, flag := range []string{"perform", "ways", "out", "side", "frames"} {
					if cmd.Flags().Changed(flag) {
						return usagef("--%s needs a picture", flag)
					}
				}
				return nil
			}
			return onePicture(cmd, args)
		},
		ValidArgsFunction: pictureOrExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return listViews(cmd, json)
			}
			if ways && perform != "" {
				return usagef("--ways can't be given with --perform")
			}
			var shown any // what is performed
			endings := []string{".png"}
			if perform != "" {
				var err error
				if shown, err = lab.ParseViewOrBand(perform); err != nil {
					return usagef("--perform: %w", err)
				}
				endings = append(endings, ".gif")
			}
			if err := checkOutput("out", out, endings...); err != nil {
				return err
			}
			if err := refuseUnnamed(cmd, out); err != nil {
				return err
			}
			m, err := lab.Square(args[0], side)
			if err != nil {
				return err
			}
			var p figure.Parameters
			p.Add("Software", "unnoise "+build.Commit())
			p.Add("picture", args[0])
			switch {
			case perform != "":
				all, err := illusion.Perform(shown, m, frames)
				if err != nil {
					return usagef("--perform: %w", err)
				}
				p.Add("view", fmt.Sprint(shown))
				err = figure.WriteAnimation(out, figure.Animation{Frames: all, Back: true}, p)
				if err != nil {
					return err
				}
			case ways:
				table, err := lab.Ways(m)
				if err != nil {
					return err
				}
				if err := figure.WritePNG(out, table, p); err != nil {
					return err
				}
			default:
				sheet, err := lab.Views(m)
				if err != nil {
					return err
				}
				if err := figure.WritePNG(out, sheet, p); err != nil {
					return err
				}
			}
			if json {
				return printJSON(cmd.OutOrStdout(), struct {
					Version int    `json:"version"`
					Out     string `json:"out"`
				}{jsonVersion, out})
			}
			fmt.Fprintf(cmd.OutOrStdout(), "wrote %s\n", out)
			return nil
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&perform, "perform", "", "one view or band to perform, .png (animated) or .gif")
	complete(cmd, "perform", append(kindNames(illusion.Views()), kindNames(illusion.Bands())...)...)
	flags.BoolVar(&ways, "ways", false, "draw the table of right and wrong ways to look at a picture")
	flags.StringVar(&out, "out", "views.png", "file to write")
	intFlag(cmd, &frames, "frames", 24, 2, 1000, "pictures of --perform, from one end to the other")
	intFlag(cmd, &side, "side", 0, 0, 1024, "pixels a side that the picture is brought to; 0: its own, at most 256")
	jsonFlag(cmd, &json, "print JSON")
	return cmd
}

func kindNames(kinds []illusion.Kind) (names []string) {
	for _, k := range kinds {
		names = append(names, k.Name)
	}
	return names
}

func listViews(cmd *cobra.Command, json bool) error {
	if json {
		return printJSON(cmd.OutOrStdout(), struct {
			Version int             `json:"version"`
			Views   []illusion.Kind `json:"views"`
			Bands   []illusion.Kind `json:"bands"`
		}{jsonVersion, illusion.Views(), illusion.Bands()})
	}
	out := cmd.OutOrStdout()
	var parameters []illusion.Parameter
	list := func(title string, kinds []illusion.Kind) {
		fmt.Fprintln(out, title)
		w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
		for _, k := range kinds {
			fmt.Fprintf(w, "  %s\t%s\n", k.Usage(), k.Text)
			for _, p := range k.Parameters {
				if !slices.Contains(parameters, p) {
					parameters = append(parameters, p)
				}
			}
		}
		w.Flush()
	}
	list("views", illusion.Views())
	list("\nbands", illusion.Bands())
	fmt.Fprintln(out, "\nparameters, which may be left out from the last one on")
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	for _, p := range parameters {
		fmt.Fprintf(w, "  %s\t%s\t(default %g)\n", p.Name, p.Text, p.Default)
	}
	return w.Flush()
}
