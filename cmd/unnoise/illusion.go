package main

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/illusion"
	"github.com/unnoise/unnoise/internal/cli"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/registry"
)

// illusionFlags are those of every verb that draws illusions.
type illusionFlags struct {
	drawFlags
	lab.Illusion
	weights, ends, guidances []float64 // of the parts
}

func (f *illusionFlags) add(cmd *cobra.Command, out string) {
	f.drawFlags.add(cmd, registry.Default(), out)
	cli.Hide(cmd, "prompt", "prompts", "embeds") // the parts have their own
	cli.Int(cmd, &f.Repeats, "repeats", 1, 1, 100,
		"how often the steps between 20 and 80 % of the path are made: time travel")
	candidateFlags(cmd, &f.Illusion)
	cmd.Flags().StringVar(&f.output.Sheet, "sheet", "",
		"write a contact sheet of all candidates too, best first, with what is read in each, .png")
	cmd.Flags().StringVar(&f.output.Perform, "perform", "",
		"animation that performs the illusion, .gif or .png; none: nothing (default: beside the picture, .gif)")
}

// candidateFlags say how many pictures the best is chosen of, and how.
func candidateFlags(cmd *cobra.Command, i *lab.Illusion) {
	cli.Int(cmd, &i.Candidates, "candidates", 0, 0, 10_000,
		"draw so many, rank them and keep the best; 0: as many as --count, not ranked")
	cli.Int(cmd, &i.Keep, "keep", 0, 0, 10_000, "candidates to keep; 0: 1")
	cmd.Flags().BoolVar(&i.Race, "race", false,
		"judge candidates after 40 % of the steps and finish the best tenth only")
	cli.Choice(cmd, (*string)(&i.Judge), "judge", "",
		"who ranks candidates: the reader, which knows digits, or the model that draws (default: reader with "+
			"mnist-class, else model)", string(lab.ByReader), string(lab.ByModel))
	cli.Pointer(cmd, &i.Refine, "refine", "int",
		"rounds in which the best quarter of the candidates is noised again and drawn on, in place of the others "+
			"(default: 8 if the reader ranks them, 3 with other models of digits)", cli.ParseInt(0, 20))
}

// partsFlag adds a flag that takes parts of an illusion: VIEW=PROMPT or BAND=PROMPT.
func partsFlag(cmd *cobra.Command, target *[]lab.Part, name, usage string) {
	cli.Each(cmd, target, name, "name=prompt", usage, func(s string) (lab.Part, error) {
		as, prompt, ok := strings.Cut(s, "=")
		if !ok || as == "" {
			return lab.Part{}, cli.Expected("NAME=PROMPT")
		}
		return lab.Part{As: as, Prompts: []string{prompt}}, nil
	})
	names := illusion.Names(illusion.Views())
	if name != "view" {
		names = illusion.Names(illusion.Bands())
	}
	completeParts(cmd, name, names)
}

// weightFlags add weights and guidance for each part.
func (f *illusionFlags) weightFlags(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.Float64SliceVar(&f.weights, "weights", nil,
		"`numbers`: weight of each part's estimate, in their order, with commas (default: 1 each)")
	flags.Float64SliceVar(&f.ends, "weights-end", nil,
		"`numbers`: weights at the end of the path, if they change on the way, with commas (default: --weights all "+
			"the way)")
	flags.Float64SliceVar(&f.guidances, "guidances", nil,
		"`numbers`: guidance scale γ of each part, in their order, with commas (default: --guidance for all)")
	for _, name := range []string{"weights", "weights-end", "guidances"} {
		flags.Lookup(name).DefValue = "" // an empty list says nothing
	}
}

// run draws the illusion, ranks it, performs it.
func (f *illusionFlags) run(cmd *cobra.Command) error {
	o := &f.output
	switch {
	case f.prompts != "":
		return cli.Usagef("--prompts has no meaning with illusions, whose parts have their own")
	case o.Sheet != "" && f.Candidates == 0:
		return cli.Usagef("--sheet has no meaning without --candidates")
	case o.Perform == "none":
		o.Perform = ""
	case o.Perform == "" && o.Picture() != "":
		o.Perform = strings.TrimSuffix(o.Picture(), filepath.Ext(o.Picture())) + ".gif"
	}
	f.request.Illusion = &f.Illusion
	return f.drawFlags.run(cmd)
}

func newAnagram() *cobra.Command {
	var f illusionFlags
	combine := string(illusion.Mean)
	cmd := &cobra.Command{
		Use: "anagram", Short: "Draw a picture that shows something else when it is turned over",
		Long: `Draws a visual anagram: a picture that shows one thing as it is and another under a view of it, such as turned by
180° or with its pieces in other places (Visual Anagrams, arXiv:2311.17919). At each step the network estimates the
noise in every view, told the view's prompt; the estimates are turned back and averaged. Give two to four views.

γ is 7 where it is not told, with digits and with emoji; with other models it is the model's.

Few of many pictures can be read both ways: --candidates 16 draws as many and keeps the one that is read best in
all views. The animation beside the picture performs the illusion.

Views:
` + illusion.Usages(illusion.Views()),
		Example: `  unnoise anagram --view identity="a cat" --view rotate_180="a dog" --candidates 16
  unnoise anagram --model DeepFloyd/IF-I-M-v1.0 --view identity="an oil painting of people around a campfire" \
      --view flip="an oil painting of an old man"`,
		Args: cli.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			f.Combine = illusion.Reduction(combine)
			if err := f.Weigh(f.weights, f.ends, f.guidances); err != nil {
				return err
			}
			return f.run(cmd)
		},
	}
	partsFlag(cmd, &f.Views, "view",
		"a view and what is to be seen in it, as in flip=\"an old man\"; given two to four times")
	f.add(cmd, "anagram.png")
	cli.Choice(cmd, &combine, "combine", combine,
		"how the views' estimates become one: their mean, alternate from step to step, or their mean with the "+
			"variance of noise",
		string(illusion.Mean), string(illusion.Alternate), string(illusion.Rectified))
	f.weightFlags(cmd)
	return cmd
}

func newHybrid() *cobra.Command {
	var f illusionFlags
	var pictures []lab.Part
	cmd := &cobra.Command{
		Use: "hybrid", Short: "Draw a picture that shows something else from afar",
		Long: `Draws a hybrid image: each band of it, such as coarse and fine structures, gray and color, shows something else
(Factorized Diffusion, arXiv:2404.11615). At each step the network estimates the noise told each band's prompt; the
bands of the estimates are added. Bands must add up to the whole picture. A band may stay a real picture's
(--picture gray=photo.jpg colorizes it).

Bands:
` + illusion.Usages(illusion.Bands()),
		Example: `  unnoise hybrid --model DeepFloyd/IF-I-M-v1.0 --band low_pass="a lithograph of a skull" --band high_pass="a lithograph of waterfalls"
  unnoise hybrid --model mnist-class --band low_pass=0 --band high_pass=8 --candidates 16`,
		Args: cli.NoArgs, RunE: func(cmd *cobra.Command, _ []string) error {
			for _, p := range pictures {
				name := p.Prompts[0]
				p.Prompts, p.Picture = nil, &lab.Picture{}
				if err := p.Picture.Read(name); err != nil {
					return fmt.Errorf("--picture: %w", err)
				}
				f.Bands = append(f.Bands, p)
			}
			if err := f.Weigh(f.weights, f.ends, f.guidances); err != nil {
				return err
			}
			return f.run(cmd)
		},
	}
	partsFlag(cmd, &f.Bands, "band",
		"a band and what is to be seen in it, as in low_pass=\"a skull\"; given two to four times")
	partsFlag(cmd, &pictures, "picture", "a band that stays a picture's, as in low_pass=photo.jpg")
	f.add(cmd, "hybrid.png")
	f.weightFlags(cmd)
	return cmd
}

func newAmbigram() *cobra.Command {
	var f illusionFlags
	cmd := &cobra.Command{
		Use: "ambigram NUMBER [OTHER]", Short: "Draw a number that reads as another one when the page is turned",
		Long: `Draws a number that reads as another one of the same length, or as the same, when the page is turned by 180°: digit
by digit an anagram, the best of --candidates.`,
		Example:           "  unnoise ambigram 2026 9202",
		ValidArgsFunction: cobra.NoFileCompletions,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return cli.Usagef("%s: expected one number or two, found %d arguments", cmd.CommandPath(), len(args))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			upright := strings.Split(args[0], "")
			turned := strings.Split(args[len(args)-1], "")
			if len(upright) != len(turned) || len(upright) == 0 {
				return cli.Usagef("expected numbers of the same length, found %q and %q", args[0], args[len(args)-1])
			}
			slices.Reverse(turned)
			f.Views = []lab.Part{{As: "identity", Prompts: upright}, {As: "rotate_180", Prompts: turned}}
			return f.run(cmd)
		},
	}
	f.add(cmd, "ambigram.png")
	f.request.Model = "mnist-class" // whose prompts are digits
	cmd.Flags().Lookup("model").DefValue = f.request.Model
	candidates := cmd.Flags().Lookup("candidates")
	candidates.DefValue = "16"
	f.Candidates = 16
	return cmd
}
