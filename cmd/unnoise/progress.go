package main

import (
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"
)

// progress shows how far a long task is: on a terminal one line, redrawn in
// place; elsewhere plain lines, one every few seconds.
type progress struct {
	w        io.Writer
	columns  int
	terminal bool
	every    time.Duration
	last     time.Time
	drawn    bool
}

func newProgress(w io.Writer) *progress {
	columns, terminal := terminalWidth(w)
	every := 5 * time.Second
	if terminal {
		every = 100 * time.Millisecond
	}
	return &progress{w: w, columns: columns, terminal: terminal, every: every}
}

// update shows the line that the function returns if it is time for one.
func (p *progress) update(line func() string) {
	if time.Since(p.last) >= p.every {
		p.show(line())
	}
}

// loading shows how much of a folder's weights was read.
func (p *progress) loading(dir string) func(done, total int) {
	return func(done, total int) {
		p.update(func() string {
			return fmt.Sprintf("loading %s: %.1f of %.1f GB", dir, float64(done)/1e9, float64(total)/1e9)
		})
	}
}

func (p *progress) show(line string) {
	p.last = time.Now()
	if !p.terminal {
		fmt.Fprintln(p.w, line)
		return
	}
	if utf8.RuneCountInString(line) >= p.columns {
		line = string([]rune(line)[:p.columns-1])
	}
	fmt.Fprint(p.w, "\r\x1b[K", line)
	p.drawn = true
}

// print writes a line that stays.
func (p *progress) print(format string, args ...any) {
	p.clear()
	fmt.Fprintf(p.w, format+"\n", args...)
}

// clear removes the line in progress.
func (p *progress) clear() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}

// warn returns what prints a warning in a command, above the line in progress.
func (p *progress) warn(cmd *cobra.Command) func(string) {
	return func(text string) {
		p.clear()
		fmt.Fprintln(cmd.ErrOrStderr(), "unnoise: warning:", text)
	}
}

// left is how long the rest of a task will take if it goes on as it went since its start.
func left(start time.Time, done, total int) string {
	return pretty(time.Duration(float64(time.Since(start)) * float64(total-done) / float64(done)))
}

// pretty rounds a duration for people: 850ms, 42s, 3m05s, 2h10m.
func pretty(d time.Duration) string {
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
