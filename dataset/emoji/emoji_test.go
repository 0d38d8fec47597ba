package emoji

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"image"
	"image/color"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/dataset/captioned"
)

// unpackedPackages makes a folder with what the set takes from the packages, for a few concepts.
func unpackedPackages(t testing.TB) string {
	dir := t.TempDir()
	put := func(p pkg, path string, v any) {
		file := filepath.Join(dir, filepath.FromSlash(p.name), filepath.FromSlash(path))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	type entry = map[string]any
	var list []entry
	icons, chars := entry{}, entry{}
	add := func(hex, label string, group, subgroup int) {
		list = append(list, entry{
			"label": label, "hexcode": hex, "emoji": hex, "tags": []string{"tag"},
			"group": group, "subgroup": subgroup, "order": len(list),
		})
		chars[strings.ToLower(hex)] = label
		icons[label] = entry{"body": label}
	}
	labels := []string{
		"dog face", "cat", "rocket", "red apple", "house", "sun", "fish", "star", "bus", "robot", "grapes", "tulip",
		"fire",
	}
	for i, label := range labels {
		add(fmt.Sprintf("1F%03X", i), label, 0, 0)
	}
	add("2122", "trade mark", 1, 0)
	add("1F46A", "family: man, boy", 0, 1)
	add("1F5FF", "odd thing", 0, 0)
	icons["cat-parent"] = icons["cat"]
	delete(icons, "cat")
	for _, p := range packages {
		put(p, "package.json", entry{"version": p.version})
	}
	put(emojibase, "en/data.json", list)
	put(emojibase, "meta/groups.json", entry{
		"groups": entry{"0": "objects", "1": "symbols"}, "subgroups": entry{"0": "tool", "1": "family"},
	})
	put(emojilib, "dist/emoji-en-US.json", entry{"1F000": []string{"dog_face", "pet", "1st"}})
	for _, p := range []pkg{noto, twemoji, fluentFlat} {
		put(p, "chars.json", chars)
		put(p, "icons.json", entry{
			"icons": icons, "aliases": entry{"cat": entry{"parent": "cat-parent", "hFlip": true}}, "width": 32,
			"height": 32,
		})
	}
	return dir
}

// fakeSVG draws a red oval for each picture, with a white dot on its left.
func fakeSVG(_ context.Context, _ string, width int, svgs []string) (drawn []*image.RGBA, err error) {
	for range svgs {
		m := image.NewRGBA(image.Rect(0, 0, width, width))
		for y := range width {
			for x := range width {
				dx, dy := float64(x)/float64(width)-0.5, float64(y)/float64(width)-0.5
				switch {
				case math.Hypot(dx+0.2, dy) < 0.05:
					m.Set(x, y, color.White)
				case math.Hypot(dx, 1.5*dy) < 0.4:
					m.Set(x, y, color.RGBA{220, 30, 40, 255})
				}
			}
		}
		drawn = append(drawn, m)
	}
	return drawn, nil
}

func build(t testing.TB) string {
	dir := filepath.Join(t.TempDir(), "made", "emoji")
	b := Builder{Dir: dir, From: unpackedPackages(t), svg: fakeSVG}
	if _, err := b.Build(t.Context()); err != nil {
		t.Fatal(err)
	}
	return dir
}

func open(t testing.TB) *Set {
	s, err := Open(build(t))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestBuild(t *testing.T) {
	dir := build(t)
	if !Is(dir) || Is(t.TempDir()) {
		t.Error("Is: expected true for the set only")
	}
	s, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	byLabel := map[string]Picture{}
	for _, p := range s.Pictures() {
		byLabel[p.Label] = p
	}
	if len(s.Pictures()) != 3*14 || len(byLabel) != 14 {
		t.Errorf("expected 14 concepts in three styles, found %d pictures of %d", len(s.Pictures()), len(byLabel))
	}
	dog := byLabel["dog face"]
	if dog.Name != "dog" || dog.Names[2] != "puppy" || dog.Weight != favoriteWeight || dog.Color != "red" ||
		dog.Tint[0] == 0 || strings.Join(dog.Keywords, ",") != "tag,pet" {
		t.Errorf("dog: %+v", dog)
	}
	if odd := byLabel["odd thing"]; odd.Name != "odd thing" || odd.Weight != seldomWeight {
		t.Errorf("odd thing: %+v", odd)
	}
	m, err := s.load(0)
	if err != nil {
		t.Fatal(err)
	}
	if m.Rect.Dx() != pixels || m.Rect.Dy() > pixels*3/4 {
		t.Errorf("expected a picture cut to its outline, found %v", m.Rect)
	}
	notice, err := os.ReadFile(filepath.Join(dir, "NOTICE.md"))
	if err != nil || !strings.Contains(string(notice), "CC-BY-4.0") {
		t.Errorf("NOTICE.md: %s, %v", notice, err)
	}
	// Any reader of such folders understands it.
	train, _, err := captioned.Open(dir)
	if err != nil || train.Len() != s.Len() {
		t.Errorf("as any folder: %v", err)
	}
	if _, err := (Builder{Dir: dir, svg: fakeSVG}).Build(t.Context()); err == nil ||
		!strings.Contains(err.Error(), dir) {
		t.Errorf("a folder that is there: %v", err)
	}
	from := unpackedPackages(t)
	if err := os.RemoveAll(filepath.Join(from, "emojilib")); err != nil {
		t.Fatal(err)
	}
	into := filepath.Join(t.TempDir(), "none")
	_, err = Builder{Dir: into, From: from, svg: fakeSVG}.Build(t.Context())
	if err == nil || !strings.Contains(err.Error(), "emojilib") {
		t.Errorf("a package that is missing: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(into), "*")); len(left) > 0 {
		t.Errorf("expected nothing left after an error, found %v", left)
	}
}

func TestPackageIsChecked(t *testing.T) {
	if err := resvg.check([]byte("not it")); err == nil || !strings.Contains(err.Error(), "integrity") {
		t.Errorf("a wrong archive: %v", err)
	}
	t.Setenv("XDG_CACHE_HOME", t.TempDir())
	t.Setenv("PATH", t.TempDir())
	if _, err := resvg.fetch(t.Context()); err == nil || !strings.Contains(err.Error(), "npm") {
		t.Errorf("without npm: %v", err)
	}
	if _, err := rasterize(t.Context(), "", 8, nil); err == nil || !strings.Contains(err.Error(), "node") {
		t.Errorf("without node: %v", err)
	}
}

func TestExamples(t *testing.T) {
	s := open(t)
	second, err := Open(s.dir)
	if err != nil {
		t.Fatal(err)
	}
	kinds := map[string]int{}
	for i := range 3000 {
		e, err := s.At(7, i, 32)
		if err != nil {
			t.Fatal(err)
		}
		if e.Image.Rect != image.Rect(0, 0, 32, 32) || e.Caption == "" || strings.Contains(e.Caption, "~") ||
			strings.Contains(e.Caption, "  ") {
			t.Fatalf("example %d: %q, %v", i, e.Caption, e.Image.Rect)
		}
		for p := 3; p < len(e.Image.Pix); p += 4 {
			if e.Image.Pix[p] != 255 {
				t.Fatalf("example %d is not opaque", i)
			}
		}
		if e.Mirror && (strings.Contains(e.Caption, "left") || strings.Contains(e.Caption, "right")) {
			t.Errorf("%q may not be mirrored", e.Caption)
		}
		for _, word := range []string{" background", "two ", "small ", " and ", "blue ", " style", " on the left"} {
			if strings.Contains(e.Caption, word) {
				kinds[word]++
			}
		}
		if c, _ := s.Caption(7, i); c != e.Caption {
			t.Fatalf("captions %q and %q", c, e.Caption)
		}
		if i%100 == 99 { // without those before
			again, err := second.At(7, i, 32)
			if err != nil || !bytes.Equal(again.Image.Pix, e.Image.Pix) || again.Caption != e.Caption {
				t.Fatalf("example %d differs the second time: %q, %q, %v", i, e.Caption, again.Caption, err)
			}
		}
	}
	if len(kinds) != 7 {
		t.Errorf("expected all kinds of captions, found %v", kinds)
	}
}

func TestHeldOutIsNeverDrawn(t *testing.T) {
	s := open(t)
	for i := range 4000 {
		c := s.scene(1, i)
		p := s.pictures[c.things[0].picture]
		for _, t0 := range c.things {
			if q := s.pictures[t0.picture]; q.Split != "train" || styleHeldOut(q.Name) == q.Style {
				t.Fatalf("%q draws %s in %s", c.caption, q.Name, q.Style)
			}
			if t0.color != nil && colorHeldOut(p.Name, t0.color.word) {
				t.Fatalf("%q is held out", c.caption)
			}
		}
		if len(c.things) == 2 {
			if q := s.pictures[c.things[1].picture]; q.Name != p.Name && pairHeldOut(p.Name, q.Name) {
				t.Fatalf("%q is held out", c.caption)
			}
		}
		if l := c.ground.landscape; l != nil && groundHeldOut(p.Name, l.word) {
			t.Fatalf("%q is held out", c.caption)
		}
		for _, g := range groundColors {
			if c.ground.landscape == nil && strings.HasPrefix(c.ground.phrase, "on "+withArticle(g.word)+" ") &&
				c.ground.top != white.top && groundHeldOut(p.Name, g.word) {
				t.Fatalf("%q is held out", c.caption)
			}
		}
	}
	h := s.Heldout()
	kinds := map[string]int{}
	for i, item := range h.List {
		kinds[item.Kind]++
		if e, err := h.At(0, i, 32); err != nil || e.Caption != item.Caption {
			t.Errorf("%+v: %v", item, err)
		}
	}
	if kinds[HeldColor] == 0 || kinds[HeldGround] == 0 || kinds[HeldPair] == 0 {
		t.Errorf("expected all kinds, found %v", kinds)
	}
}

func TestWords(t *testing.T) {
	for name, want := range map[string]string{
		"apple": "an apple", "unicorn": "a unicorn", "umbrella": "an umbrella", "~bread": "bread", "ufo": "a ufo",
		"hourglass": "an hourglass", "onion": "an onion",
	} {
		if found := withArticle(name); found != want {
			t.Errorf("expected %q, found %q", want, found)
		}
	}
	if found := withArticle("umbrella", "red"); found != "a red umbrella" {
		t.Error(found)
	}
	for name, want := range map[string]string{
		"cat": "cats", "fox": "foxes", "cherry": "cherries", "old man": "old men", "cup of coffee": "cups of coffee",
		"man with a beard": "men with a beard", "maple leaf": "maple leaves", "donkey": "donkeys", "puppy": "puppies",
	} {
		if found := plural(name); found != want {
			t.Errorf("expected %q, found %q", want, found)
		}
	}
	for label, n := range known() {
		if label == "" || strings.ContainsAny(label, ";*~") || len(n.names) == 0 || n.weight < seldomWeight {
			t.Errorf("%q: %+v", label, n)
		}
	}
	for label, want := range map[string]string{
		"face with crossed-out eyes": "face with crossed-out eyes", "man: bald": "bald man",
		"woman: red hair": "woman with red hair",
		"chopsticks":      "~chopsticks", "trolleybus": "trolleybus", "St. X’s": "~st. x's",
	} {
		if found := guessedName(label); found != want {
			t.Errorf("expected %q, found %q", want, found)
		}
	}
}

func TestColors(t *testing.T) {
	for r := range 16 {
		for g := range 16 {
			for b := range 16 {
				r, g, b := uint8(17*r), uint8(17*g), uint8(17*b)
				R, G, B := toLCH(r, g, b).rgb()
				if d := max(absDiff(r, R), absDiff(g, G), absDiff(b, B)); d > 2 {
					t.Fatalf("%d %d %d comes back as %d %d %d", r, g, b, R, G, B)
				}
			}
		}
	}
	red, _ := fakeSVG(t.Context(), "", 32, []string{""})
	from := tintOf(red[0])
	if from.word() != "red" || !from.recolorable() {
		t.Errorf("red: %+v, %q", from, from.word())
	}
	for _, h := range hues {
		m := recolor(red[0], from.lch, h.lch)
		c := m.RGBAAt(16, 16)
		if p := toLCH(c.R, c.G, c.B); distance(p, h.lch) > 0.12 {
			t.Errorf("%s: expected %v, found %v", h.word, h.lch, p)
		}
		if m.RGBAAt(9, 16) != red[0].RGBAAt(9, 16) || m.RGBAAt(0, 0) != (color.RGBA{}) {
			t.Errorf("%s: white and nothing are to stay", h.word)
		}
	}
}

func absDiff(a, b uint8) uint8 { return max(a, b) - min(a, b) }

func BenchmarkAt(b *testing.B) {
	dir := os.Getenv("UNNOISE_EMOJI") // a folder of the whole set, else the small one
	if dir == "" {
		dir = build(b)
	}
	s, err := Open(dir)
	if err != nil {
		b.Fatal(err)
	}
	for _, size := range []int{32, 128} {
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			for i := range 3000 {
				if _, err := s.At(1, i, size); err != nil {
					b.Fatal(err)
				}
			}
			b.ResetTimer()
			for i := range b.N {
				if _, err := s.At(1, i%3000, size); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
