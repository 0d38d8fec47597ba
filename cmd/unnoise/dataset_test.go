package main

import (
	"image"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestDatasetShow(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"a", "b"} {
		f, err := os.Create(filepath.Join(dir, name+".png"))
		if err != nil {
			t.Fatal(err)
		}
		if err := png.Encode(f, image.NewGray(image.Rect(0, 0, 9, 7))); err != nil {
			t.Fatal(err)
		}
		f.Close()
		if err := os.WriteFile(filepath.Join(dir, name+".txt"), []byte("nothing but black"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	out := filepath.Join(t.TempDir(), "sheet.png")
	r := succeed(t, "dataset", "show", dir, "--out", out, "--count", "5", "--size", "64")
	if want := "5 examples: " + out + "\n"; r.stdout != want {
		t.Errorf("expected %q, found %q", want, r.stdout)
	}
	f, err := os.Open(out)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if c, err := png.DecodeConfig(f); err != nil || c.Width < 5*128 {
		t.Errorf("the sheet: %+v, %v", c, err)
	}
	for want, args := range map[string][]string{
		"holds nothing out":                 {"dataset", "show", dir, "--out", out, "--held-out"},
		"expected a new or an empty folder": {"dataset", "emoji", "--out", dir},
	} {
		if r := unnoise(t, args...); r.code != exitFailure || !strings.Contains(r.stderr, want) {
			t.Errorf("%v: exit code %d, %q, expected %q", args, r.code, r.stderr, want)
		}
	}
	if r := unnoise(t, "dataset", "show"); r.code != exitUsage {
		t.Errorf("without a folder: exit code %d, %q", r.code, r.stderr)
	}
}
