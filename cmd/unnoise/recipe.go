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
	var start *int
	var chosen lab.Illusion
	cmd := &cobra.Command{
		Use: "again PICTURE", Short: "Draw a picture again from the recipe that it carries",
		Long: `Draws a picture of this program again: the same one, to the bit on the same machine. Flags change the recipe:
--seed another picture of the same kind, --steps another number of steps, and so on.`,
		Example: "  unnoise again digits.png --out same.png\n  unnoise again digits.png --seed 8 --out " +
			"other.png",
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
	candidateFlags(cmd, &chosen)
	return cmd
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
			"refine")
	}
	i, changed := *r.Illusion, cmd.Flags().Changed
	if changed("candidates") {
		if i.Candidates = chosen.Candidates; i.Candidates == 0 {
			i.Keep, i.Race, i.Refine = 0, false, nil
		}
	}
	if changed("keep") {
		i.Keep = chosen.Keep
	}
	if changed("race") {
		i.Race, i.Refine = chosen.Race, nil
	}
	if changed("refine") {
		i.Refine = chosen.Refine
	}
	if changed("candidates") || changed("race") || changed("refine") {
		i.Seeds, i.Parents = nil, nil
	}
	r.Illusion = &i
	return nil
}
