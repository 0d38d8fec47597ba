package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/dataset/captioned"
	"github.com/unnoise/unnoise/dataset/emoji"
	"github.com/unnoise/unnoise/internal/cli"
	"github.com/unnoise/unnoise/internal/duration"
)

func newDataset() *cobra.Command {
	return cli.Group("dataset", "Make captioned pictures for training, and look at them", newDatasetEmoji(),
		newDatasetShow())
}

func newDatasetEmoji() *cobra.Command {
	var (
		b     emoji.Builder
		sheet string
	)
	cmd := &cobra.Command{
		Use: "emoji", Short: "Make the emoji set for text-to-image training",
		Long: `Makes a folder of some 5,000 pictures of 1,400 things in four styles, with names and keywords, from emoji
with free licences: Noto, Twemoji, and Fluent Emoji flat and 3D. NOTICE.md in it says whose they are.

The packages, 29 MB, are fetched by npm, in versions that never change, and kept in the cache folder: a
second time works without a network. Drawing the SVG pictures needs Node.js, which npm comes with.

The layout is that of Hugging Face's "imagefolder": metadata.jsonl with file_name and text. What training
sees is composed of these pictures on the way; 'unnoise dataset show' shows it.`,
		Example: `  unnoise dataset emoji --out emoji
  unnoise dataset show emoji --out sheet.png`,
		Args: cli.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			if err := cli.CheckOutput("sheet", sheet, ".png"); err != nil {
				return err
			}
			if b.Dir == "" {
				var err error
				if b.Dir, err = emoji.DefaultDir(); err != nil {
					return err
				}
			}
			start := time.Now()
			shown := cli.Progress(cmd, false)
			shown.Show("reading the packages")
			b.Progress = func(done, total int) {
				shown.Update(func() string {
					return fmt.Sprintf("pictures %d/%d%s", done, total, duration.Left(start, done, total))
				})
			}
			info, err := b.Build(cmd.Context())
			shown.Clear()
			if err != nil {
				return err
			}
			if err := cli.Printf(cmd, "%d pictures of %d things in %s: %s", info.Pictures, info.Concepts,
				duration.Format(time.Since(start)), b.Dir); err != nil {
				return err
			}
			if len(info.LeftOut) > 0 {
				fmt.Fprintf(cmd.ErrOrStderr(), "unnoise: %d pictures could not be drawn and are left out: %s\n",
					len(info.LeftOut), strings.Join(info.LeftOut, "; "))
			}
			if sheet == "" {
				return nil
			}
			set, err := emoji.Open(b.Dir)
			if err != nil {
				return err
			}
			return writeSheet(cmd, sheet, set, captioned.Examples{Count: 96, Size: 32})
		},
	}
	cli.Folder(cmd, &b.Dir, "out", "", "folder to make (default data/emoji in the program's cache folder)")
	cli.Folder(cmd, &b.From, "from", "", "folder with the packages unpacked, such as node_modules, instead of npm")
	cmd.Flags().StringVar(&sheet, "sheet", "", "also write a contact sheet of training examples: a PNG file")
	return cmd
}

func newDatasetShow() *cobra.Command {
	var (
		o       captioned.Examples
		out     string
		heldout bool
	)
	cmd := &cobra.Command{
		Use: "show DIR", Short: "Show what training would see of a folder of captioned pictures",
		Long: `Draws a contact sheet of training examples from a folder of pictures with captions, as the model sees
them: of the emoji set, or of any folder with metadata.jsonl, or with a text file beside each picture.`,
		Args: cli.Arg("folder of pictures with captions"), RunE: func(cmd *cobra.Command, args []string) error {
			if err := cli.CheckNewFile(cmd, out, ".png"); err != nil {
				return err
			}
			source, err := emoji.OpenSplit(args[0], heldout)
			if err != nil {
				return err
			}
			return writeSheet(cmd, out, source, o)
		},
	}
	cmd.Flags().StringVar(&out, "out", "sheet.png", "file to write")
	cmd.Flags().BoolVar(&heldout, "held-out", false, "show what training never sees")
	cli.Int(cmd, &o.Count, "count", 96, 1, 10000, "examples")
	cli.Int(cmd, &o.Size, "size", 32, 8, 1024, "pixels in height and width")
	cli.Int(cmd, &o.First, "first", 0, 0, 1<<40, "number of the first example")
	cli.Seed(cmd, &o.Seed, "seed of the examples")
	return cmd
}

func writeSheet(cmd *cobra.Command, path string, src captioned.Source, o captioned.Examples) error {
	if err := o.WriteSheet(path, src); err != nil {
		return err
	}
	return cli.Printf(cmd, "%d examples: %s", o.Count, path)
}
