package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"strings"

	pkgerrors "github.com/pkg/errors"
	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/unnoise/unnoise/internal/terminal"
)

// Exit codes: 0 success, 1 failure, 2 wrong usage, 128+n stopped by signal n (130 for Ctrl-C).
const (
	Failure = 1
	Usage   = 2
)

// Execute runs a command line and returns the process's exit code. explain says what people are told of an error, and
// reports whether it is a mistake in the command line.
func Execute(ctx context.Context, root *cobra.Command, args []string, stdout, stderr io.Writer,
	explain func(*cobra.Command, error) (message string, usage bool)) (code int) {
	verbose := os.Getenv("UNNOISE_DEBUG") == "1"
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(stderr, "%s: internal error: %v\n", root.Name(), firstLine(fmt.Sprint(p)))
			if verbose {
				fmt.Fprintf(stderr, "%s\n", debug.Stack())
			} else {
				fmt.Fprintln(stderr, "Please report it with the output of the same command under UNNOISE_DEBUG=1.")
			}
			code = Failure
		}
	}()

	started := false
	run := root.PersistentPreRunE
	root.PersistentPreRunE = func(cmd *cobra.Command, args []string) error {
		started = true // what fails before that is a mistake in the command line
		return run(cmd, args)
	}
	root.InitDefaultHelpCmd()
	for _, help := range root.Commands() {
		if help.Name() == "help" { // which would print its mistakes as help
			help.Args = func(_ *cobra.Command, args []string) error {
				_, _, err := root.Find(args)
				return err
			}
		}
	}
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	message, wrongUsage := explain(cmd, err)
	wrongUsage = wrongUsage || !started
	var signal terminal.Signaled
	stopped := errors.As(context.Cause(ctx), &signal)
	if stopped && strings.TrimSpace(message) == context.Canceled.Error() {
		message = "stopped by " + signal.Error()
	}
	fmt.Fprintf(stderr, "%s: %s\n", root.Name(), message)
	if verbose {
		fmt.Fprint(stderr, origin(err))
	}
	if wrongUsage {
		fmt.Fprintf(stderr, "Run '%s --help' for its usage.\n", cmd.CommandPath())
		return Usage
	}
	if stopped {
		return signal.ExitCode()
	}
	return Failure
}

// WrapHelp lets the flags' texts in --help end where the terminal does, and at 120 columns elsewhere.
func WrapHelp(root *cobra.Command) {
	cobra.AddTemplateFunc("wrapped", func(f *pflag.FlagSet) string {
		columns, ok := terminal.Width(os.Stdout)
		if !ok {
			columns = 120
		}
		return f.FlagUsagesWrapped(columns)
	})
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), "Flags.FlagUsages ", "Flags | wrapped "))
}

// origin tells where the innermost error arose that knows it, as the engine's do.
func origin(err error) (stack string) {
	var traced interface {
		error
		StackTrace() pkgerrors.StackTrace
	}
	for errors.As(err, &traced) {
		stack = strings.TrimPrefix(fmt.Sprintf("%+v\n", traced.StackTrace()), "\n")
		err = errors.Unwrap(traced)
	}
	return stack
}

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
