package lab

import (
	"fmt"
	"slices"

	"github.com/unnoise/unnoise/diffusion"
)

const (
	refineRounds = 3
	readRounds   = 8
	maxRefine    = 20
)

// drawsAt is by how many draws of noise candidates are judged after some rounds: those that are refined then need no
// fine order.
func (i *Illusion) drawsAt(rounds int) int {
	if rounds < *i.Refine {
		return judgeDraws / 4
	}
	return judgeDraws
}

// refine lets the best quarter of ranked candidates stay, and draws the others anew from these: noised again to 60 % of
// the path, each with a seed of its own. Then it ranks all of them.
func (d *drawing) refine(s stage, i *Illusion, round int) error {
	groups := i.Groups()
	best := d.ranking.Images
	stay := (i.Candidates + 3) / 4 * groups
	n := best.N - stay
	if n == 0 {
		return nil
	}
	var parents []diffusion.Images
	for k := range n {
		parent := k % stay // of the same group
		parents = append(parents, best.Slice(parent, parent+1))
		seed := *s.variant.Seed + uint64(best.N+round*n+k)
		i.Parents[seed], i.Seeds[stay+k] = i.Seeds[parent], seed
	}
	from, err := diffusion.Concat(parents...)
	if err != nil {
		return err
	}
	children, err := d.candidates(s, i.Seeds[stay:], from)
	if err != nil {
		return err
	}
	all, err := diffusion.Concat(best.Slice(0, stay), children)
	if err != nil {
		return err
	}
	return d.sort(i, all, round+1)
}

func (i *Illusion) tellParents(verdicts []Verdict) {
	for k := range verdicts {
		if parent, ok := i.Parents[verdicts[k].Seed]; ok {
			verdicts[k].Parent = &parent
		}
	}
}

// from returns the stage that noises images again, and draws on.
func (s stage) from(images diffusion.Images) stage {
	s.first = len(s.sampler.Path) * 2 / 5
	s.total = len(s.sampler.Path) - s.first
	s.sampler, s.again = s.sampler.From(s.first), images
	return s
}

// again draws the best candidates from their seeds, refined ones after those that they go on from.
func (d *drawing) again(s stage, i *Illusion) (x diffusion.Images, err error) {
	lines := make([][]uint64, s.images)
	longest := 0
	for k, seed := range i.Seeds[:s.images] {
		lines[k] = []uint64{seed}
		for parent, ok := i.Parents[seed]; ok; parent, ok = i.Parents[parent] {
			if lines[k] = append(lines[k], parent); len(lines[k]) > maxRefine+1 {
				return x, fmt.Errorf("the candidate of seed %d goes on from more than %d others", seed, maxRefine)
			}
		}
		slices.Reverse(lines[k])
		longest = max(longest, len(lines[k]))
	}
	generators := make(noise, s.images)
	for generation := range longest {
		d.noise = nil
		for _, line := range lines {
			d.noise = append(d.noise, diffusion.NewGenerator(line[min(generation, len(line)-1)]))
		}
		next := s
		if generation > 0 {
			next = s.from(x)
		}
		drawn, err := d.draw(next)
		if err != nil {
			return x, err
		}
		for k, line := range lines {
			if generation < len(line) {
				generators[k] = d.noise[k]
				continue
			}
			copy(drawn.Slice(k, k+1).Data, x.Slice(k, k+1).Data) // which was ready before
		}
		x = drawn
	}
	d.noise = generators
	return x, nil
}
