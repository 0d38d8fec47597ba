package lab

import (
	"errors"
	"slices"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/model"
)

// A branch that changes nothing comes to the same images, one that changes something begins with the same x_t, and each
// is drawn again by its recipe.
func TestBranch(t *testing.T) {
	first, second := New(Options{}), New(Options{})
	defer first.Close()
	defer second.Close()
	from := Request{Model: "mnist-class", Prompts: []string{"3", "5"}, Seed: seedOf(4),
		Sampling: model.Sampling{Sampler: "ddpm", Steps: 6}}
	var held []diffusion.Images
	whole, err := Run(first.Draw(t.Context(), from), func(e Event) {
		if e.Step != nil {
			held = append(held, e.Step.X)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	branch := func(from Request, at int, change func(*Request)) Request {
		r := from
		r.Branch = &Branch{From: from, At: at}
		if change != nil {
			change(&r)
		}
		return r
	}
	same := again(t, "nothing changed", first, second, branch(from, 4, nil))
	if !slices.Equal(same.Images.Data, whole.Images.Data) {
		t.Error("a branch that changes nothing draws another picture")
	}
	one := 1
	for name, c := range map[string]Request{
		"another seed":    branch(from, 4, func(r *Request) { r.Seed = seedOf(5) }),
		"another prompt":  branch(from, 2, func(r *Request) { r.Prompts = []string{"7", "9"} }),
		"another sampler": branch(from, 3, func(r *Request) { r.Sampler, r.Steps = "ddim", 9 }),
		"of one image": branch(from, 2, func(r *Request) {
			r.Prompts, r.Count, r.Branch.Image = []string{"5"}, 3, &one
		}),
		"of a branch": branch(branch(from, 2, func(r *Request) { r.Seed = seedOf(8) }), 4, nil),
		"of before it": branch(branch(from, 4, func(r *Request) { r.Seed = seedOf(8) }), 2,
			func(r *Request) { r.Seed = seedOf(9) }),
		"varied": branch(from, 3, func(r *Request) { r.Vary = []Vary{{"guidance", []string{"1", "5"}}} }),
		"an anagram": branch(from, 3, func(r *Request) {
			r.Prompts, r.Count, r.Illusion = nil, 2, &Illusion{Views: views("identity", "6", "rotate_180", "9")}
		}),
	} {
		result := again(t, name, first, second, c)
		if name != "another sampler" && name != "varied" && name != "of one image" &&
			slices.Equal(result.Images.Data, whole.Images.Data) {
			t.Errorf("%s: the picture is the same", name)
		}
		if b := result.Request.Branch; name == "of before it" && (b.At != 2 || b.From.Branch != nil) {
			t.Errorf("%s: it is of %+v", name, b)
		}
		var steps []*Step
		if _, err := Run(first.Draw(t.Context(), c), func(e Event) {
			if e.Step != nil {
				steps = append(steps, e.Step)
			}
		}); err != nil {
			t.Fatal(err)
		}
		for i, s := range steps[:len(steps)/max(1, len(c.Vary)*2)] {
			if s.Index != i || s.Total != len(steps)/max(1, len(c.Vary)*2) {
				t.Fatalf("%s: step %d is called %d of %d", name, i, s.Index, s.Total)
			}
			if i < 2 && !slices.Equal(s.X.Data, held[i].Data) {
				t.Errorf("%s: step %d is not that of the other drawing", name, i)
			}
		}
	}
	for name, c := range map[string]Request{
		"branch.at":    branch(from, 6, nil),
		"branch.image": branch(from, 3, func(r *Request) { r.Count = 2 }),
		"branch.from": branch(from, 3, func(r *Request) {
			r.Branch.From.Vary = []Vary{{"guidance", []string{"1"}}}
		}),
		"branch.from.steps": branch(from, 3, func(r *Request) { r.Branch.From.Steps = 1000 }),
	} {
		_, err := first.Complete(c)
		var field *model.FieldError
		if !errors.As(err, &field) || field.Field != name {
			t.Errorf("expected %s to be at fault, found %v", name, err)
		}
	}
}
