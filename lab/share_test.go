package lab

import (
	"context"
	"encoding/json"
	"reflect"
	"testing"

	"github.com/unnoise/unnoise/model"
)

// Candidates that several processes draw and judge are those of one process, to the bit.
func TestSpread(t *testing.T) {
	defer func(n int) { shareImages = n }(shareImages)
	shareImages = 2
	one, other := New(Options{}), New(Options{})
	defer one.Close()
	defer other.Close()
	text := func(v any) []byte {
		t.Helper()
		b, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	plain, rounds, seed := 0, 1, uint64(5)
	for name, i := range map[string]Illusion{
		"plain":   {Candidates: 5, Refine: &plain, Judge: ByModel},
		"refined": {Candidates: 5, Refine: &rounds, Judge: ByModel},
		"raced":   {Candidates: 5, Race: true, Judge: ByModel},
		"read":    {Candidates: 5, Refine: &rounds, Judge: ByReader},
	} {
		i.Views = []Part{{As: "identity", Prompts: []string{"6", "8"}}, {As: "flip", Prompts: []string{"2", "3"}}}
		i.Keep = 2
		r := Request{Model: "mnist-class", Seed: &seed, Sampling: model.Sampling{Steps: 5}, Illusion: &i}
		want, err := Run(one.Draw(t.Context(), r), nil)
		if err != nil {
			t.Fatal(err)
		}
		elsewhere := 0
		spread := func(ctx context.Context, shares []Share, do func(Share) (Shared, error)) (all []Shared, err error) {
			for n, share := range shares {
				var sent Share
				if err := json.Unmarshal(text(share), &sent); err != nil {
					return nil, err
				}
				var came Shared
				if n%2 == 0 {
					came, err = do(sent)
				} else {
					elsewhere++
					came, err = other.Do(ctx, sent)
				}
				if err != nil {
					return nil, err
				}
				all = append(all, Shared{})
				if err := json.Unmarshal(text(came), &all[n]); err != nil {
					return nil, err
				}
			}
			return all, nil
		}
		got, err := Run(one.DrawTogether(t.Context(), r, spread), nil)
		if err != nil {
			t.Fatal(err)
		}
		least := 5
		if i.Judge == ByReader { // which one process does: it costs little
			least = 3
		}
		if elsewhere < least {
			t.Errorf("%s: %d shares were done elsewhere", name, elsewhere)
		}
		if !reflect.DeepEqual(got.Request, want.Request) || !reflect.DeepEqual(got.Images, want.Images) ||
			!reflect.DeepEqual(got.Ranking, want.Ranking) {
			t.Errorf("%s: shared, the candidates are other ones: %s, expected %s", name, text(got.Request),
				text(want.Request))
		}
	}
}
