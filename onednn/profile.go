package onednn

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"

	"github.com/gomlx/compute"
)

// Profile collects how long each native operation of a computation takes.
type Profile struct {
	runs    int
	entries map[string]*profileEntry
}

type profileEntry struct {
	label   string
	count   int
	seconds float64
}

func (p *Profile) add(e *executable) {
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
		for i, label := range s.labels {
			x := p.entries[label]
			if x == nil {
				x = &profileEntry{label: label}
				p.entries[label] = x
			}
			x.count++
			x.seconds += float64(s.seconds[i])
		}
	}
}

// Write prints a line for each kind of operation, the slowest first: time per run, share, count per run, operation.
func (p *Profile) Write(w io.Writer) {
	if p.runs == 0 {
		return
	}
	list := slices.Collect(maps.Values(p.entries))
	slices.SortFunc(list, func(a, b *profileEntry) int {
		return cmp.Or(-cmp.Compare(a.seconds, b.seconds), cmp.Compare(a.label, b.label))
	})
	total := 0.0
	for _, x := range list {
		total += x.seconds
	}
	runs := float64(p.runs)
	fmt.Fprintf(w, "%9.3f ms per run, %d runs\n", 1e3*total/runs, p.runs)
	for _, x := range list {
		fmt.Fprintf(w, "%9.3f ms %5.1f %% %5.1f × %s\n", 1e3*x.seconds/runs, 100*x.seconds/total, float64(x.count)/runs, x.label)
	}
}

// StartProfile begins to time every native operation that the backend runs, whichever computation it is of.
func StartProfile(b compute.Backend) {
	if own, ok := b.(*Backend); ok {
		_ = own.do(func() error { own.profile = &Profile{}; return nil })
	}
}

// StopProfile ends what StartProfile began and writes it; see Profile.Write.
func StopProfile(b compute.Backend, w io.Writer) {
	own, ok := b.(*Backend)
	if !ok {
		return
	}
	var p *Profile
	_ = own.do(func() error { p, own.profile = own.profile, nil; return nil })
	if p != nil {
		p.Write(w)
	}
}
