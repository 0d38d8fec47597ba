package figure

import (
	"math"
	"slices"
	"strconv"
	"strings"
)

// axis maps values to [0,1].
type axis struct {
	low, high float64
	log       bool
	ticks     []tick
}

type tick struct {
	value float64
	label string
}

// fraction is where a value lies between the axis's ends.
func (a axis) fraction(v float64) float64 {
	if a.log {
		return math.Log(v/a.low) / math.Log(a.high/a.low)
	}
	return (v - a.low) / (a.high - a.low)
}

// linearAxis spans the values, and has ticks at round numbers that are at least so far apart: at most that many where
// these leave 3.
func linearAxis(low, high float64, ticks int, least float64) axis {
	if !(high-low > 1e-9*math.Max(math.Abs(low), math.Abs(high))) { // or ticks would be closer than numbers are
		low, high = low-math.Max(math.Abs(low), 1)/2, low+math.Max(math.Abs(low), 1)/2
	}
	count := func(step float64) int { return int(math.Floor(high/step+1e-9)-math.Ceil(low/step-1e-9)) + 1 }
	step := max(math.Pow(10, math.Floor(math.Log10(high-low))-1), least)
	for factor := range slices.Values([]float64{2, 2.5, 2, 2, 2.5, 2}) { // 2, 5, 10, 20, 50, 100 times
		if count(step) <= ticks || count(step*factor) < 3 {
			break
		}
		step *= factor
	}
	a := axis{low: low, high: high}
	decimals := max(0, -int(math.Floor(math.Log10(step)+1e-9)))
	for i := math.Ceil(low/step - 1e-9); i*step <= high+step*1e-9; i++ {
		v := i*step + 0 // not -0
		a.ticks = append(a.ticks, tick{v, thousands(strconv.FormatFloat(v, 'f', decimals, 64))})
	}
	return a
}

// logAxis spans positive values from a tick to a tick at 1, 2 or 5 times a power of ten. Where these are fewer than 3
// there are those of a linear axis between the ends.
func logAxis(low, high float64) axis {
	if low == high {
		low, high = low/2, high*2
	}
	var all []float64
	for e := math.Floor(math.Log10(low)) - 1; e <= math.Ceil(math.Log10(high))+1; e++ {
		for _, m := range []float64{1, 2, 5} {
			all = append(all, m*math.Pow(10, e))
		}
	}
	from, to := 0, len(all)-1
	for from+1 < len(all) && all[from+1] <= low*(1+1e-9) {
		from++
	}
	for to-1 > from && all[to-1] >= high*(1-1e-9) {
		to--
	}
	a := axis{low: all[from], high: all[to], log: true}
	if to-from < 2 {
		a.ticks = linearAxis(a.low, a.high, 6, 0).ticks
		return a
	}
	every := 1
	if to-from > 9 {
		every = 3
	}
	for i := from; i <= to; i++ {
		if i%every == 0 || every == 1 {
			a.ticks = append(a.ticks, tick{all[i], plain(all[i])})
		}
	}
	return a
}

// plain writes a number of few digits without an exponent, unless it is very small or large.
func plain(v float64) string {
	s := strconv.FormatFloat(v, 'g', 3, 64)
	if v < 1e-6 || v >= 1e6 {
		return s
	}
	v, _ = strconv.ParseFloat(s, 64)
	return thousands(strconv.FormatFloat(v, 'f', -1, 64))
}

// thousands parts an integer's digits by thin spaces.
func thousands(s string) string {
	if strings.Contains(s, ".") || len(s) < 5 {
		return s
	}
	out := ""
	for len(s) > 3 && s[len(s)-4] != '-' {
		out = "\u2009" + s[len(s)-3:] + out
		s = s[:len(s)-3]
	}
	return s + out
}

func bounds(v []float64) (low, high float64) { return slices.Min(v), slices.Max(v) }

// percentile returns the value below which that share of them lies.
func percentile(v []float64, share float64) float64 {
	sorted := slices.Sorted(slices.Values(v))
	return sorted[int(share*float64(len(sorted)-1))]
}
