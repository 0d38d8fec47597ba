package course

import (
	"fmt"
	"slices"
	"strings"

	"github.com/unnoise/unnoise/internal/shell"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/registry"
)

// Command is the line that draws a request before it is completed, and writes it to a file.
func Command(r lab.Request, out string) string {
	c := command{"unnoise"}
	switch i := r.Illusion; {
	case r.Strip != nil && r.Strip.Forward:
		c.add("noise", shell.Quote(r.Strip.Picture.Name))
	case r.Strip != nil:
		c.add("denoise", shell.Quote(r.Strip.Picture.Name))
	case r.Edit != nil:
		c.add("edit", shell.Quote(r.Edit.Picture.Name))
	case r.Inpaint != nil:
		c.add("inpaint", shell.Quote(r.Inpaint.Picture.Name))
	case i != nil && len(i.Bands) > 0:
		c.add("hybrid")
	case i != nil && len(i.Views[0].Prompts) > 1: // a number
		var numbers []string
		for k, v := range i.Views {
			digits := slices.Clone(v.Prompts)
			if k > 0 { // the first digit is the last one when the page is turned
				slices.Reverse(digits)
			}
			numbers = append(numbers, strings.Join(digits, ""))
		}
		c.add("ambigram", strings.Join(numbers, " "))
	case i != nil:
		c.add("anagram")
	default:
		c.add("generate")
	}
	forward := r.Strip != nil && r.Strip.Forward
	if !forward || r.Strip.Side == 0 {
		c.flag("model", r.Model)
	}
	larger, own := registry.Larger(r.Model)
	switch {
	case r.Strip != nil:
	case r.Upscale != nil && !(own && r.Upscale.Model == larger):
		c.flag("upscale", r.Upscale.Model)
	case r.Upscale == nil && own:
		c.flag("upscale", "none")
	}
	for _, p := range r.Prompts {
		c.flag("prompt", p)
	}
	if r.Negative != "" {
		c.flag("negative", r.Negative)
	}
	if s := r.Strip; s != nil {
		c.flag("at", strings.Join(s.At, ","))
		if s.Every > 0 {
			c.flag("every", s.Every)
		}
		if s.Side > 0 {
			c.flag("side", s.Side)
		}
	}
	if e := r.Edit; e != nil && e.Start != nil {
		c.flag("start", *e.Start)
	} else if e != nil && e.Strength > 0 && len(r.Vary) == 0 {
		c.flag("strength", e.Strength)
	}
	if f := r.Inpaint; f != nil {
		if f.Mask.Box != "" {
			c.flag("box", f.Mask.Box)
		}
		if f.Method != "" {
			c.flag("method", f.Method)
		}
	}
	if i := r.Illusion; i != nil {
		if i.Views == nil || len(i.Views[0].Prompts) == 1 {
			for _, v := range i.Views {
				c.flag("view", v.As+"="+v.Prompts[0])
			}
			for _, b := range i.Bands {
				c.flag("band", b.As+"="+b.Prompts[0])
			}
		}
		if i.Candidates > 0 {
			c.flag("candidates", i.Candidates)
		}
	}
	c.sampling(r)
	for _, v := range r.Vary {
		if v.Field == "start" || v.Field == "strength" {
			c.flag(v.Field, strings.Join(v.Values, ","))
		} else {
			c.flag("vary", v.Field+"="+strings.Join(v.Values, ","))
		}
	}
	if r.Count > 1 {
		c.flag("count", r.Count)
	}
	if r.Seed != nil {
		c.flag("seed", *r.Seed)
	}
	c.flag("out", out)
	return strings.Join(c, " ")
}

// command is a command line, word by word.
type command []string

func (c *command) add(words ...string) { *c = append(*c, words...) }

func (c *command) flag(name string, value any) { c.add("--"+name, shell.Quote(fmt.Sprint(value))) }

func (c *command) sampling(r lab.Request) {
	if r.Strip != nil && r.Strip.Forward {
		return
	}
	if r.Sampler != "" {
		c.flag("sampler", r.Sampler)
	}
	if r.Timesteps != "" {
		c.flag("timesteps", r.Timesteps)
	} else if r.Steps > 0 {
		c.flag("steps", r.Steps)
	}
	if r.Guidance != nil {
		c.flag("guidance", *r.Guidance)
	}
}
