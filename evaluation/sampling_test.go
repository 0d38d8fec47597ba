package evaluation

import (
	"testing"

	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/mnistunet"
)

// Guidance takes two evaluations, and so does a step of the midpoint method; a model without classes has no guidance to
// tell of.
func TestEvaluations(t *testing.T) {
	class := mnistunet.Default(mnistunet.Class)
	for _, c := range []struct {
		config mnistunet.Config
		want   int
		s      Sampling
	}{
		{mnistunet.Default(mnistunet.Time), 20, Sampling{Sampler: "ddim", Steps: 20, Guidance: 1}},
		{class.ForFlow(), 21, Sampling{Sampler: "euler", Steps: 21, Guidance: 1, Guided: true}},
		{class, 44, Sampling{Sampler: "dpm++", Steps: 22, Guidance: 0, Guided: true}},
		{class.ForFlow(), 92, Sampling{Sampler: "midpoint", Steps: 23, Guidance: 5, Guided: true}},
	} {
		if got := c.s.Evaluations(c.config); got != c.want {
			t.Errorf("%+v takes %d evaluations, want %d", c.s, got, c.want)
		}
		var p figure.Parameters
		c.s.Describe(&p)
		if _, told := p.Get("guidance"); told != c.s.Guided {
			t.Errorf("%+v is described by %v", c.s, p)
		}
	}
}
