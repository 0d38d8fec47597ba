// Package cli has what the verbs of a command line share: flags that are checked while they are parsed, errors that
// name the flag, what was expected and what was found, and output that is JSON or text.
package cli

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/unnoise/unnoise/internal/atomicfile"
	"github.com/unnoise/unnoise/internal/shell"
	"github.com/unnoise/unnoise/internal/terminal"
)

// UsageError is a mistake in the command line, as opposed to a failure of what it asked for.
type UsageError struct{ Err error }

func (e UsageError) Error() string { return e.Err.Error() }
func (e UsageError) Unwrap() error { return e.Err }

// Usagef makes a UsageError.
func Usagef(format string, args ...any) error { return UsageError{fmt.Errorf(format, args...)} }

// Expected is a flag value's complaint: what it would have accepted.
type Expected string

func (e Expected) Error() string { return "expected " + string(e) }

// FlagError rewords the flag parser's errors: the flag, what it expects, what it was given.
func FlagError(_ *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return UsageError{err}
	}
	flag, value := invalid.GetFlag(), invalid.GetValue()
	want, ok := errors.AsType[Expected](err)
	if !ok && flag.Value.Type() != "bool" {
		return UsageError{err}
	}
	if !ok {
		want = "true or false"
	}
	return Usagef("--%s: expected %s, found %q", flag.Name, string(want), value)
}

// Group is a verb that only leads to others, which it asks for when it is given another word or none.
func Group(use, short string, verbs ...*cobra.Command) *cobra.Command {
	var names []string
	for _, v := range verbs {
		names = append(names, v.Name())
	}
	cmd := &cobra.Command{Use: use, Short: short, ValidArgs: names, Args: cobra.ArbitraryArgs,
		RunE: func(cmd *cobra.Command, args []string) error {
			found := "nothing"
			if len(args) > 0 {
				found = fmt.Sprintf("%q", args[0])
			}
			return Usagef("%s: expected %s after it, found %s", verb(cmd), Alternatives(names), found)
		}}
	cmd.AddCommand(verbs...)
	return cmd
}

// verb names a command without the program's name, which stands before all errors.
func verb(cmd *cobra.Command) string {
	return strings.TrimPrefix(cmd.CommandPath(), cmd.Root().Name()+" ")
}

// Run is what a verb without arguments does.
func Run(run func(*cobra.Command) error) func(*cobra.Command, []string) error {
	return func(cmd *cobra.Command, _ []string) error { return run(cmd) }
}

// NoArgs refuses arguments with a word on what was found.
func NoArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return Usagef("%s takes no arguments, found %q", verb(cmd), strings.Join(args, " "))
}

// Arg refuses all but one argument; what says of what.
func Arg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return Usagef("%s: expected one %s, found %d arguments", verb(cmd), what, len(args))
		}
		return nil
	}
}

// Refuse refuses flags that something else has decided or has no use for. why goes on after the flag's name.
func Refuse(cmd *cobra.Command, why string, flags ...string) error {
	for _, name := range flags {
		if cmd.Flags().Changed(name) {
			return Usagef("--%s %s", name, why)
		}
	}
	return nil
}

// Count is how many of the flags were given.
func Count(cmd *cobra.Command, flags ...string) (n int) {
	for _, name := range flags {
		if cmd.Flags().Changed(name) {
			n++
		}
	}
	return n
}

// ExpandHome puts the home folder in the place of ~ in paths, as shells do where it is not behind a =. texts are flags
// that hold no paths.
func ExpandHome(cmd *cobra.Command, texts ...string) {
	home, err := os.UserHomeDir()
	if err != nil {
		return
	}
	expand := func(path string) string {
		if rest, ok := strings.CutPrefix(path, "~/"); ok {
			return filepath.Join(home, rest)
		}
		return path
	}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if slices.Contains(texts, f.Name) {
			return
		}
		if list, ok := f.Value.(pflag.SliceValue); ok && f.Value.Type() == "stringArray" {
			paths := list.GetSlice()
			for i, path := range paths {
				paths[i] = expand(path)
			}
			_ = list.Replace(paths) // with as many texts
		} else if f.Value.Type() == "string" && strings.HasPrefix(f.Value.String(), "~/") {
			_ = f.Value.Set(expand(f.Value.String()))
		}
	})
}

// RefuseEmpty refuses texts that were given as nothing, as a shell's unset variable is: a flag would do as if it
// weren't there. mayBe are flags for which nothing has a meaning.
func RefuseEmpty(cmd *cobra.Command, mayBe ...string) (err error) {
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Value.Type() == "string" && f.Value.String() == "" && !slices.Contains(mayBe, f.Name) {
			err = Usagef("--%s: expected a value, found nothing", f.Name)
		}
	})
	return err
}

// CheckOutput refuses an output file early, before work is lost on it. No path is no file.
func CheckOutput(flag, path string, endings ...string) error {
	if path == "" {
		return nil
	}
	if !slices.Contains(endings, strings.ToLower(filepath.Ext(path))) {
		return Usagef("--%s: expected a file name that ends with %s, found %q", flag, Alternatives(endings), path)
	}
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("--%s: there is no folder for %s: make it with mkdir -p %s", flag, path, shell.Quote(dir))
	case err == nil && !info.IsDir():
		return fmt.Errorf("--%s: %s is not a folder", flag, dir)
	case err == nil:
		err = atomicfile.Check(path)
	}
	if err != nil {
		return fmt.Errorf("--%s: %w", flag, err)
	}
	return nil
}

// RefuseUnnamed refuses to replace a file whose name is --out's default and so nobody's choice, where making it again
// takes long.
func RefuseUnnamed(cmd *cobra.Command, path string) error {
	if _, err := os.Stat(path); err == nil && !cmd.Flags().Changed("out") {
		return Usagef("--out: %s is there already; give its name to replace it, or another", path)
	}
	return nil
}

// CheckNewFile checks the file of --out by CheckOutput and RefuseUnnamed.
func CheckNewFile(cmd *cobra.Command, path string, endings ...string) error {
	if err := CheckOutput("out", path, endings...); err != nil {
		return err
	}
	return RefuseUnnamed(cmd, path)
}

// SameFile reports whether two paths name the same file, which need not exist.
func SameFile(a, b string) bool {
	a, errA := filepath.Abs(a)
	b, errB := filepath.Abs(b)
	return errA == nil && errB == nil && a == b
}

// Given writes those of the flags that were given, as a command line has them.
func Given(cmd *cobra.Command, names ...string) (line string) {
	for _, name := range names {
		if flag := cmd.Flag(name); flag.Changed {
			line += fmt.Sprintf(" --%s %s", name, shell.Quote(flag.Value.String()))
		}
	}
	return line
}

// Progress shows on standard error how far a task is. Where it is quiet, it shows warnings only.
func Progress(cmd *cobra.Command, quiet bool) *terminal.Progress {
	if quiet {
		return terminal.NewProgress(io.Discard, cmd.ErrOrStderr())
	}
	return terminal.NewProgress(cmd.ErrOrStderr(), cmd.ErrOrStderr())
}

// Version is the version field of everything --json prints. It grows when a field changes its meaning or goes away.
const Version = 1

// JSONFlag adds --json.
func JSONFlag(cmd *cobra.Command, target *bool, usage string) {
	cmd.Flags().BoolVar(target, "json", false, usage)
}

// JSON prints v as one line.
func JSON(cmd *cobra.Command, v any) error {
	e := json.NewEncoder(cmd.OutOrStdout())
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return fmt.Errorf("writing the JSON output: %w", err)
	}
	return nil
}

// Print prints a report, as JSON or as its text.
func Print(cmd *cobra.Command, asJSON bool, report fmt.Stringer) error {
	if asJSON {
		return JSON(cmd, report)
	}
	return Printf(cmd, "%s", strings.TrimSuffix(report.String(), "\n"))
}

// Printf prints a line.
func Printf(cmd *cobra.Command, format string, args ...any) error {
	_, err := fmt.Fprintf(cmd.OutOrStdout(), format+"\n", args...)
	return err
}

// Alternatives writes "a, b or c".
func Alternatives(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}
