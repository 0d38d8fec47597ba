// Package terminal shows people how far a task is, and lets them stop it.
package terminal

import (
	"fmt"
	"io"
	"os"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// Progress shows how far a long task is: on a terminal one line, redrawn in place; elsewhere plain lines, one every few
// seconds.
type Progress struct {
	w, warnings io.Writer
	columns     int
	terminal    bool
	every       time.Duration
	last        time.Time
	drawn       bool
}

// NewProgress shows progress on w, and warnings on another writer.
func NewProgress(w, warnings io.Writer) *Progress {
	columns, terminal := Width(w)
	every := 5 * time.Second
	if terminal {
		every = 100 * time.Millisecond
	}
	return &Progress{w: w, warnings: warnings, columns: columns, terminal: terminal, every: every}
}

// Update shows the line that the function returns if it is time for one.
func (p *Progress) Update(line func() string) {
	if time.Since(p.last) >= p.every {
		p.Show(line())
	}
}

// Loading shows how much of something was read, in bytes.
func (p *Progress) Loading(what string, done, total int) {
	p.Update(func() string {
		return fmt.Sprintf("loading %s: %s", what, Bytes(done, total))
	})
}

// Bytes says how much of something there is.
func Bytes(done, total int) string {
	unit, name := 1e9, "GB"
	if total < 1e9 {
		unit, name = 1e6, "MB"
	}
	return fmt.Sprintf("%.1f of %.1f %s", float64(done)/unit, float64(total)/unit, name)
}

// Show shows a line.
func (p *Progress) Show(line string) {
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

// Print writes a line that stays.
func (p *Progress) Print(format string, args ...any) {
	p.Clear()
	fmt.Fprintf(p.w, format+"\n", args...)
}

// Clear removes the line in progress.
func (p *Progress) Clear() {
	if p.drawn {
		fmt.Fprint(p.w, "\r\x1b[K")
		p.drawn = false
	}
}

// Warn prints a warning above the line in progress.
func (p *Progress) Warn(text string) {
	p.Clear()
	fmt.Fprintln(p.warnings, "unnoise: warning:", text)
}

// Width returns the columns of the terminal that w writes to, and whether it is one that can redraw a line.
func Width(w io.Writer) (int, bool) {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
		return 0, false
	}
	width, _, err := term.GetSize(int(f.Fd()))
	if err != nil || width < 20 {
		width = 80
	}
	return width, true
}
