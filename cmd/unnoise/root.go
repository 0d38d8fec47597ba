package main

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

	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/model"
)

// Exit codes: 0 success, 1 failure, 2 wrong usage, 128+n stopped by signal n
// (130 for Ctrl-C).
const (
	exitFailure = 1
	exitUsage   = 2
)

// usageError is a mistake in the command line, as opposed to a failure of
// what it asked for.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

func usagef(format string, args ...any) error {
	return usageError{fmt.Errorf(format, args...)}
}

// execute runs the command line and returns the process's exit code.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) (code int) {
	verbose := os.Getenv("UNNOISE_DEBUG") == "1"
	defer func() {
		if p := recover(); p != nil {
			fmt.Fprintf(stderr, "unnoise: internal error: %v\n", firstLine(fmt.Sprint(p)))
			if verbose {
				fmt.Fprintf(stderr, "%s\n", debug.Stack())
			} else {
				fmt.Fprintln(stderr, "Please report it with the output of the same command under UNNOISE_DEBUG=1.")
			}
			code = exitFailure
		}
	}()

	started := false
	root := newRoot(&started)
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return 0
	}
	var usage usageError
	var field *model.FieldError
	var file *lab.FileError
	wrongUsage := !started || errors.As(err, &usage) || errors.As(err, &field) && !errors.As(err, &file)

	message := strings.TrimSpace(err.Error())
	if field != nil {
		message = flagOf(cmd, field.Field) + ": " + field.Err.Error()
	}
	var signal signaled
	stopped := errors.As(context.Cause(ctx), &signal)
	if stopped && message == context.Canceled.Error() {
		message = "stopped by " + signal.Error()
	}
	fmt.Fprintf(stderr, "unnoise: %s\n", message)
	if verbose {
		fmt.Fprint(stderr, origin(err))
	}
	if wrongUsage {
		fmt.Fprintf(stderr, "Run '%s --help' for its usage.\n", cmd.CommandPath())
		return exitUsage
	}
	if stopped {
		return signal.exitCode()
	}
	return exitFailure
}

// newRoot builds the command tree. It sets started once a verb is about to
// run: whatever fails before that is a mistake in the command line.
func newRoot(started *bool) *cobra.Command {
	root := &cobra.Command{
		Use:   "unnoise",
		Short: "A diffusion-model laboratory",
		Long: `Unnoise trains diffusion models on your own CPU, samples from them and shows
every curve and every sample on the way.

Start with 'unnoise demo': it trains on MNIST for one epoch and draws digits.`,
		SilenceUsage:  true,
		SilenceErrors: true,
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error {
			*started = true
			expandHome(cmd)
			return refuseEmpty(cmd)
		},
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: false},
	}
	root.Version = readVersion().String()
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetFlagErrorFunc(flagError)
	wrapHelp(root)
	root.AddCommand(newDemo(), newTrain(), newGenerate(), newSample(), newEdit(), newInpaint(), newAnagram(),
		newHybrid(), newAmbigram(), newViews(), newAgain(), newRecipe(), newNoise(), newDenoise(), newEmbed(),
		newEval(), newModel(), newWriteup(), newStudio(), newDataset(), newBench(), newDoctor(), newVersion())
	root.InitDefaultHelpCmd()
	for _, help := range root.Commands() {
		if help.Name() == "help" { // which would print its mistakes as help
			help.Args = func(_ *cobra.Command, args []string) error {
				_, _, err := root.Find(args)
				return err
			}
		}
	}
	return root
}

// wrapHelp lets the flags' texts in --help end where the terminal does, and at 120 columns elsewhere.
func wrapHelp(root *cobra.Command) {
	cobra.AddTemplateFunc("wrapped", func(f *pflag.FlagSet) string {
		columns, ok := terminalWidth(os.Stdout)
		if !ok {
			columns = 120
		}
		return f.FlagUsagesWrapped(columns)
	})
	root.SetUsageTemplate(strings.ReplaceAll(root.UsageTemplate(), "Flags.FlagUsages ", "Flags | wrapped "))
}

// group is a verb that only leads to others, which it asks for when it is
// given another word or none.
func group(use, short string, verbs ...*cobra.Command) *cobra.Command {
	var names []string
	for _, v := range verbs {
		names = append(names, v.Name())
	}
	cmd := &cobra.Command{
		Use:       use,
		Short:     short,
		ValidArgs: names,
		Args:      cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usagef("%s: expected %s after it, found nothing", cmd.CommandPath(), alternatives(names))
			}
			return usagef("%s: expected %s after it, found %q", cmd.CommandPath(), alternatives(names), args[0])
		},
	}
	cmd.AddCommand(verbs...)
	return cmd
}

// flagOf names the flag of a command that fills in a field of a request, or the field where there is none.
func flagOf(cmd *cobra.Command, field string) string {
	flag := strings.NewReplacer(".", "-", "_", "-").Replace(field)
	switch flag {
	case "prompts":
		flag = "prompt"
		if class := cmd.Flags().Lookup("class"); class != nil && class.Changed {
			flag = "class"
		}
	case "views", "bands":
		flag = strings.TrimSuffix(flag, "s")
	case "upscale-model":
		flag = "upscale"
	case "upscale-noise-level":
		flag = "noise-level"
	}
	if _, last, ok := strings.Cut(field, "."); ok && cmd.Flags().Lookup(flag) == nil {
		flag = last // of a technique, whose verb it is
	}
	switch {
	case cmd.Flags().Lookup(flag) != nil:
		return "--" + flag
	case flag == "picture": // an argument
		return flag
	}
	return field
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
