package main

import (
	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/illusion"
	"github.com/unnoise/unnoise/internal/cli"
	"github.com/unnoise/unnoise/lab"
)

func newViews() *cobra.Command {
	var (
		show lab.Demonstration
		out  string
		json bool
	)
	cmd := &cobra.Command{
		Use: "views [PICTURE]", Short: "List the views and bands of illusions, and show what they do to a picture",
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
				return cli.Refuse(cmd, "needs a picture", "perform", "ways", "out", "side", "frames")
			}
			return cli.Arg("picture")(cmd, args)
		},
		ValidArgsFunction: pictureOrExample,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return cli.Print(cmd, json, viewList{cli.Version, illusion.All()})
			}
			endings := []string{".png"}
			if show.Perform != "" {
				endings = append(endings, ".gif")
			}
			if show.Ways && show.Perform != "" {
				return cli.Usagef("--ways can't be given with --perform")
			}
			if err := cli.CheckNewFile(cmd, out, endings...); err != nil {
				return err
			}
			show.Picture = args[0]
			if err := show.Write(out); err != nil {
				return err
			}
			if json {
				return cli.JSON(cmd, map[string]any{"version": cli.Version, "out": out})
			}
			return cli.Printf(cmd, "wrote %s", out)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&show.Perform, "perform", "", "one view or band to perform, .png (animated) or .gif")
	cli.Complete(cmd, "perform", append(illusion.Names(illusion.Views()), illusion.Names(illusion.Bands())...)...)
	flags.BoolVar(&show.Ways, "ways", false, "draw the table of right and wrong ways to look at a picture")
	flags.StringVar(&out, "out", "views.png", "file to write")
	cli.Int(cmd, &show.Frames, "frames", 24, 2, 1000, "pictures of --perform, from one end to the other")
	cli.Int(cmd, &show.Side, "side", 0, 0, 1024,
		"pixels a side that the picture is brought to; 0: its own, at most 256")
	cli.JSONFlag(cmd, &json, "print JSON")
	return cmd
}

// viewList is what there is.
type viewList struct {
	Version int `json:"version"`
	illusion.Catalog
}
