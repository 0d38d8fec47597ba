package main

import (
	"fmt"
	"image"
	"image/draw"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/illusion"
	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/picture"
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
				if shown, err = parseViewOrBand(perform); err != nil {
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
			m, err := squareOf(args[0], side)
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
				table, err := tableOfWays(m)
				if err != nil {
					return err
				}
				if err := figure.WritePNG(out, table, p); err != nil {
					return err
				}
			default:
				sheet, err := sheetOfViews(m)
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

// parseViewOrBand reads the name of either.
func parseViewOrBand(text string) (any, error) {
	v, err := illusion.ParseView(text)
	if err == nil {
		return v, nil
	}
	name, _, _ := strings.Cut(text, ":")
	for _, k := range illusion.Bands() {
		if name == k.Name || name == k.Alias && name != "" {
			return illusion.ParseBand(text)
		}
	}
	return nil, err
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

// squareOf reads a picture as one square image with values from 0 to 1, of 1 channel where it is gray.
func squareOf(name string, side int) (diffusion.Images, error) {
	data, err := picture.ReadFile(name)
	if err != nil {
		return diffusion.Images{}, err
	}
	source, err := picture.Decode(data)
	if err != nil {
		return diffusion.Images{}, fmt.Errorf("%s: %w", name, err)
	}
	if side == 0 {
		size := source.Bounds().Size()
		side = min(size.X, size.Y, 256)
		side = max(side-side%4, 4)
	}
	f, err := picture.Fit{C: 3, H: side, W: side, High: 1}.Picture(source)
	if err != nil {
		return diffusion.Images{}, fmt.Errorf("%s: %w", name, err)
	}
	m, plane := f.Images, side*side
	for i := range plane {
		if m.Data[i] != m.Data[plane+i] || m.Data[i] != m.Data[2*plane+i] {
			return m, nil
		}
	}
	return diffusion.Images{N: 1, C: 1, H: side, W: side, Data: m.Data[:plane]}, nil
}

// sheetOfViews draws what every view and band that fits makes of a picture.
func sheetOfViews(m diffusion.Images) (image.Image, error) {
	var names []string
	var all []diffusion.Images
	shift := func(x diffusion.Images, by float32) diffusion.Images {
		x = x.Clone()
		for i := range x.Data {
			x.Data[i] += by
		}
		return x
	}
	for _, k := range illusion.Views() {
		v, err := illusion.ParseView(k.Name)
		if err != nil {
			return nil, err
		}
		if illusion.Fits(v, m.C, m.H, m.W) == nil {
			names = append(names, k.Name)
			all = append(all, shift(v.Apply(shift(m, -0.5)), 0.5))
		}
	}
	white := shift(m.Like(), 1)
	for _, k := range illusion.Bands() {
		b, err := illusion.ParseBand(k.Name)
		if err != nil {
			return nil, err
		}
		if illusion.Fits(b, m.C, m.H, m.W) != nil {
			continue
		}
		x := b.Filter(m)
		if b.Filter(white).Data[m.H/2*m.W+m.W/2] < 0.01 { // values around 0
			x = shift(x, 0.5)
		}
		names = append(names, k.Name)
		all = append(all, x)
	}
	const columns = 6
	var rows []image.Image
	for i := 0; i < len(all); i += columns {
		end := min(i+columns, len(all))
		images, err := diffusion.Concat(all[i:end]...)
		if err != nil {
			return nil, err
		}
		g := figure.Grid{Images: images, Scale: max(1, 128/m.W), Padding: 8, ColumnLabels: names[i:end]}
		row, err := g.Draw()
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	size := image.Point{}
	for _, r := range rows {
		size.X, size.Y = max(size.X, r.Bounds().Dx()), size.Y+r.Bounds().Dy()
	}
	sheet := image.NewRGBA(image.Rectangle{Max: size})
	draw.Draw(sheet, sheet.Rect, image.White, image.Point{}, draw.Src)
	y := 0
	for _, r := range rows {
		draw.Draw(sheet, r.Bounds().Add(image.Pt(0, y)), r, image.Point{}, draw.Src)
		y += r.Bounds().Dy()
	}
	return sheet, nil
}

// tableOfWays draws what views and functions that are none do to a picture and to noise.
func tableOfWays(m diffusion.Images) (image.Image, error) {
	var labels []string
	var all []diffusion.Images
	for _, w := range illusion.Ways(m, 0) {
		noise := w.Noise
		for i, v := range noise.Data { // three standard deviations from black to white
			noise.Data[i] = v/6 + 0.5
		}
		all = append(all, w.Picture, noise)
		labels = append(labels, fmt.Sprintf("%s: mean %+.2f, variance %.2f, neighbors %+.2f",
			w.Name, w.Mean, w.Variance, w.Neighbors))
	}
	images, err := diffusion.Concat(all...)
	if err != nil {
		return nil, err
	}
	return figure.Grid{
		Images: images, Columns: 2, Scale: max(1, 128/m.W), Padding: 8,
		RowLabels: labels, ColumnLabels: []string{"picture", "noise"},
	}.Draw()
}
