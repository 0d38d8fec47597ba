package onednn_test

import (
	"errors"
	"flag"
	"fmt"
	"math"
	"os"
	"slices"
	"testing"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/onednn"
)

var (
	graphsTime  = flag.Duration("graphs.time", 20*time.Second, "how long TestRandomGraphs makes graphs")
	graphsFrom  = flag.Uint64("graphs.from", 1, "the first seed of TestRandomGraphs")
	graphsTrace = flag.Bool("graphs.trace", false, "whether TestRandomGraphs prints every seed, for crashes")
	graphsSeed  = flag.Uint64("graphs.seed", 0, "the only seed of TestRandomGraphs, if not 0")
)

// errInvalid wraps what the reference has against a graph.
var errInvalid = errors.New("the reference refuses the graph")

// errDiffers wraps a difference between the backends' results.
var errDiffers = errors.New("the results differ")

// duel is the two backends that are compared; of ours in several configurations.
type duel struct {
	ours      []contender
	reference compute.Backend
}

type contender struct {
	name    string
	backend compute.Backend
	isa     int // see LimitISA
}

// run executes a random graph on the Go backend in a mode.
func (d *duel) expected(g *randomGraph, m mode) ([][]float64, error) {
	c, err := g.compile(d.reference, m)
	if err == nil {
		defer c.finalize()
		var out [][]float64
		if out, err = c.run(true); err == nil {
			return out, nil
		}
	}
	return nil, fmt.Errorf("%w: %w", errInvalid, err)
}

// compare runs a graph on both backends. A result may be as far from the one in float64 as a few times what the
// reference is, or what rounding every term moves it, whichever is more.
func (d *duel) compare(g *randomGraph) error {
	var expected [4][][]float64
	for m := primitive; m <= perturbed; m++ {
		var err error
		if expected[m], err = d.expected(g, m); err != nil {
			return err
		}
	}
	for i, o := range d.ours {
		if o.isa == int(g.seed%3) || i == 0 { // one of the portable ones for each seed
			if err := o.compare(g, expected); err != nil {
				return fmt.Errorf("%s: %w", o.name, err)
			}
		}
	}
	return nil
}

func contenders(t *testing.T) []contender {
	portable := newBackend(t, "portable")
	return []contender{{"oneDNN", newBackend(t, ""), 2}, {"portable C", portable, 0}, {"AVX2", portable, 1},
		{"AVX-512", portable, 2}}
}

func (o contender) compare(g *randomGraph, expected [4][][]float64) error {
	onednn.LimitISA(o.isa)
	defer onednn.LimitISA(2)
	c, err := g.compile(o.backend, asGiven)
	if err != nil {
		return fmt.Errorf("compile: %w", err)
	}
	defer c.finalize()
	// First on frozen zeros, what is prepared of which must not stay.
	leaves := c.leaves
	if err := c.feed(zeros(leaves)); err != nil {
		return err
	}
	c.freeze()
	for range 2 {
		if _, err := c.run(false); err != nil {
			return fmt.Errorf("execute on zeros: %w", err)
		}
	}
	if err := c.feed(leaves); err != nil {
		return err
	}
	got, err := c.run(false)
	if err != nil {
		return fmt.Errorf("execute: %w", err)
	}
	c.freeze()
	var again [][]float64
	for k := range 3 {
		if again, err = c.run(k == 2); err != nil {
			return fmt.Errorf("execute again: %w", err)
		}
		for i, b := range c.inputs {
			after, err := b.Data()
			if err != nil {
				return fmt.Errorf("parameter #%d after an execution that it was not donated to: %w", i, err)
			}
			if !slices.Equal(float64s(after), float64s(leaves[i])) {
				return fmt.Errorf("parameter #%d was changed by an execution that it was not donated to", i)
			}
		}
	}
	reference, truth, noisy := expected[primitive], expected[precise], expected[perturbed]
	if len(got) != len(reference) {
		return fmt.Errorf("got %d outputs, want %d", len(got), len(reference))
	}
	narrow := 53
	for _, t := range g.terms {
		if t.float() {
			narrow = min(narrow, t.digits())
		}
	}
	for o := range reference {
		what := fmt.Sprintf("output #%d", o)
		var exact bool
		eps, floor := math.Ldexp(1, -narrow), 0.0
		if o < len(g.outputs) {
			t := g.terms[g.outputs[o]]
			exact = t.exact
			switch t.dtype {
			case dtypes.Float16:
				floor = math.Ldexp(1, -24)
			case dtypes.Float32, dtypes.BFloat16:
				floor = math.Ldexp(1, -125)
			}
			if t.float() {
				eps = math.Ldexp(1, -t.digits())
			}
		} else {
			what = fmt.Sprintf("gradient #%d", o-len(g.outputs))
			floor = 16 * eps // gradients are sums of numbers around 1, which may cancel
		}
		if len(got[o]) != len(reference[o]) {
			return fmt.Errorf("%s has %d elements, want %d", what, len(got[o]), len(reference[o]))
		}
		scale, deviation := 0.0, 0.0
		for i, w := range truth[o] {
			scale, deviation = max(scale, math.Abs(w)), max(deviation, math.Abs(reference[o][i]-w),
				math.Abs(noisy[o][i]-w))
		}
		if math.IsNaN(scale+deviation) || math.IsInf(scale+deviation, 0) {
			return fmt.Errorf("%w: %s is not finite", errInvalid, what)
		}
		tolerance := 8*deviation + 4*eps*scale + floor
		for i, w := range reference[o] {
			v := got[o][i]
			if same := v == again[o][i] || math.IsNaN(v) && math.IsNaN(again[o][i]); !same {
				return fmt.Errorf("%w: %s element %d: %v in the first execution, %v in the last", errDiffers, what, i,
					v, again[o][i])
			}
			if exact && v != w {
				return fmt.Errorf("%w: %s element %d: got %v, want exactly %v", errDiffers, what, i, v, w)
			}
			if !(math.Abs(v-truth[o][i]) <= tolerance) {
				return fmt.Errorf("%w: %s element %d: got %v, want %v (in float64 %v) ± %.2g", errDiffers, what, i, v,
					w, truth[o][i], tolerance)
			}
		}
	}
	return nil
}

// shrink looks for a smaller graph that fails too.
func (d *duel) shrink(g *randomGraph, err error) (*randomGraph, error) {
	end := time.Now().Add(20 * time.Second)
	for progress := true; progress; {
		progress = false
		for _, candidate := range g.smaller() {
			if time.Now().After(end) {
				return g, err
			}
			candidate.prune()
			if e := d.compare(candidate); e != nil && !errors.Is(e, errInvalid) &&
				errors.Is(e, errDiffers) == errors.Is(err, errDiffers) {
				g, err, progress = candidate, e, true
				break
			}
		}
	}
	return g, err
}

// prune drops the terms that no output needs.
func (g *randomGraph) prune() {
	live := make([]bool, len(g.terms))
	for _, o := range g.outputs {
		live[o] = true
	}
	for i := len(g.terms) - 1; i >= 0; i-- {
		if live[i] {
			for _, j := range g.terms[i].in {
				live[j] = true
			}
		}
	}
	at := make([]int, len(g.terms))
	var terms []term
	for i, t := range g.terms {
		if live[i] {
			for k, j := range t.in {
				t.in[k] = at[j]
			}
			at[i] = len(terms)
			terms = append(terms, t)
		}
	}
	for k, o := range g.outputs {
		g.outputs[k] = at[o]
	}
	g.terms = terms
}

// smaller lists simpler graphs, the boldest first.
func (g *randomGraph) smaller() []*randomGraph {
	var list []*randomGraph
	try := func(change func(c *randomGraph) bool) {
		if c := g.clone(); change(c) {
			list = append(list, c)
		}
	}
	if g.gradients {
		try(func(c *randomGraph) bool { c.gradients = false; return true })
	}
	if len(g.outputs) > 1 {
		for k := range g.outputs {
			try(func(c *randomGraph) bool { c.outputs = c.outputs[k : k+1]; return true })
		}
		for k := range g.outputs {
			try(func(c *randomGraph) bool { c.outputs = slices.Delete(c.outputs, k, k+1); return true })
		}
	}
	for i, t := range g.terms {
		if !t.leaf() {
			try(func(c *randomGraph) bool { // a leaf in its place
				u := &c.terms[i]
				u.op, u.in, u.args, u.seed = "Parameter", nil, nil, 1000+i
				if !u.exact {
					u.exact, u.whole = true, u.magnitude()
					u.frac = min(u.digits()-u.whole, 30)
				}
				return true
			})
		}
		for _, j := range t.in {
			if from := g.terms[j]; from.dtype == t.dtype && slices.Equal(from.dims, t.dims) && from.exact == t.exact &&
				from.lo >= t.lo && from.hi <= t.hi {
				try(func(c *randomGraph) bool { // its operand in its place
					for k := range c.terms {
						for n, in := range c.terms[k].in {
							if in == i {
								c.terms[k].in[n] = j
							}
						}
					}
					for k, o := range c.outputs {
						if o == i {
							c.outputs[k] = j
						}
					}
					return true
				})
			}
		}
	}
	sizes := map[int]bool{}
	for _, t := range g.terms {
		for _, d := range t.dims {
			sizes[d] = d > 1
		}
	}
	for d, big := range sizes {
		for _, smaller := range []int{1, 2, d / 2, d - 1} {
			if big && smaller < d && smaller > 0 {
				try(func(c *randomGraph) bool {
					for k := range c.terms {
						t := &c.terms[k]
						resized := [][]int{t.dims}
						if t.op == "Reshape" || t.op == "Spread" || t.op == "Slice" {
							resized = append(resized, t.args)
						}
						for _, list := range resized {
							for n, v := range list {
								if v == d {
									list[n] = smaller
								}
							}
						}
					}
					return true
				})
			}
		}
	}
	for i, t := range g.terms {
		if t.leaf() {
			for a, d := range t.dims {
				for _, smaller := range []int{1, d / 2, d - 1} {
					if smaller > 0 && smaller < d {
						try(func(c *randomGraph) bool { c.terms[i].dims[a] = smaller; return true })
					}
				}
			}
		}
		for k, v := range t.args {
			for _, simpler := range []int{0, 1, v - 1} {
				if simpler >= 0 && simpler < v {
					try(func(c *randomGraph) bool { c.terms[i].args[k] = simpler; return true })
				}
			}
		}
	}
	for _, narrow := range []dtypes.DType{dtypes.BFloat16, dtypes.Float16, dtypes.Float64} {
		try(func(c *randomGraph) (changed bool) {
			for k := range c.terms {
				if c.terms[k].dtype == narrow {
					c.terms[k].dtype, changed = dtypes.Float32, true
				}
			}
			return changed
		})
	}
	return list
}

// TestRandomGraphs compares random graphs with GoMLX's Go backend.
func TestRandomGraphs(t *testing.T) {
	d := &duel{contenders(t), newReference(t)}
	check := func(seed uint64) (valid, passed bool) {
		if *graphsTrace {
			fmt.Fprintln(os.Stderr, "seed", seed)
		}
		g := newRandomGraph(seed)
		err := d.compare(g)
		if errors.Is(err, errInvalid) {
			if *graphsSeed != 0 {
				t.Logf("%v\n%s", err, g)
			}
			return false, true
		}
		if err != nil {
			small, smallErr := d.shrink(g, err)
			t.Errorf("seed %d: %v\nA small graph that fails: %v\n%s\nTo repeat: go test ./onednn -run "+
				"TestRandomGraphs -graphs.seed=%d", seed, err, smallErr, small, seed)
		} else if *graphsSeed != 0 {
			t.Log(g)
		}
		return true, err == nil
	}
	if *graphsSeed != 0 {
		check(*graphsSeed)
		return
	}
	duration := *graphsTime
	if testing.Short() {
		duration = min(duration, 2*time.Second)
	}
	valid, seed, failed := 0, *graphsFrom, 0
	for end := time.Now().Add(duration); time.Now().Before(end) && failed < 5; seed++ {
		took, passed := check(seed)
		if took {
			valid++
		}
		if !passed {
			failed++
		}
	}
	total := int(seed - *graphsFrom)
	t.Logf("%d graphs, seeds %d to %d", valid, *graphsFrom, seed-1)
	if 10*valid < 8*total {
		t.Errorf("the reference took only %d of %d graphs: the generator makes too many that it refuses", valid, total)
	}
}
