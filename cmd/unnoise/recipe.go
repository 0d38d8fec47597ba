package main

import (
	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/internal/cli"
	"github.com/unnoise/unnoise/lab"
)

func completePicture(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"png"}, cobra.ShellCompDirectiveFilterFileExt
}

func newRecipe() *cobra.Command {
	return &cobra.Command{
		Use: "recipe PICTURE", Short: "Print the recipe that a picture carries",
		Long: `Prints what made a picture, as JSON: the completed request, for 'unnoise generate --recipe'. PNG files of
this program carry it, also after cropping or saving by programs that keep a PNG's texts.`,
		Example: "  unnoise recipe digits.png > digits.json\n  unnoise generate --recipe digits.json --seed 8",
		Args:    cli.Arg("picture"), ValidArgsFunction: completePicture,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := lab.ReadRecipe(args[0])
			if err != nil {
				return err
			}
			text, err := r.Indented()
			if err != nil {
				return err
			}
			return cli.Printf(cmd, "%s", text)
		},
	}
}

func newAgain() *cobra.Command {
	var f drawFlags
	var start, branch, image *int
	var chosen lab.Illusion
	cmd := &cobra.Command{
		Use: "again PICTURE", Short: "Draw a picture again from the recipe that it carries",
		Long: `Draws a picture of this program again: the same one, to the bit on the same machine. Flags change the recipe:
--seed another picture of the same kind, --steps another number of steps, and so on.

--branch 5 makes five steps of the picture's drawing as they were, and goes on from there by the flags: with another
--seed, --prompt or --sampler. The new picture's recipe has both.`,
		Example: `  unnoise again digits.png --out same.png
  unnoise again digits.png --seed 8 --out other.png
  unnoise again digits.png --branch 5 --seed 8 --out branch.png`,
		Args: cli.Arg("picture"), ValidArgsFunction: completePicture,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.recipe != "" {
				return cli.Usagef("--recipe has no meaning here: the picture carries one")
			}
			recipe, err := lab.ReadRecipe(args[0])
			if err != nil {
				return err
			}
			if err := changeTechnique(cmd, &recipe, start, chosen); err != nil {
				return err
			}
			if err := branchOff(cmd, &recipe, branch, image); err != nil {
				return err
			}
			if err := f.fillFrom(cmd, &recipe); err != nil {
				return err
			}
			if out := f.output.Files[0]; cli.SameFile(out, args[0]) {
				return cli.Usagef("--out: expected another file than the picture, found %s", out)
			}
			return f.draw(cmd)
		},
	}
	f.add(cmd, "", "again.png")
	cli.Hide(cmd, "recipe")
	cli.Pointer(cmd, &start, "start", "int", "of an edit: the step to start with, from 0 (default: the recipe's)",
		cli.ParseInt(0, 1<<20))
	cli.Pointer(cmd, &branch, "branch", "int", "steps of the picture's drawing to make first, and to go on from",
		cli.ParseInt(1, 1<<20))
	cli.Pointer(cmd, &image, "image", "int", "with --branch: the only image to go on from, from 1 (default: all)",
		cli.ParseInt(1, 1<<20))
	candidateFlags(cmd, &chosen)
	return cmd
}

// branchOff has a recipe go on from a moment of its own drawing.
func branchOff(cmd *cobra.Command, r *lab.Request, at, image *int) error {
	if at == nil {
		return cli.Refuse(cmd, "has no meaning without --branch", "image")
	}
	b := lab.Branch{From: *r, At: *at}
	if image != nil {
		n := *image - 1
		b.Image = &n
	}
	r.Branch, r.Edit = &b, nil // the other drawing begins with the picture
	return nil
}

// changeTechnique puts what the flags say of an edit or of candidates into a recipe. Other candidates are ranked anew.
func changeTechnique(cmd *cobra.Command, r *lab.Request, start *int, chosen lab.Illusion) error {
	switch {
	case r.Edit == nil:
		if err := cli.Refuse(cmd, "has no meaning with this picture, which is no edit", "start"); err != nil {
			return err
		}
	case start != nil:
		edit := *r.Edit
		edit.Start, edit.Strength = start, 0
		r.Edit = &edit
	}
	if r.Illusion == nil {
		return cli.Refuse(cmd, "has no meaning with this picture, which is no illusion", "candidates", "keep", "race",
			"refine", "judge")
	}
	i, changed := *r.Illusion, cmd.Flags().Changed
	if changed("candidates") {
		if i.Candidates = chosen.Candidates; i.Candidates == 0 {
			i.Keep, i.Race, i.Refine, i.Judge = 0, false, nil, ""
		}
	}
	if changed("keep") {
		i.Keep = chosen.Keep
	}
	if changed("race") {
		i.Race, i.Refine = chosen.Race, nil
	}
	if changed("judge") {
		i.Judge, i.Refine = chosen.Judge, nil
	}
	if changed("refine") {
		i.Refine = chosen.Refine
	}
	if changed("candidates") || changed("race") || changed("refine") || changed("judge") {
		i.Seeds, i.Parents = nil, nil
	}
	r.Illusion = &i
	return nil
}
