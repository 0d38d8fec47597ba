package onednn

import (
	"slices"
)

// plan gives every result in the arena its offset: two may share memory when one is last read before the other is
// written.
func (l *lowering) plan() (size int) {
	owner := func(s int) int {
		for l.places[s].kind == placeArena && l.places[s].index > 0 {
			s = l.places[s].index - 1
		}
		return s
	}
	first, last := map[int]int{}, map[int]int{}
	touch := func(s, t int) {
		s = owner(s)
		if _, ok := first[s]; !ok {
			first[s] = t
		}
		last[s] = t
	}
	for t := range l.reads {
		for _, s := range l.reads[t] {
			touch(s, t)
		}
		for _, s := range l.writes[t] {
			touch(s, t)
		}
	}
	for _, r := range l.graph.Outputs {
		touch(l.slotOf(r), len(l.reads))
	}
	type block struct{ slot, offset, size int }
	var slots []int
	for s := range first {
		if l.places[s].kind == placeArena {
			slots = append(slots, s)
		}
	}
	// Larger arrays first: small ones fit into what is left between them.
	slices.SortFunc(slots, func(a, b int) int {
		if l.places[a].size != l.places[b].size {
			return l.places[b].size - l.places[a].size
		}
		return a - b
	})
	var placed []block
	for _, s := range slots {
		need := (max(l.places[s].size, 1) + alignment - 1) / alignment * alignment
		var busy []block
		for _, p := range placed {
			if first[p.slot] <= last[s] && first[s] <= last[p.slot] {
				busy = append(busy, p)
			}
		}
		slices.SortFunc(busy, func(a, b block) int { return a.offset - b.offset })
		offset := 0
		for _, p := range busy {
			if p.offset-offset >= need {
				break
			}
			offset = max(offset, p.offset+p.size)
		}
		l.places[s].offset = offset
		placed = append(placed, block{s, offset, need})
		size = max(size, offset+need)
	}
	for s := range l.places {
		if o := owner(s); o != s {
			l.places[s].offset += l.places[o].offset
		}
	}
	return size
}
