package onednn

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/gomlx/compute"
)

// profile collects how long each native operation of a computation takes.
type profile struct {
	runs    int
	entries map[string]*profileEntry
}

type profileEntry struct {
	label   label
	count   int
	seconds float64
}

func (p *profile) add(e *executable) {
	if p == nil {
		return
	}
	if p.entries == nil {
		p.entries = map[string]*profileEntry{}
	}
	p.runs++
	for _, s := range e.steps {
		if s.seconds == nil { // prepared before the profile began
			continue
		}
		for i, l := range s.labels {
			x := p.entries[l.String()]
			if x == nil {
				x = &profileEntry{label: l}
				p.entries[l.String()] = x
			}
			x.count++
			x.seconds += float64(s.seconds[i])
		}
	}
}

// write prints a table of the kinds of operations and one of the operations, the slowest first: time per run, share,
// how many of them in a run, and how fast they are: GFLOP/s of convolutions and products, GB/s of what only passes over
// memory.
func (p *profile) write(w io.Writer) {
	if p.runs == 0 {
		return
	}
	kinds := map[string]*profileEntry{}
	total := 0.0
	for _, x := range p.entries {
		total += x.seconds
		k := kinds[x.label.kind]
		if k == nil {
			k = &profileEntry{label: label{kind: x.label.kind}}
			kinds[x.label.kind] = k
		}
		// Work is summed for all of a kind, so that the rate is the kind's.
		k.label.flops += x.label.flops * float64(x.count)
		k.label.bytes += x.label.bytes * float64(x.count)
		k.count += x.count
		k.seconds += x.seconds
	}
	for _, k := range kinds {
		k.label.flops /= float64(k.count)
		k.label.bytes /= float64(k.count)
	}
	fmt.Fprintf(w, "%.3f ms per run, %d runs\n", 1e3*total/float64(p.runs), p.runs)
	for _, table := range []map[string]*profileEntry{kinds, p.entries} {
		fmt.Fprintf(w, "\n%10s %7s %6s %14s  %s\n", "ms", "share", "count", "rate", "operation")
		list := slices.Collect(maps.Values(table))
		slices.SortFunc(list, func(a, b *profileEntry) int {
			return cmp.Or(-cmp.Compare(a.seconds, b.seconds), cmp.Compare(a.label.String(), b.label.String()))
		})
		for _, x := range list {
			rate := ""
			switch {
			case x.seconds == 0:
			case x.label.flops > 0:
				rate = fmt.Sprintf("%.0f GFLOP/s", x.label.flops*float64(x.count)/x.seconds/1e9)
			case x.label.bytes > 0:
				rate = fmt.Sprintf("%.1f GB/s", x.label.bytes*float64(x.count)/x.seconds/1e9)
			}
			fmt.Fprintf(w, "%10.3f %5.1f %% %6.4g %14s  %s\n", 1e3*x.seconds/float64(p.runs), 100*x.seconds/total,
				float64(x.count)/float64(p.runs), rate, x.label)
		}
	}
}

// StartProfile begins to time every native operation that the backend runs, whichever computation it is of.
func StartProfile(b compute.Backend) {
	if own, ok := b.(*Backend); ok {
		_ = own.do(func() error { own.profile = &profile{}; return nil })
	}
}

// StopProfile ends what StartProfile began and writes it.
func StopProfile(b compute.Backend, w io.Writer) {
	own, ok := b.(*Backend)
	if !ok {
		return
	}
	var p *profile
	_ = own.do(func() error { p, own.profile = own.profile, nil; return nil })
	if p != nil {
		p.write(w)
	}
}
