// Package ranges writes rising whole numbers as people do: 0-2,7.
package ranges

import (
	"fmt"
	"strconv"
	"strings"
)

// Format writes numbers, which must rise.
func Format(numbers []int) string {
	var parts []string
	for i := 0; i < len(numbers); {
		last := i
		for last+1 < len(numbers) && numbers[last+1] == numbers[last]+1 {
			last++
		}
		part := strconv.Itoa(numbers[i])
		if last > i {
			part += "-" + strconv.Itoa(numbers[last])
		}
		parts = append(parts, part)
		i = last + 1
	}
	return strings.Join(parts, ",")
}

// Parse reads what Format writes: numbers from 0, below limit, that rise.
func Parse(text string, limit int) ([]int, error) {
	var numbers []int
	next := 0
	for part := range strings.SplitSeq(text, ",") {
		first, last, isRange := strings.Cut(part, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.Atoi(first)
		to, err2 := strconv.Atoi(last)
		if err1 != nil || err2 != nil || from < next || to < from || to >= limit {
			return nil, fmt.Errorf("%q: expected rising numbers from 0 to %d such as 0-2,7", text, limit-1)
		}
		for n := from; n <= to; n++ {
			numbers = append(numbers, n)
		}
		next = to + 1
	}
	return numbers, nil
}
