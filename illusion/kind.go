package illusion

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
)

// Kind tells of a named view or band. Its parameters follow the name after a colon, separated by commas, as in
// "patch_permute:8,42"; those left out at the end have their defaults.
type Kind struct {
	Name       string      `json:"name"`
	Alias      string      `json:"alias,omitempty"` // another name that is understood
	Parameters []Parameter `json:"parameters,omitempty"`
	Text       string      `json:"text"`
	Sum        []string    `json:"sum,omitempty"` // of a band: the set that it adds up to the whole with
}

// Usage returns the name with its parameters' names, such as "patch_permute:patches,seed".
func (k Kind) Usage() string {
	names := make([]string, len(k.Parameters))
	for i, p := range k.Parameters {
		names[i] = p.Name
	}
	return with(k.Name, names)
}

func with(name string, parameters []string) string {
	if len(parameters) == 0 {
		return name
	}
	return name + ":" + strings.Join(parameters, ",")
}

// Parameter is a number that a view or band is made with.
type Parameter struct {
	Name    string  `json:"name"`
	Default float64 `json:"default"`
	Min     float64 `json:"min"`
	Max     float64 `json:"max"`
	Whole   bool    `json:"whole,omitempty"` // an integer
	Step    float64 `json:"step,omitempty"`  // where not 0: a multiple of it
	Text    string  `json:"text"`
}

func named(name, text string, parameters ...Parameter) Kind {
	return Kind{Name: name, Text: text, Parameters: parameters}
}

// kind is one with what makes it. name is the canonical one, with all parameters, as many as Parameters has.
type kind[T any] struct {
	Kind
	make func(name string, parameters []float64) T
}

// Views lists the named views.
func Views() []Kind { return list(views) }

// Bands lists the named bands.
func Bands() []Kind { return list(bands) }

func list[T any](kinds []kind[T]) []Kind {
	all := make([]Kind, len(kinds))
	for i, k := range kinds {
		all[i] = k.Kind
	}
	return all
}

// ParseView returns the view that a text names: one of [Views] with its parameters, or several with + between them,
// which are applied one after the other, as in "rotate_180+negate".
func ParseView(text string) (View, error) {
	var all sequence
	for part := range strings.SplitSeq(text, "+") {
		v, err := parse("view", views, part)
		if err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	if len(all) == 1 {
		return all[0], nil
	}
	return all, nil
}

// ParseBand returns the band that a text names: one of [Bands] with its parameters, as in "low_pass:3".
func ParseBand(text string) (Band, error) { return parse("band", bands, text) }

func parse[T any](what string, kinds []kind[T], text string) (T, error) {
	var none T
	name, rest, some := strings.Cut(strings.TrimSpace(text), ":")
	var names []string
	for _, k := range kinds {
		names = append(names, k.Name)
		if name != k.Name && (k.Alias == "" || name != k.Alias) {
			continue
		}
		var given []string
		if some {
			given = strings.Split(rest, ",")
		}
		if len(given) > len(k.Parameters) {
			return none, fmt.Errorf("the %s %q has %d parameters, expected at most %d: %s", what, text,
				len(given), len(k.Parameters), k.Usage())
		}
		values := make([]float64, len(k.Parameters))
		texts := make([]string, len(k.Parameters))
		for i, p := range k.Parameters {
			values[i] = p.Default
			if i < len(given) {
				v, err := p.parse(given[i])
				if err != nil {
					return none, fmt.Errorf("the %s %q: %w", what, text, err)
				}
				values[i] = v
			}
			texts[i] = plain(values[i])
		}
		return k.make(with(k.Name, texts), values), nil
	}
	return none, fmt.Errorf("the %s %q is unknown, expected one of %s", what, name, strings.Join(names, ", "))
}

func (p Parameter) parse(text string) (float64, error) {
	v, err := strconv.ParseFloat(strings.TrimSpace(text), 64)
	step := p.Step
	if p.Whole {
		step = 1
	}
	if err == nil && v >= p.Min && v <= p.Max && (step == 0 || math.Mod(v, step) == 0) {
		return v, nil
	}
	number := "a number"
	if p.Whole {
		number = "an integer"
	}
	if p.Step != 0 {
		number = fmt.Sprintf("a multiple of %g", p.Step)
	}
	return 0, fmt.Errorf("its parameter %s (%s) is %q, expected %s from %s to %s",
		p.Name, p.Text, text, number, plain(p.Min), plain(p.Max))
}

func plain(v float64) string { return strconv.FormatFloat(v, 'f', -1, 64) }

// Names lists the names of kinds.
func Names(all []Kind) (names []string) {
	for _, k := range all {
		names = append(names, k.Name)
	}
	return names
}

// Usages describes kinds, a line for each.
func Usages(all []Kind) string {
	var text strings.Builder
	for _, k := range all {
		fmt.Fprintf(&text, "  %-26s %s\n", k.Usage(), k.Text)
	}
	return text.String()
}

// Catalog lists views and bands.
type Catalog struct {
	Views []Kind `json:"views"`
	Bands []Kind `json:"bands"`
}

// All is the catalog of this package.
func All() Catalog { return Catalog{Views(), Bands()} }

// String is the catalog for people.
func (c Catalog) String() string {
	var out strings.Builder
	var parameters []Parameter
	list := func(title string, kinds []Kind) {
		fmt.Fprintln(&out, title)
		w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
		for _, k := range kinds {
			fmt.Fprintf(w, "  %s\t%s\n", k.Usage(), k.Text)
			for _, p := range k.Parameters {
				if !slices.Contains(parameters, p) {
					parameters = append(parameters, p)
				}
			}
		}
		w.Flush()
	}
	list("views", c.Views)
	list("\nbands", c.Bands)
	fmt.Fprintln(&out, "\nparameters, which may be left out from the last one on")
	w := tabwriter.NewWriter(&out, 0, 0, 2, ' ', 0)
	for _, p := range parameters {
		fmt.Fprintf(w, "  %s\t%s\t(default %g)\n", p.Name, p.Text, p.Default)
	}
	w.Flush()
	return out.String()
}
