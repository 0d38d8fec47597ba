package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/unnoise/unnoise/internal/shell"
)

// jsonVersion is the version field of everything --json prints. It grows when
// a field changes its meaning or goes away.
const jsonVersion = 1

func jsonFlag(cmd *cobra.Command, target *bool, usage string) {
	cmd.Flags().BoolVar(target, "json", false, usage)
}

// printJSON writes v as one line.
func printJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("writing the JSON output: %w", err)
	}
	return nil
}

// terminalWidth returns the columns of the terminal that w writes to, and
// whether it is one that can redraw a line.
func terminalWidth(w io.Writer) (int, bool) {
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

// given writes those of the flags that were given, as a command line has them.
func given(cmd *cobra.Command, names ...string) (line string) {
	for _, name := range names {
		if flag := cmd.Flag(name); flag.Changed {
			line += fmt.Sprintf(" --%s %s", name, shell.Quote(flag.Value.String()))
		}
	}
	return line
}
