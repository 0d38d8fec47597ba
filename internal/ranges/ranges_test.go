package ranges

import (
	"slices"
	"testing"
)

func TestRanges(t *testing.T) {
	for text, numbers := range map[string][]int{"0-9": {0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, "3,8": {3, 8},
		"1-2,5,7-9": {1, 2, 5, 7, 8, 9}, "4": {4}} {
		if got := Format(numbers); got != text {
			t.Errorf("%v is written %s, expected %s", numbers, got, text)
		}
		if got, err := Parse(text, 10); err != nil || !slices.Equal(got, numbers) {
			t.Errorf("%s is read as %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "a", "3,3", "5-4", "10", "1-10", "-1", "1,"} {
		if got, err := Parse(text, 10); err == nil {
			t.Errorf("%q is read as %v", text, got)
		}
	}
}
