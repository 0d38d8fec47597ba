package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/internal/memory"
	"github.com/unnoise/unnoise/internal/otherfile"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/weights"
)

// runPrompts draws every prompt of a file. All are checked before the first is drawn.
func (f *drawFlags) runPrompts(cmd *cobra.Command) error {
	prompts, err := readLines(f.prompts)
	if err != nil {
		return fmt.Errorf("--prompts: %w", err)
	}
	memory.Save()
	l := lab.New(lab.Options{Backend: f.other(), Threads: f.threads, NoCache: f.noCache})
	defer l.Close()
	var todo []*drawFlags
	var requests []lab.Request
	names := map[string]bool{}
	for _, prompt := range prompts {
		one := *f
		one.request.Prompts, one.request.Order = []string{prompt}, ""
		o, err := l.Complete(one.request)
		if err != nil {
			return err
		}
		if err := one.fits(o); err != nil {
			return err
		}
		one.rename(nameOf(prompt, names))
		there, err := one.drawn(o.Request)
		if err != nil {
			return err
		}
		if !there {
			todo, requests = append(todo, &one), append(requests, o.Request)
		}
	}
	if skipped := len(prompts) - len(todo); skipped > 0 {
		fmt.Fprintf(cmd.ErrOrStderr(), "%d of %s are there already\n", skipped, counted(len(prompts), "prompt"))
	}
	p := newProgress(cmd.ErrOrStderr())
	if err := l.Encode(cmd.Context(), requests, func(part string, done, total int) {
		p.loading(part)(done,
			total)
	}); err != nil {
		return err
	}
	p.clear()
	for _, one := range todo {
		if cause := context.Cause(cmd.Context()); cause != nil {
			return fmt.Errorf("stopped by %w", cause)
		}
		if err := one.draw(cmd, l); err != nil {
			return err
		}
	}
	return nil
}

// readLines reads a file's lines that are not empty, each once.
func readLines(path string) (lines []string, err error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	none := errors.New("it is no text in UTF-8")
	if why := otherfile.Explain(text, none); why != none || !utf8.Valid(text) || bytes.IndexByte(text, 0) >= 0 {
		return nil, fmt.Errorf("%s: %w", path, why)
	}
	for line := range strings.Lines(string(text)) {
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(lines, line) {
			lines = append(lines, line)
		}
	}
	if len(lines) == 0 {
		return nil, fmt.Errorf("%s has no line with a prompt", path)
	}
	return lines, nil
}

// nameOf makes a part of a file name of a prompt, unlike those that are taken.
func nameOf(prompt string, taken map[string]bool) string {
	const most = 48
	var words strings.Builder
	n := 0
	for _, r := range strings.ToLower(prompt) {
		switch {
		case n >= most:
		case unicode.IsLetter(r) || unicode.IsDigit(r):
			words.WriteRune(r)
			n++
		case !strings.HasSuffix(words.String(), "-"):
			words.WriteRune('-')
			n++
		}
	}
	name := strings.Trim(words.String(), "-")
	if name == "" || taken[name] {
		sum := sha256.Sum256([]byte(prompt))
		name = strings.TrimPrefix(fmt.Sprintf("%s-%x", name, sum[:4]), "-")
	}
	taken[name] = true
	return name
}

// rename puts a name into those of all files that are written.
func (f *drawFlags) rename(name string) {
	with := func(path string) string {
		ending := filepath.Ext(path)
		return strings.TrimSuffix(path, ending) + "-" + name + ending
	}
	f.out = slices.Clone(f.out)
	for i, path := range f.out {
		f.out[i] = with(path)
	}
	if f.animate != "" {
		f.animate = with(f.animate)
	}
}

// drawn reports whether all files are there with the recipe of a completed request. A seed that was not given may be
// any.
func (f *drawFlags) drawn(want lab.Request) (bool, error) {
	all := true
	for _, path := range f.out {
		found, err := recipeIn(path)
		if errors.Is(err, fs.ErrNotExist) {
			all = false
			continue
		}
		if err != nil {
			return false, fmt.Errorf("--prompts: %w; move it away, or give another --out", err)
		}
		if f.request.Seed == nil {
			found.Seed = want.Seed
		}
		a, errA := found.JSON()
		b, errB := want.JSON()
		if err := errors.Join(errA, errB); err != nil {
			return false, err
		}
		if !bytes.Equal(a, b) {
			return false, usagef("--prompts: %s is there with another recipe; move it away, or give another --out",
				path)
		}
	}
	return all, nil
}

// recipeIn reads the recipe of a picture or of raw numbers.
func recipeIn(path string) (lab.Request, error) {
	if !lab.IsRaw(path) {
		if _, err := os.Stat(path); err != nil {
			return lab.Request{}, err
		}
		return lab.ReadRecipe(path)
	}
	file, err := weights.Open(path)
	if err != nil {
		return lab.Request{}, err
	}
	defer file.Close()
	r, err := lab.ParseRequest([]byte(file.Metadata()[lab.RecipeKey]))
	if err != nil {
		return r, fmt.Errorf("%s: %w", path, err)
	}
	return r, nil
}
