package main

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/pretrained"
)

// Without --model, the program's own cascade draws, and its second stage makes the images larger.
func TestEmoji(t *testing.T) {
	if !pretrained.Has(pretrained.Emoji) {
		t.Skip("this program was built without it")
	}
	ownCache(t)
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	type report struct {
		Width   int
		Request lab.Request
	}
	run := func(args ...string) (r report) {
		decode(t, succeed(t, append(args, "--json")...).stdout, &r)
		return r
	}
	rocket := path("rocket.png")
	r := run("generate", "--prompt", "a rocket", "--seed", "1", "--steps", "2", "--upscale-steps", "2", "--out", rocket)
	if u := r.Request.Upscale; r.Width != 128 || r.Request.Model != pretrained.Emoji || u == nil ||
		u.Model != pretrained.EmojiLarge {
		t.Errorf("%d pixels of %+v, want 128 by the program's own cascade", r.Width, r.Request)
	}
	succeed(t, "again", rocket, "--out", path("again.png"))
	if !bytes.Equal(read(t, rocket), read(t, path("again.png"))) {
		t.Error("again is another picture")
	}
	small := run("again", rocket, "--upscale", "none", "--out", path("small.png"))
	if small.Width != 32 {
		t.Errorf("without a second stage the image has %d pixels, want 32", small.Width)
	}
	for name, args := range map[string][]string{
		"edit":    {"edit", "cat", "--prompt", "a cat", "--start", "1"},
		"inpaint": {"inpaint", rocket, "--prompt", "a rocket", "--box", "0,0,50%,100%"},
		"anagram": {"anagram", "--view", "identity=a cat", "--view", "rotate_180=a dog", "--perform", "none"},
		"hybrid":  {"hybrid", "--band", "low_pass=a cat", "--band", "high_pass=a dog", "--perform", "none"},
	} {
		if r := run(append(args, "--seed", "1", "--steps", "2", "--upscale-steps", "2", "--out",
			path(name+".png"))...); r.Width != 128 {
			t.Errorf("%s: %d pixels, want 128", name, r.Width)
		}
	}
	if r := run("generate", "--prompt", "a cat", "--steps", "2", "--animate", path("cat.gif"), "--out",
		path("cat.png")); r.Width != 32 {
		t.Errorf("with an animation the image has %d pixels, want those of the stage that it shows", r.Width)
	}

	succeed(t, "model", "export", "emoji", "--out", path("cascade"))
	r = run("generate", "--model", path("cascade/stage1"), "--upscale", path("cascade/stage2"), "--prompt", "a rocket",
		"--seed", "1", "--steps", "2", "--upscale-steps", "2", "--out", path("exported.png"))
	if r.Width != 128 {
		t.Errorf("the exported cascade draws %d pixels, want 128", r.Width)
	}
	if _, err := os.Stat(path("cascade/stage2/NOTICE.md")); err != nil {
		t.Error(err)
	}
	for _, model := range []string{pretrained.Emoji, pretrained.EmojiLarge} {
		if out := succeed(t, "model", "info", model).stdout; !strings.Contains(out, "steps") {
			t.Errorf("model info %s says nothing of its training: %q", model, out)
		}
	}
}
