package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/lab"
)

// A file of prompts is drawn line by line, and goes on where it was stopped.
func TestPrompts(t *testing.T) {
	dir := t.TempDir()
	list := filepath.Join(dir, "list.txt")
	write := func(text string) {
		if err := os.WriteFile(list, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	write("3\n\n 8 \r\n3\n")
	args := []string{"generate", "--model", "mnist-class",
		"--prompts", list, "--steps", "2", "--out", filepath.Join(dir, "night.png"), "--out",
		filepath.Join(dir, "night.safetensors")}
	succeed(t, args...)
	picture := func(name string) []byte {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	three := picture("night-3.png")
	picture("night-8.safetensors")

	if err := os.Remove(filepath.Join(dir, "night-8.png")); err != nil {
		t.Fatal(err)
	}
	write("5\n3\n8\n")
	if r := succeed(t, args...); !strings.Contains(r.stderr, "1 of 3 prompts are there already") {
		t.Errorf("going on: %q", r.stderr)
	}
	if !slices.Equal(picture("night-3.png"), three) {
		t.Error("a picture that was there was drawn again")
	}
	picture("night-8.png")
	picture("night-5.png")

	if r := unnoise(t, append(args, "--steps", "3")...); r.code != exitUsage ||
		!strings.Contains(r.stderr, "is there with another recipe") {
		t.Errorf("other steps: exit code %d, %q", r.code, r.stderr)
	}
	write("5\nx\n")
	if r := unnoise(t, args...); r.code != exitUsage || !strings.Contains(r.stderr, `found "x"`) {
		t.Errorf("a wrong line: exit code %d, %q", r.code, r.stderr)
	}
	for want, more := range map[string][]string{
		"--prompts can't be given with --prompt": {"generate", "--model", "mnist-class",
			"--prompts", list, "--prompt", "3"},
		"--prompts has no meaning with illusions": {"anagram", "--model", "mnist-class",
			"--prompts", list, "--view", "identity=3", "--view",
			"flip=3"},
	} {
		if r := unnoise(t, more...); r.code != exitUsage || !strings.Contains(r.stderr, want) {
			t.Errorf("%v: exit code %d, %q", more, r.code, r.stderr)
		}
	}
}

// The process on a picture: rows, values, and mistakes.
func TestStrips(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	var report struct {
		Images  int
		Request struct{ Strip struct{ At []string } }
	}
	decode(t, succeed(t, "noise", "cat", "--at", "50%,299", "--show", "x_t,epsilon", "--out", path("n.png"),
		"--json").stdout, &report)
	if report.Images != 6 || !slices.Equal(report.Request.Strip.At, []string{"149", "299"}) {
		t.Errorf("noise: %+v", report)
	}
	decode(t, succeed(t, "denoise", "cat", "--at", "200", "--steps", "6", "--every", "2", "--previews", "2",
		"--animate", path("d.gif"), "--out", path("d.png"), "--json").stdout, &report)
	if report.Images != 7 {
		t.Errorf("denoise: %+v", report)
	}
	succeed(t, "again", path("d.png"), "--out", path("again.png"))
	succeed(t, "edit", "cat", "--model", "mnist-class",
		"--prompt", "3", "--steps", "4", "--start", "1,2", "--out", path("e.png"))
	for want, args := range map[string][]string{
		"--at: the process has no time 300": {"noise", "cat", "--at", "300"},
		"--at: there is no noise at 0%":     {"denoise", "cat", "--at", "0%"},
		"--animate: it shows one way from noise": {"denoise", "cat", "--animate", path("x.gif"), "--out",
			path("x.png")},
		"--at needs a picture":                  {"denoise", "--at", "50%"},
		"--sigma has no meaning with a picture": {"denoise", "cat", "--sigma", "0.4"},
		"--show: the forward process has no x0": {"noise", "cat", "--show", "x0"},
		"--show: expected some of":              {"denoise", "cat", "--show", "x1"},
		"--start can't be given with --strength": {"edit", "cat", "--model", "mnist-class",
			"--start", "1", "--strength", "0.5,0.6"},
		"--start: expected 0 to 3": {"edit", "cat", "--model", "mnist-class", "--prompt", "3", "--steps", "4",
			"--start", "4"},
		"--box: the mask selects the whole": {"inpaint", "cat", "--model", "mnist-class", "--box", "0,0,100%,100%"},
		"--view: ": {"anagram", "--model", "mnist-class", "--view", "identity=3", "--view",
			"rotate_7=3"},
		"--combine: parts that alternate have no weights": {"anagram", "--model", "mnist-class",
			"--view", "identity=3", "--view", "flip=3",
			"--combine", "alternate", "--weights", "1,2"},
		"--weights: all of them are 0 at one end of the path": {"anagram", "--model", "mnist-class",
			"--view", "identity=3", "--view", "flip=3",
			"--weights-end", "0,0"},
	} {
		if r := unnoise(t, args...); r.code != exitUsage || !strings.Contains(r.stderr, want) {
			t.Errorf("%v: exit code %d, %q; want %q", args, r.code, r.stderr, want)
		}
	}
}

// Another seed draws other candidates from a recipe that tells the best of before.
func TestAgainOtherCandidates(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	succeed(t, "anagram", "--model", "mnist-class",
		"--view", "identity=6", "--view", "rotate_180=9", "--steps", "2", "--candidates", "2",
		"--refine", "0", "--keep", "2", "--seed", "1", "--perform", "none", "--out", path("a.png"))
	succeed(t, "again", path("a.png"), "--seed", "7", "--out", path("b.png"))
	succeed(t, "again", path("a.png"), "--candidates", "3", "--out", path("c.png"))
	if r := unnoise(t, "again", path("a.png"), "--start", "1", "--out", path("d.png")); r.code != exitUsage {
		t.Errorf("again with --start of what is no edit: exit code %d, %s", r.code, r.stderr)
	}
	for name, want := range map[string][]uint64{"a.png": {1, 2}, "b.png": {7, 8}, "c.png": {1, 2, 3}} {
		r, err := lab.ReadRecipe(path(name))
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(r.Illusion.Seeds)
		if !slices.Equal(r.Illusion.Seeds, want) {
			t.Errorf("%s: the candidates' seeds are %d, want %d", name, r.Illusion.Seeds, want)
		}
	}
}
