package lab

import (
	"math"
	"slices"
	"testing"

	"github.com/unnoise/unnoise/model"
)

// Refined candidates go on from better ones of their group, and are drawn again from the recipe's seeds.
func TestRefine(t *testing.T) {
	l := New(Options{})
	defer l.Close()
	rounds, seed := 2, uint64(5)
	r := Request{Model: "mnist-class", Seed: &seed, Sampling: model.Sampling{Steps: 5}, Illusion: &Illusion{
		Views:      []Part{{As: "identity", Prompts: []string{"6", "8"}}, {As: "flip", Prompts: []string{"2", "3"}}},
		Candidates: 5, Keep: 5, Refine: &rounds}}
	result, err := Run(l.Draw(t.Context(), r), nil)
	if err != nil {
		t.Fatal(err)
	}
	i := result.Request.Illusion
	seeds := slices.Clone(i.Seeds)
	slices.Sort(seeds)
	if len(slices.Compact(seeds)) != 10 || len(i.Parents) != 2*2*3 {
		t.Errorf("seeds %v and parents %v, expected 10 seeds and 12 parents", i.Seeds, i.Parents)
	}
	refined := 0
	for k, seed := range i.Seeds {
		if parent, ok := i.Parents[seed]; ok {
			refined++
			if seed%2 != parent%2 || parent == seed { // the seeds of two groups take turns
				t.Errorf("image %d: seed %d goes on from seed %d, which is of another group", k, seed, parent)
			}
		}
		ranked := result.Ranking.Images.Slice(k, k+1).Data
		for p, v := range result.Images.Slice(k, k+1).Data {
			if math.Abs(float64(v-ranked[p])) > 0.1 {
				t.Errorf("image %d, of seed %d: drawn again it is another one", k, seed)
				break
			}
		}
	}
	if refined < 6 {
		t.Errorf("%d of 10 candidates are refined, expected at least the 6 of the last round", refined)
	}
	rounds = maxRefine + 1
	if _, err := Run(l.Draw(t.Context(), r), nil); err == nil {
		t.Errorf("%d rounds were not refused", rounds)
	}
}
