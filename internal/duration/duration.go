// Package duration writes durations for people.
package duration

import (
	"fmt"
	"time"
)

// Format rounds a duration: 850ms, 4.2s, 42s, 3m05s, 2h10m.
func Format(d time.Duration) string {
	switch {
	case d < time.Second:
		return d.Round(time.Millisecond).String()
	case d < 10*time.Second:
		return fmt.Sprintf("%.1fs", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%dm%02ds", int(d.Minutes()), int(d.Seconds())%60)
	default:
		return fmt.Sprintf("%dh%02dm", int(d.Hours()), int(d.Minutes())%60)
	}
}

// Left is how long the rest of a task takes if it goes on as it went since its start.
func Left(start time.Time, done, total int) string {
	return Format(time.Duration(float64(time.Since(start)) * float64(total-done) / float64(done)))
}
