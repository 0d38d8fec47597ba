package jobs

import (
	"bytes"
	"cmp"
	"image/png"
	"math"
	"slices"

	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/model"
)

// Sheet is a contact sheet of candidates, as far as they are judged.
type Sheet struct {
	Looks      []string    `json:"looks" doc:"the rows of the matrices: views or bands"`
	Prompts    [][]string  `json:"prompts" doc:"of each group, the columns of its matrices"`
	Candidates []Candidate `json:"candidates" doc:"in the order of their seeds"`
}

// Candidate is a picture on a sheet. A request for a few of them has their seeds first in illusion.seeds, and all
// parents in illusion.parents.
type Candidate struct {
	Seed    uint64      `json:"seed"`
	Parent  *uint64     `json:"parent,omitempty" doc:"seed of the candidate that this one was refined from"`
	Group   int         `json:"group" doc:"which of several pictures it stands for, from 0"`
	Score   float64     `json:"score" doc:"above 0 what was asked for is more probable than all else"`
	Draws   int         `json:"draws" doc:"of noise that it was judged by"`
	Matrix  [][]float64 `json:"matrix" doc:"how much less likely a prompt is than the one that is read, which has 0"`
	Picture []byte      `json:"picture,omitempty" doc:"a PNG; see /api/jobs/{id}/candidates/{seed}"`
}

// farOff bounds scores, which JSON has no infinity for.
const farOff = 1e6

// sheetOf is what an event tells of candidates. The first one of a judgement brings their pictures.
func sheetOf(j *lab.Judged) *Sheet {
	s := &Sheet{Looks: j.Looks, Prompts: make([][]string, j.Group+1)}
	s.Prompts[j.Group] = j.Prompts
	x := j.Range.To(model.ZeroToOne, j.Images)
	for n, v := range j.Verdicts {
		c := Candidate{Seed: v.Seed, Parent: v.Parent, Group: j.Group, Score: math.Max(-farOff, math.Min(v.Score, farOff)),
			Draws: v.Draws, Matrix: v.Matrix}
		if j.Begins {
			m, err := figure.Grid{Images: x.Slice(n, n+1)}.Draw()
			if err != nil {
				return nil
			}
			var b bytes.Buffer
			if err := png.Encode(&b, m); err != nil {
				return nil
			}
			c.Picture = b.Bytes()
		}
		s.Candidates = append(s.Candidates, c)
	}
	return s
}

// Bare is the sheet without its pictures.
func (s *Sheet) Bare() *Sheet {
	bare := *s
	bare.Candidates = slices.Clone(s.Candidates)
	for i := range bare.Candidates {
		bare.Candidates[i].Picture = nil
	}
	return &bare
}

// With returns the sheet with what is new. Neither of them is changed.
func (s *Sheet) With(more *Sheet) *Sheet {
	if s == nil || more == nil {
		return cmp.Or(s, more)
	}
	all := *more
	all.Prompts = slices.Clone(s.Prompts)
	for g, prompts := range more.Prompts {
		if g >= len(all.Prompts) {
			all.Prompts = append(all.Prompts, nil)
		}
		if prompts != nil {
			all.Prompts[g] = prompts
		}
	}
	all.Candidates = slices.Clone(s.Candidates)
	for _, c := range more.Candidates {
		i := slices.IndexFunc(all.Candidates, func(o Candidate) bool { return o.Seed == c.Seed && o.Group == c.Group })
		if i < 0 {
			all.Candidates = append(all.Candidates, c)
			continue
		}
		if c.Picture == nil {
			c.Picture = all.Candidates[i].Picture
		}
		all.Candidates[i] = c
	}
	slices.SortFunc(all.Candidates, func(a, b Candidate) int { return cmp.Compare(a.Seed, b.Seed) })
	return &all
}
