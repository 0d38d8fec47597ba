package cli

import (
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
)

// value is a flag whose text is checked while the command line is parsed.
type value[T any] struct {
	target *T
	kind   string // as --help shows it
	parse  func(string) (T, error)
	show   func(T) string
}

func (f value[T]) String() string {
	if f.target == nil {
		return ""
	}
	return f.show(*f.target)
}
func (f value[T]) Type() string { return f.kind }
func (f value[T]) Set(text string) error {
	v, err := f.parse(text)
	if err == nil {
		*f.target = v
	}
	return err
}

// Int adds a whole number with a smallest and a largest value.
func Int(cmd *cobra.Command, target *int, name string, preset, low, high int, usage string) {
	*target = preset
	cmd.Flags().Var(value[int]{target, "int", ParseInt(low, high), strconv.Itoa}, name, usage)
}

// Float adds a number with a smallest and a largest value.
func Float(cmd *cobra.Command, target *float64, name string, preset, low, high float64, usage string) {
	*target = preset
	cmd.Flags().Var(value[float64]{target, "float", ParseFloat(low, high), FormatFloat}, name, usage)
}

// Seed adds --seed.
func Seed(cmd *cobra.Command, target *uint64, usage string) {
	show := func(v uint64) string { return strconv.FormatUint(v, 10) }
	cmd.Flags().Var(value[uint64]{target, "int", ParseSeed, show}, "seed", usage)
}

// Pointer adds a flag whose value is nil where it is not given.
func Pointer[T any](cmd *cobra.Command, target **T, name, kind, usage string, parse func(string) (T, error)) {
	cmd.Flags().Var(value[*T]{target, kind, func(s string) (*T, error) {
		v, err := parse(s)
		return &v, err
	}, func(v *T) string {
		if v == nil {
			return ""
		}
		return fmt.Sprint(*v)
	}}, name, usage)
}

// ParseInt reads a whole number within bounds.
func ParseInt(low, high int) func(string) (int, error) {
	return func(s string) (int, error) {
		v, err := strconv.Atoi(s)
		if err != nil || v < low || v > high {
			return 0, Expected(fmt.Sprintf("a whole number from %d to %d", low, high))
		}
		return v, nil
	}
}

// ParseFloat reads a number within bounds.
func ParseFloat(low, high float64) func(string) (float64, error) {
	return func(s string) (float64, error) {
		v, err := strconv.ParseFloat(s, 64)
		if err != nil || !(v >= low && v <= high) {
			return 0, Expected(fmt.Sprintf("a number from %g to %g", low, high))
		}
		return v, nil
	}
}

// ParseSeed reads a seed.
func ParseSeed(s string) (uint64, error) {
	v, err := strconv.ParseUint(s, 10, 64)
	if err != nil {
		return 0, Expected(fmt.Sprintf("a whole number from 0 to %d", uint64(math.MaxUint64)))
	}
	return v, nil
}

// FormatFloat writes a number as short as it can be read back.
func FormatFloat(v float64) string { return strconv.FormatFloat(v, 'g', -1, 64) }

// Choice adds a flag that takes one of a few words, which the shell completes.
func Choice(cmd *cobra.Command, target *string, name, preset, usage string, choices ...string) {
	*target = preset
	kind := strings.Join(choices, "|")
	if len(kind) > 24 {
		kind, usage = "name", usage+"; one of "+strings.Join(choices, ", ")
	}
	cmd.Flags().Var(value[string]{target, kind, func(s string) (string, error) {
		if !slices.Contains(choices, s) {
			return "", Expected(Alternatives(choices))
		}
		return s, nil
	}, func(s string) string { return s }}, name, usage)
	Complete(cmd, name, choices...)
}

// List adds a flag that takes values with commas between them, at least one, each once. Given again, it takes more of
// them.
func List[T any](cmd *cobra.Command, target *[]T, name, kind string, want Expected, parse func(string) (T, bool),
	show func(T) string, usage string) {
	seen := map[string]bool{}
	var list []T // not target, which has the default
	cmd.Flags().Var(value[[]T]{target, kind, func(s string) ([]T, error) {
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

// Numbers adds a List of numbers.
func Numbers(cmd *cobra.Command, target *[]float64, name, kind string, want Expected, in func(float64) bool,
	usage string) {
	List(cmd, target, name, kind, want, func(s string) (float64, bool) {
		v, err := strconv.ParseFloat(s, 64)
		return v, err == nil && in(v)
	}, FormatFloat, usage)
}

// Each adds a flag that may be given several times, with one value each time.
func Each[T any](cmd *cobra.Command, target *[]T, name, kind, usage string, parse func(string) (T, error)) {
	cmd.Flags().Var(value[[]T]{target, kind, func(s string) ([]T, error) {
		v, err := parse(s)
		return append(*target, v), err
	}, func([]T) string { return "" }}, name, usage)
}

// Folder adds a folder, which the shell completes.
func Folder(cmd *cobra.Command, target *string, name, preset, usage string) {
	cmd.Flags().StringVar(target, name, preset, usage)
	must(cmd.MarkFlagDirname(name))
}

// Complete offers fixed values for a flag.
func Complete(cmd *cobra.Command, flag string, values ...string) {
	CompleteBy(cmd, flag, cobra.FixedCompletions(values, cobra.ShellCompDirectiveNoFileComp))
}

// CompleteBy completes a flag by a function.
func CompleteBy(cmd *cobra.Command, flag string, by cobra.CompletionFunc) {
	must(cmd.RegisterFlagCompletionFunc(flag, by))
}

// Hide leaves flags out of --help.
func Hide(cmd *cobra.Command, flags ...string) {
	for _, name := range flags {
		cmd.Flags().Lookup(name).Hidden = true
	}
}

// must panics where a flag's name is misspelt in the program.
func must(err error) {
	if err != nil {
		panic(err)
	}
}
