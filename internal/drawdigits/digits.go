// Package drawdigits draws with networks for digits.
package drawdigits

import (
	"context"
	"strconv"

	"github.com/unnoise/unnoise/evaluation"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/mnistunet"
)

// Draw is how evaluations, pages and trainings draw digits: an [evaluation.Draw].
func Draw(ctx context.Context, m *mnistunet.Model, d evaluation.Drawing) ([]figure.Frame, error) {
	if err := d.Complete(m.Config); err != nil {
		return nil, err
	}
	r := lab.Request{Sampling: d.Plan(), Seed: &d.Seed, Order: lab.ByPrompt, Count: 1}
	for _, label := range d.Labels {
		r.Prompts = append(r.Prompts, strconv.Itoa(label))
	}
	if d.Labels == nil {
		r.Count = d.Count
	}
	film := lab.Film{Stage: lab.Drawing, Most: d.Frames}
	_, err := lab.Run(lab.DrawWith(ctx, m, r), func(e lab.Event) {
		film.Add(e)
		if step := e.Step; step != nil && d.OnStep != nil {
			d.OnStep(step.Index+1, step.Total)
		}
	})
	return film.Frames, err
}
