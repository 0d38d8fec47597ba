package course

import (
	"strings"

	"github.com/unnoise/unnoise/internal/shell"
	"github.com/unnoise/unnoise/pretrained"
	"github.com/unnoise/unnoise/registry"
)

// Thing is something to do with the program.
type Thing struct {
	What string
	Args []string // behind the program's name
}

// Command is the line that does it.
func (t Thing) Command() string {
	words := []string{"unnoise"}
	for _, arg := range t.Args {
		words = append(words, shell.Quote(arg))
	}
	return strings.Join(words, " ")
}

func thing(what string, args ...string) Thing { return Thing{what, args} }

// First are the ten things to do first. Each takes seconds, but for the first and the last.
func First() []Thing {
	draw := thing("draw sixteen sevens", "generate", "--prompt", "7", "--count", "16", "--out", "sevens.png")
	edit := thing("turn a drawn three into an eight", "edit", "three", "--prompt", "8", "--steps", "20", "--start",
		"4,7,10,13", "--out", "eight.png")
	fill := thing("fill a hole", "inpaint", "three", "--prompt", "5", "--box", "0,0,100%,48%", "--out", "five.png")
	if registry.Default() == pretrained.Emoji {
		draw = thing("draw four pandas", "generate", "--prompt", "a panda face", "--count", "4", "--out", "pandas.png")
		edit = thing("turn a drawn house into a castle", "edit", "house", "--prompt", "a castle", "--steps", "20",
			"--start", "4,7,10,13", "--out", "castle.png")
		fill = thing("fill a hole", "inpaint", "house", "--prompt", "a house at night", "--box", "0,0,100%,42%",
			"--out", "night.png")
	}
	return []Thing{
		thing("see what it can do, on a page that grows (two minutes)", "demo"),
		thing("play in the browser", "studio", "--open"),
		draw,
		thing("cover a photograph with noise", "noise", "cat", "--out", "noise.png"),
		thing("take noise away, at once and step by step", "denoise", "seven", "--model", "mnist-class", "--at", "40%",
			"--steps", "20", "--every", "4", "--out", "denoise.png"),
		edit,
		fill,
		thing("draw a six that is a nine upside down", "anagram", "--model", "mnist-class", "--view", "identity=6",
			"--view", "rotate_180=9", "--candidates", "8", "--out", "six-nine.png"),
		thing("draw a number that turns into another", "ambigram", "2026", "9202", "--candidates", "4", "--out",
			"years.png"),
		thing("make the whole write-up of a course (minutes)", "writeup"),
	}
}

// Try are commands to try after the demo.
func Try() (all []string) {
	for _, t := range First()[1:] {
		all = append(all, t.Command())
	}
	return append(all, "unnoise train mnist --condition class --out runs/digits")
}

// Phrases are prompts that suit a model, for completion: its whole vocabulary where that is small.
func (s Subjects) Phrases() (all []string) {
	seen := map[string]bool{}
	add := func(text string) {
		if text != "" && !seen[text] {
			seen[text] = true
			all = append(all, text)
		}
	}
	for _, p := range s.Prompts {
		add(p)
	}
	add(s.Plain)
	for _, list := range [][]Start{s.Photos, s.Web, s.Drawings, s.TextEdits} {
		for _, start := range list {
			add(start.Prompt)
		}
	}
	for _, h := range s.Holes {
		add(h.Prompt)
	}
	for _, i := range append(s.Anagrams, s.Hybrids...) {
		for _, p := range i {
			add(p.Prompts[0])
		}
	}
	return all
}
