package lab

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/unnoise/unnoise/model"
)

// Vary draws a request several times, with other values of a field each time, side by side. Of two fields every
// combination is drawn.
type Vary struct {
	Field  string   `json:"field"` // steps, guidance, sampler, eta, seed, start, strength or negative
	Values []string `json:"values"`
}

// maxVariants bounds the combinations, against slips of the finger.
const maxVariants = 400

var variable = map[string]func(*Request, string) error{
	"steps": func(r *Request, s string) error { r.Timesteps = ""; return number(s, strconv.Atoi, &r.Steps) },
	"guidance": func(r *Request, s string) error {
		r.Guidance = new(float64)
		return number(s, parseFloat,
			r.Guidance)
	},
	"sampler":  func(r *Request, s string) error { r.Sampler = s; return nil },
	"eta":      func(r *Request, s string) error { return number(s, parseFloat, &r.Eta) },
	"seed":     func(r *Request, s string) error { r.Seed = new(uint64); return number(s, parseSeed, r.Seed) },
	"negative": func(r *Request, s string) error { r.Negative = s; return nil },
	"start": func(r *Request, s string) error {
		return r.vary(func(e *Edit) error { e.Start = new(int); return number(s, strconv.Atoi, e.Start) })
	},
	"strength": func(r *Request, s string) error {
		return r.vary(func(e *Edit) error { e.Start = nil; return number(s, parseFloat, &e.Strength) })
	},
}

// Variable lists the fields that can be varied.
func Variable() []string {
	var names []string
	for name := range variable {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

func (r *Request) vary(change func(*Edit) error) error {
	if r.Edit == nil {
		return fmt.Errorf("only edits of a picture have it")
	}
	e := *r.Edit
	r.Edit = &e
	return change(&e)
}

func number[T any](text string, parse func(string) (T, error), to *T) error {
	v, err := parse(text)
	if err != nil {
		return fmt.Errorf("expected a number, found %q", text)
	}
	*to = v
	return nil
}

func parseFloat(s string) (float64, error) { return strconv.ParseFloat(s, 64) }
func parseSeed(s string) (uint64, error)   { return strconv.ParseUint(s, 10, 64) }

// variants returns the requests that a request stands for, the last varied field going fastest.
func (r Request) variants() ([]Request, error) {
	all := []Request{r}
	all[0].Vary = nil
	for _, v := range r.Vary {
		change, ok := variable[v.Field]
		if !ok {
			return nil, model.Errorf("vary", "expected one of %s, found %q", strings.Join(Variable(), ", "), v.Field)
		}
		if len(v.Values) == 0 {
			return nil, model.Errorf("vary", "expected values of %s, found none", v.Field)
		}
		var next []Request
		for _, one := range all {
			for _, value := range v.Values {
				other := one
				if err := change(&other, value); err != nil {
					return nil, model.Errorf("vary", "%s: %w", v.Field, err)
				}
				next = append(next, other)
			}
		}
		if all = next; len(all)*max(r.Images(), 1) > maxImages || len(all) > maxVariants {
			return nil, model.Errorf("vary", "%d combinations are too many, expected at most %d", len(all), maxVariants)
		}
	}
	return all, nil
}

// labels name the variants of a grid: its columns by the last field's values, its rows by the others'.
func (r Request) labels() (rows, columns []string) {
	if len(r.Vary) == 0 {
		return nil, nil
	}
	last := r.Vary[len(r.Vary)-1]
	for _, value := range last.Values {
		columns = append(columns, last.Field+" "+value)
	}
	rows = []string{""}
	for _, v := range r.Vary[:len(r.Vary)-1] {
		var next []string
		for _, row := range rows {
			for _, value := range v.Values {
				next = append(next, strings.TrimSpace(row+" "+v.Field+" "+value))
			}
		}
		rows = next
	}
	return rows, columns
}
