package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/lab"
)

// readRequest reads a request from a JSON file, or the recipe that a picture carries.
func readRequest(path string) (lab.Request, error) {
	if strings.EqualFold(filepath.Ext(path), ".png") {
		return lab.ReadRecipe(path)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		return lab.Request{}, err
	}
	r, err := lab.ParseRequest(text)
	if err != nil {
		return lab.Request{}, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}

// onePicture refuses all but one argument, a picture.
func onePicture(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return usagef("%s: expected one picture, found %d arguments", cmd.CommandPath(), len(args))
	}
	return nil
}

func completePicture(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
	return []string{"png"}, cobra.ShellCompDirectiveFilterFileExt
}

func newRecipe() *cobra.Command {
	return &cobra.Command{
		Use:   "recipe PICTURE",
		Short: "Print the recipe that a picture carries",
		Long: `Prints what made a picture, as JSON: the completed request, for 'unnoise generate --recipe'. PNG files of
this program carry it, also after cropping or saving by programs that keep a PNG's texts.`,
		Example:           "  unnoise recipe digits.png > digits.json\n  unnoise generate --recipe digits.json --seed 8",
		Args:              onePicture,
		ValidArgsFunction: completePicture,
		RunE: func(cmd *cobra.Command, args []string) error {
			r, err := lab.ReadRecipe(args[0])
			if err != nil {
				return err
			}
			text, err := r.JSON()
			if err != nil {
				return err
			}
			var pretty bytes.Buffer
			if err := json.Indent(&pretty, text, "", "  "); err != nil {
				return err
			}
			_, err = fmt.Fprintln(cmd.OutOrStdout(), pretty.String())
			return err
		},
	}
}

func newAgain() *cobra.Command {
	var f drawFlags
	cmd := &cobra.Command{
		Use:   "again PICTURE",
		Short: "Draw a picture again from the recipe that it carries",
		Long: `Draws a picture of this program again: the same one, to the bit on the same machine. Flags change the recipe:
--seed another picture of the same kind, --steps another number of steps, and so on.`,
		Example: "  unnoise again digits.png --out same.png\n  unnoise again digits.png --seed 8 --out " +
			"other.png",
		Args:              onePicture,
		ValidArgsFunction: completePicture,
		RunE: func(cmd *cobra.Command, args []string) error {
			if f.recipe != "" {
				return usagef("--recipe has no meaning here: the picture carries one")
			}
			f.recipe = args[0]
			recipe, err := lab.ReadRecipe(args[0])
			if err != nil {
				return err
			}
			if err := f.change(cmd, &recipe); err != nil {
				return err
			}
			f.request = recipe
			if err := f.check(cmd); err != nil {
				return err
			}
			if sameFile(f.out[0], args[0]) {
				return usagef("--out: expected another file than the picture, found %s", f.out[0])
			}
			if f.prompts != "" {
				return f.runPrompts(cmd)
			}
			if err := refuseUnnamed(cmd, f.out[0]); err != nil {
				return err
			}
			if !cmd.Flags().Changed("backend") && recipe.Backend != "" {
				f.backend = recipe.Backend
			}
			return f.run(cmd)
		},
	}
	f.add(cmd, "", "again.png")
	cmd.Flags().Lookup("recipe").Hidden = true
	return cmd
}
