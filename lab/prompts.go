package lab

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/unnoise/unnoise/internal/otherfile"
	"github.com/unnoise/unnoise/model"
)

// Job is one of several drawings: a completed request, and where its files go.
type Job struct {
	Request Request
	Output  Output
}

// Jobs makes a job of each prompt, with files of its own that are named by it, and leaves out those whose files are
// there with the same recipe. A seed that r has not may be any. All are checked.
func (l *Lab) Jobs(r Request, o Output, prompts []string) (jobs []Job, err error) {
	names := map[string]bool{}
	for _, prompt := range prompts {
		one := r
		one.Prompts, one.Order = []string{prompt}, ""
		outline, err := l.Complete(one)
		if err != nil {
			return nil, err
		}
		if err := o.Check(outline); err != nil {
			return nil, err
		}
		j := Job{outline.Request, o.Named(nameOf(prompt, names))}
		there, err := j.done(r.Seed == nil)
		if err != nil {
			return nil, &model.FieldError{Field: "prompts_file", Err: err}
		}
		if !there {
			jobs = append(jobs, j)
		}
	}
	return jobs, nil
}

// done reports whether all of a job's files are there, with its recipe but perhaps for the seed.
func (j Job) done(anySeed bool) (bool, error) {
	all := true
	for _, path := range j.Output.Files {
		found, err := ReadRecipe(path)
		if errors.Is(err, fs.ErrNotExist) {
			all = false
			continue
		}
		if err != nil {
			return false, &FileError{fmt.Errorf("%w; move it away, or give another --out", err)}
		}
		if anySeed {
			found.Seed = j.Request.Seed
		}
		a, errA := found.JSON()
		b, errB := j.Request.JSON()
		if err := errors.Join(errA, errB); err != nil {
			return false, err
		}
		if !bytes.Equal(a, b) {
			return false, fmt.Errorf("%s is there with another recipe; move it away, or give another --out", path)
		}
	}
	return all, nil
}

// ReadPrompts reads a file with a prompt on each line, each once.
func ReadPrompts(path string) (prompts []string, err error) {
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
		if line = strings.TrimSpace(line); line != "" && !slices.Contains(prompts, line) {
			prompts = append(prompts, line)
		}
	}
	if len(prompts) == 0 {
		return nil, fmt.Errorf("%s has no line with a prompt", path)
	}
	return prompts, nil
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
