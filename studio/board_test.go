package studio

import (
	"slices"
	"testing"
	"time"
)

// Jobs of the same second are listed in the order in which they were asked for.
func TestNames(t *testing.T) {
	var all []string
	for range 20 {
		id := newID()
		if !jobName.MatchString(id) {
			t.Errorf("%s is no job's name", id)
		}
		all = append(all, id)
		time.Sleep(2 * time.Microsecond)
	}
	if !slices.IsSorted(all) {
		t.Errorf("names of later jobs stand before those of earlier ones: %v", all)
	}
}
