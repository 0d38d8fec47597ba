package main

import (
	"encoding/json"
	"image/gif"
	"image/png"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/illusion"
)

func TestViewsVerb(t *testing.T) {
	list := succeed(t, "views").stdout
	var listed struct{ Views, Bands []struct{ Name string } }
	if err := json.Unmarshal([]byte(succeed(t, "views", "--json").stdout), &listed); err != nil {
		t.Fatal(err)
	}
	if len(listed.Views) != len(illusion.Views()) || len(listed.Bands) != len(illusion.Bands()) {
		t.Errorf("%d views and %d bands are listed", len(listed.Views), len(listed.Bands))
	}
	for _, k := range append(illusion.Views(), illusion.Bands()...) {
		if !strings.Contains(list, k.Usage()+" ") || !strings.Contains(list, k.Text) {
			t.Errorf("%s is not listed", k.Name)
		}
	}
	dir := t.TempDir()
	other := filepath.Join(dir, "other.png")
	for _, c := range []struct {
		flags []string
		out   string
	}{
		{nil, "views.png"}, {[]string{"--ways"}, "ways.png"},
		{[]string{"--perform", "jigsaw:3+negate", "--frames", "3"}, "jigsaw.gif"},
		{[]string{"--perform", "low_pass", "--frames", "3"}, "away.png"},
	} {
		out := filepath.Join(dir, c.out)
		succeed(t, append([]string{"views", "cat", "--side", "32", "--out", out}, c.flags...)...)
		f, err := os.Open(out)
		if err != nil {
			t.Fatal(err)
		}
		if filepath.Ext(out) == ".gif" {
			if g, err := gif.DecodeAll(f); err != nil || len(g.Image) != 4 {
				t.Errorf("%s: %v", out, err)
			}
		} else if _, err := png.Decode(f); err != nil {
			t.Errorf("%s: %v", out, err)
		}
		f.Close()
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"views", "--ways"}, "--ways needs a picture"},
		{[]string{"views", "cat", "--perform", "twist"}, `--perform: the view "twist" is unknown`},
		{[]string{"views", "cat", "--perform", "low_pass:x"}, `--perform: the band "low_pass:x"`},
		{[]string{"views", "cat", "--out", "x.jpg"}, "--out: expected a file name that ends with .png"},
		{[]string{"views", "cat", "--side", "30", "--perform", "jigsaw", "--out", other}, "whose side 4 divides"},
	} {
		if r := unnoise(t, c.args...); r.code != exitUsage || !strings.Contains(r.stderr, c.want) {
			t.Errorf("%q: exit %d, %s", c.args, r.code, r.stderr)
		}
	}
}
