package lab

import (
	"github.com/unnoise/unnoise/model"
)

// Weigh gives the parts, in their order, weights, weights at the end of the path, and guidance scales. Each list may be
// empty.
func (i *Illusion) Weigh(weights, ends, guidances []float64) error {
	parts, _ := i.parts()
	for _, list := range []struct {
		field  string
		values []float64
		of     func(*Part) **float64
	}{
		{"weights", weights, func(p *Part) **float64 { return &p.Weight }},
		{"weights_end", ends, func(p *Part) **float64 { return &p.WeightEnd }},
		{"guidances", guidances, func(p *Part) **float64 { return &p.Guidance }},
	} {
		if n := len(list.values); n > 0 && n != len(parts) {
			return model.Errorf(list.field, "expected %d numbers, one for each part, found %d", len(parts), n)
		}
		for k := range list.values {
			*list.of(&parts[k]) = &list.values[k]
		}
	}
	return nil
}
