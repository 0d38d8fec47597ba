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
