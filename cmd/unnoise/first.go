package main

import (
	"bufio"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/unnoise/unnoise/course"
	"github.com/unnoise/unnoise/internal/cli"
)

// offer lists the ten things to do first, and does the one whose number is typed.
func offer(root *cobra.Command, from io.Reader) error {
	out, all := root.OutOrStdout(), course.First()
	fmt.Fprintln(out, "Unnoise is a laboratory for diffusion models. Ten things to do first:")
	fmt.Fprintln(out)
	for i, t := range all {
		fmt.Fprintf(out, "%3d  %s\n       %s\n", i+1, t.What, t.Command())
	}
	fmt.Fprintln(out, "\n'unnoise help' lists all verbs, 'unnoise VERB --help' a verb's flags.")
	fmt.Fprintf(out, "Which one? [1-%d, or Enter to leave] ", len(all))
	line, err := bufio.NewReader(from).ReadString('\n')
	line = strings.TrimSpace(line)
	if line == "" || err != nil && line == "" {
		fmt.Fprintln(out)
		return nil
	}
	n, err := strconv.Atoi(line)
	if err != nil || n < 1 || n > len(all) {
		return cli.Usagef("expected a number from 1 to %d, found %q", len(all), line)
	}
	fmt.Fprintln(out, all[n-1].Command())
	root.SetArgs(all[n-1].Args)
	return root.ExecuteContext(root.Context())
}

// isTerminal reports whether a person types there.
func isTerminal(from any) bool {
	f, ok := from.(interface{ Fd() uintptr })
	return ok && term.IsTerminal(int(f.Fd()))
}
