package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// flagError rewords the flag parser's errors: the flag, what it expects, what
// it was given.
func flagError(cmd *cobra.Command, err error) error {
	var invalid *pflag.InvalidValueError
	if !errors.As(err, &invalid) {
		return usageError{err}
	}
	name, value := invalid.GetFlag().Name, invalid.GetValue()
	if want, ok := errors.AsType[expected](err); ok {
		return usagef("--%s: expected %s, found %q", name, string(want), value)
	}
	switch invalid.GetFlag().Value.Type() {
	case "bool":
		return usagef("--%s: expected true or false, found %q", name, value)
	default:
		return usageError{err}
	}
}

// expected is a flag value's complaint: what it would have accepted.
type expected string

func (e expected) Error() string { return "expected " + string(e) }

// flagValue is a flag whose text is checked while the command line is parsed.
type flagValue[T any] struct {
	target *T
	kind   string // as --help shows it
	parse  func(string) (T, error)
	show   func(T) string
}

func (f flagValue[T]) String() string {
	if f.target == nil {
		return ""
	}
	return f.show(*f.target)
}
func (f flagValue[T]) Type() string { return f.kind }
func (f flagValue[T]) Set(text string) error {
	v, err := f.parse(text)
	if err == nil {
		*f.target = v
	}
	return err
}

// expandHome puts the home folder in the place of ~ in paths, as shells do where it is not behind a =.
func expandHome(cmd *cobra.Command) {
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
		if f.Name == "prompt" || f.Name == "negative" {
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

// refuseEmpty refuses texts that were given as nothing, as a shell's unset variable is: a flag would do as if it
// weren't there.
func refuseEmpty(cmd *cobra.Command) (err error) {
	mayBe := []string{"negative", "variant"}
	cmd.Flags().Visit(func(f *pflag.Flag) {
		if f.Value.Type() == "string" && f.Value.String() == "" && !slices.Contains(mayBe, f.Name) {
			err = usagef("--%s: expected a value, found nothing", f.Name)
		}
	})
	return err
}

// intFlag adds a whole-number flag with a smallest and a largest value.
func intFlag(cmd *cobra.Command, target *int, name string, value, low, high int, usage string) {
	*target = value
	cmd.Flags().Var(flagValue[int]{target, "int", parseInt(low, high), strconv.Itoa}, name, usage)
}

// seedFlag adds --seed.
func seedFlag(cmd *cobra.Command, target *uint64, usage string) {
	cmd.Flags().Var(flagValue[uint64]{target, "int", parseSeed,
		func(v uint64) string { return strconv.FormatUint(v, 10) }}, "seed", usage)
}

// pointerFlag adds a flag whose value is nil where it is not given.
func pointerFlag[T any](cmd *cobra.Command, target **T, name, kind, usage string, parse func(string) (T, error)) {
	cmd.Flags().Var(flagValue[*T]{target, kind, func(s string) (*T, error) {
		v, err := parse(s)
		return &v, err
	}, func(v *T) string {
		if v == nil {
			return ""
		}
		return fmt.Sprint(*v)
	}}, name, usage)
}

func parseInt(low, high int) func(string) (int, error) {
	return func(s string) (int, error) {
		v, err := strconv.Atoi(s)
		if err != nil || v < low || v > high {
			return 0, expected(fmt.Sprintf("a whole number from %d to %d", low, high))
		}
		return v, nil
	}
}

func parseFloat(low, high float64) func(string) (float64, error) {
	return func(s string) (float64, error) {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil || !(v >= low && v <= high) {
			return 0, expected(fmt.Sprintf("a number from %g to %g", low, high))
		}
		return v, nil
	}
}

func parseSeed(s string) (uint64, error) {
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, expected(fmt.Sprintf("a whole number from 0 to %d", uint64(math.MaxUint64)))
	}
	return v, nil
}

// floatFlag adds a number with a smallest and a largest value.
func floatFlag(cmd *cobra.Command, target *float64, name string, value, low, high float64, usage string) {
	*target = value
	cmd.Flags().Var(flagValue[float64]{target, "float", parseFloat(low, high), formatFloat}, name, usage)
}

// choiceFlag adds a flag that takes one of a few words, which the shell
// completes.
func choiceFlag(cmd *cobra.Command, target *string, name, value, usage string, choices ...string) {
	*target = value
	want := expected(alternatives(choices))
	kind := strings.Join(choices, "|")
	if len(kind) > 24 {
		kind, usage = "name", usage+"; one of "+strings.Join(choices, ", ")
	}
	cmd.Flags().Var(flagValue[string]{target, kind, func(s string) (string, error) {
		if !slices.Contains(choices, s) {
			return "", want
		}
		return s, nil
	}, func(s string) string { return s }}, name, usage)
	complete(cmd, name, choices...)
}

// listFlag adds a flag that takes values with commas between them, at least one, each once. Given again, it takes more
// of them.
func listFlag[T any](cmd *cobra.Command, target *[]T, name, kind string, want expected, parse func(string) (T, bool),
	show func(T) string, usage string) {
	seen := map[string]bool{}
	var list []T // not target, which has the default
	cmd.Flags().Var(flagValue[[]T]{target, kind, func(s string) ([]T, error) {
		for word := range strings.SplitSeq(s, ",") {
			v, ok := parse(strings.TrimSpace(word))
			if !ok {
				return nil, want
			}
			if seen[show(v)] {
				return nil, want + ", each once"
			}
			seen[show(v)] = true
			list = append(list, v)
		}
		return list, nil
	}, func(list []T) string {
		var words []string
		for _, v := range list {
			words = append(words, show(v))
		}
		return strings.Join(words, ",")
	}}, name, usage)
}

// complete offers fixed values for a flag.
func complete(cmd *cobra.Command, flag string, values ...string) {
	err := cmd.RegisterFlagCompletionFunc(flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
	if err != nil {
		panic(err) // the flag's name is misspelt in the program
	}
}

func completeFolder(cmd *cobra.Command, flag string) {
	if err := cmd.MarkFlagDirname(flag); err != nil {
		panic(err)
	}
}

// alternatives writes "a, b or c".
func alternatives(words []string) string {
	if len(words) < 2 {
		return strings.Join(words, "")
	}
	last := len(words) - 1
	return strings.Join(words[:last], ", ") + " or " + words[last]
}

// noArgs refuses positional arguments with a word on what was found.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	return usagef("%s takes no arguments, found %q", cmd.CommandPath(), strings.Join(args, " "))
}
