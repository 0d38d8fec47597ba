package main

import (
	"bytes"
	"compress/zlib"
	bits "encoding/binary"
	"encoding/json"
	"hash/crc32"
	"image"
	"image/draw"
	"image/gif"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/internal/golden"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/weights"
)

func read(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

func decodePicture(t *testing.T, path string) image.Image {
	t.Helper()
	m, err := png.Decode(bytes.NewReader(read(t, path)))
	if err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return m
}

// samePixels reports whether two pictures have the same size and colors.
func samePixels(a, b image.Image) bool {
	rgba := func(m image.Image) *image.RGBA {
		all := image.NewRGBA(image.Rectangle{Max: m.Bounds().Size()})
		draw.Draw(all, all.Bounds(), m, m.Bounds().Min, draw.Src)
		return all
	}
	x, y := rgba(a), rgba(b)
	return x.Rect == y.Rect && bytes.Equal(x.Pix, y.Pix)
}

// A picture is drawn again to the bit, from the picture and from its recipe as JSON. With another seed it is as if it
// were asked for so.
func TestAgain(t *testing.T) {
	ownCache(t)
	tiny := func(name string) string { return filepath.Join(golden.Dir(t), name) }
	flow := small(t, "--objective", "flow", "--epochs", "1", "--no-samples")
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, args := range map[string][]string{
		"digits": {"generate", "--model", "mnist-class",
			"--prompt", "3", "--prompt", "8", "--count", "3", "--sampler", "ddim", "--steps", "4",
			"--eta", "0.5", "--guidance", "2", "--batch", "5"},
		"noseed": {"generate", "--model", "mnist-time", "--count", "2", "--steps", "3"},
		"sample": {"sample", "--count", "13", "--steps", "2", "--seed", "1"},
		"flow": {"generate", "--model", flow, "--prompt", "7", "--sampler", "midpoint", "--steps", "3", "--seed", "5",
			"--dtype", "f32"},
		"deepfloyd": {"generate", "--model", tiny("if_tiny"), "--prompt", "a fox", "--negative", "<snow> & rain",
			"--timesteps", "fast27", "--seed", "3", "--scale", "2"},
		"upscaled": {"generate", "--model", tiny("if_tiny"), "--upscale", tiny("if_sr_tiny"), "--prompt", "a fox",
			"--prompt", "Zürich ☂", "--count", "2", "--steps", "3", "--upscale-steps", "2", "--upscale-sampler",
			"dpm++",
			"--noise-level", "70", "--seed", "18446744073709551615", "--dtype", "f32"},
		"heun": {"generate", "--model", tiny("if_tiny"), "--prompt", "a fox", "--sampler", "heun", "--steps", "2",
			"--seed", "3",
			"--guidance", "1"},
	} {
		first := path(name + ".png")
		succeed(t, append(slices.Clone(args), "--out", first)...)
		recipe := path(name + ".json")
		if err := os.WriteFile(recipe, []byte(succeed(t, "recipe", first).stdout), 0o644); err != nil {
			t.Fatal(err)
		}
		var scale []string // says how large a picture is, and nothing of the images
		if i := slices.Index(args, "--scale"); i >= 0 {
			scale = args[i : i+2]
		}
		for i, again := range [][]string{{"again", first}, {"generate", "--recipe", recipe},
			{"sample", "--recipe", first}} {
			second := path(name + "-again.png")
			succeed(t, append(append(again, "--out", second), scale...)...)
			if !bytes.Equal(read(t, first), read(t, second)) {
				t.Errorf("%s, %v: another picture", name, again)
			}
			if i == 0 {
				if r := unnoise(t, "again", first, "--out", first); r.code != exitUsage ||
					!strings.Contains(r.stderr, "--out: expected another file than the picture") {
					t.Errorf("again over the picture: exit code %d, %q", r.code, r.stderr)
				}
			}
		}
		other, asked := path(name+"-other.png"), path(name+"-asked.png")
		succeed(t, append([]string{"again", first, "--seed", "8", "--out", other}, scale...)...)
		succeed(t, append(slices.Clone(args), "--seed", "8", "--out", asked)...)
		if !bytes.Equal(read(t, other), read(t, asked)) || samePixels(decodePicture(t, other), decodePicture(t,
			first)) {
			t.Errorf("%s: with another seed it is not what is drawn with that seed", name)
		}
	}

	// Other flags change the recipe, and what hangs on them takes its default.
	changed := path("changed.png")
	succeed(t, "again", path("digits.png"), "--sampler", "dpm++", "--prompt", "7", "--out", changed)
	r, err := lab.ReadRecipe(changed)
	if err != nil {
		t.Fatal(err)
	}
	before, err := lab.ReadRecipe(path("digits.png"))
	if err != nil {
		t.Fatal(err)
	}
	if r.Sampler != "dpm++" || r.Steps != 20 || r.Eta != 0 || *r.Guidance != 2 ||
		!slices.Equal(r.Prompts, []string{"7"}) || r.Count != 3 || *r.Seed != *before.Seed {
		t.Errorf("the changed recipe is %+v", r)
	}
}

// A branch has the picture's first steps, and goes on by itself. Its picture carries both.
func TestAgainBranches(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	succeed(t, "sample", "--model", "mnist-class", "--prompt", "3", "--count", "2", "--steps", "6", "--sampler", "ddpm",
		"--seed", "1", "--out", path("first.png"))
	succeed(t, "again", path("first.png"), "--branch", "4", "--out", path("same.png"))
	if !samePixels(decodePicture(t, path("same.png")), decodePicture(t, path("first.png"))) {
		t.Error("a branch that changes nothing is another picture")
	}
	succeed(t, "again", path("first.png"), "--branch", "4", "--image", "2", "--seed", "8", "--out", path("other.png"))
	if samePixels(decodePicture(t, path("other.png")), decodePicture(t, path("first.png"))) {
		t.Error("a branch with another seed is the same picture")
	}
	r, err := lab.ReadRecipe(path("other.png"))
	if err != nil || r.Branch == nil || r.Branch.At != 4 || *r.Branch.Image != 1 || *r.Seed != 8 ||
		*r.Branch.From.Seed != 1 {
		t.Errorf("the branch's recipe is %+v, %v", r, err)
	}
	succeed(t, "again", path("other.png"), "--out", path("again.png"))
	if !bytes.Equal(read(t, path("again.png")), read(t, path("other.png"))) {
		t.Error("drawn again the branch is another picture")
	}
	for flag, args := range map[string][]string{"branch": {"--branch", "6"}, "image": {"--image", "1"}} {
		if r := unnoise(t, append([]string{"again", path("first.png"), "--out", path("no.png")}, args...)...); r.code !=
			exitUsage || !strings.Contains(r.stderr, "--"+flag) {
			t.Errorf("%q: exit code %d, %q", args, r.code, r.stderr)
		}
	}
}

// A recipe outlives other programs as far as they keep the picture's texts, and is refused where it can't be followed.
func TestRecipes(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	first, again := path("first.png"), path("again.png")
	succeed(t, "generate", "--model", "mnist-class",
		"--prompt", "3", "--prompt", "1", "--steps", "3", "--seed", "2", "--out", first)
	p, err := figure.ReadParametersFile(first)
	if err != nil {
		t.Fatal(err)
	}
	recipe, ok := p.Get(lab.RecipeKey)
	if !ok {
		t.Fatalf("parameters %v have no recipe", p)
	}

	cropped := path("cropped.png")
	picture := decodePicture(t, first).(interface {
		image.Image
		SubImage(image.Rectangle) image.Image
	})
	if err := figure.WritePNG(cropped, picture.SubImage(image.Rect(3, 3, 20, 30)), p); err != nil {
		t.Fatal(err)
	}
	succeed(t, "again", cropped, "--out", again)
	if !bytes.Equal(read(t, again), read(t, first)) {
		t.Error("of a cropped picture another is drawn")
	}

	saved := path("saved.png") // its texts are compressed and other ones stand beside them
	saveAgain(t, saved, decodePicture(t, first), [][2]string{{"Comment", "of another program"}, {lab.RecipeKey,
		recipe}})
	succeed(t, "again", saved, "--out", again)
	if !bytes.Equal(read(t, again), read(t, first)) {
		t.Error("of a picture that was saved again another is drawn")
	}

	bare, photo := path("bare.png"), path("photo.jpg")
	if err := figure.WritePNG(bare, picture, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(photo, []byte("\xff\xd8\xff\xe0"), 0o644); err != nil {
		t.Fatal(err)
	}
	request := func(name string, change func(map[string]any)) string {
		var all map[string]any
		if err := json.Unmarshal([]byte(recipe), &all); err != nil {
			t.Fatal(err)
		}
		change(all)
		text, err := json.Marshal(all)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path(name), text, 0o644); err != nil {
			t.Fatal(err)
		}
		return path(name)
	}
	withRecipe := func(name, file string) string {
		if err := figure.WritePNG(path(name), picture, figure.Parameters{{Key: lab.RecipeKey,
			Value: string(read(t, file))}}); err != nil {
			t.Fatal(err)
		}
		return path(name)
	}
	unknown := request("unknown.json", func(r map[string]any) { r["hat"] = 1 })
	newer := request("newer.json", func(r map[string]any) { r["version"] = lab.RequestVersion + 1 })
	missing := request("missing.json", func(r map[string]any) { r["model"] = filepath.Join(dir, "gone") })
	other := request("other.json", func(r map[string]any) { r["steps"] = 301 })
	two := path("two.json")
	if err := os.WriteFile(two, []byte(recipe+recipe), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		code int
		want []string
	}{
		{[]string{"again", bare}, exitFailure, []string{bare, "carries no recipe"}},
		{[]string{"recipe", bare}, exitFailure, []string{bare, "carries no recipe"}},
		{[]string{"again", photo}, exitFailure, []string{photo, "PNG"}},
		{[]string{"recipe", path("nowhere.png")}, exitFailure, []string{"nowhere.png"}},
		{[]string{"again", withRecipe("unknown.png", unknown)}, exitFailure,
			[]string{"unknown.png", `unknown field "hat"`}},
		{[]string{"again", withRecipe("newer.png", newer)}, exitFailure,
			[]string{"newer.png", "version is 2, expected 1", "newer program"}},
		{[]string{"again", withRecipe("missing.png", missing)}, exitFailure,
			[]string{"--model: there is no folder " + filepath.Join(dir, "gone")}},
		{[]string{"generate", "--recipe", unknown}, exitFailure,
			[]string{"--recipe: " + unknown, `unknown field "hat"`}},
		{[]string{"generate", "--recipe", newer}, exitFailure,
			[]string{"--recipe: " + newer, "version is 2, expected 1"}},
		{[]string{"generate", "--recipe", missing}, exitFailure, []string{"--model: there is no folder"}},
		{[]string{"generate", "--recipe", other}, exitUsage,
			[]string{"--steps: expected 1 to 300 with mnist-class, found 301"}},
		{[]string{"generate", "--recipe", two}, exitFailure, []string{two}},
		{[]string{"generate", "--recipe", path("nowhere.json")}, exitFailure, []string{"--recipe: ", "nowhere.json"}},
		{[]string{"again", first, "--recipe", two}, exitUsage, []string{"--recipe has no meaning here"}},
		{[]string{"again", first, "--noise-level", "4"}, exitUsage,
			[]string{"--noise-level has no meaning without --upscale"}},
		{[]string{"again"}, exitUsage, []string{"expected one picture"}},
		{[]string{"again", first, bare}, exitUsage, []string{"expected one picture"}},
	} {
		r := unnoise(t, c.args...)
		if r.code != c.code {
			t.Errorf("%v: exit code %d, want %d: %q", c.args, r.code, c.code, r.stderr)
		}
		for _, part := range c.want {
			if !strings.Contains(r.stderr, part) {
				t.Errorf("%v: no %q in %q", c.args, part, r.stderr)
			}
		}
	}
}

// Digits come by the verb for prompts: a round of prompts again and again, as sample draws them.
func TestGenerateDigits(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	labels := func(file string) (labels []int32, images []float32) {
		f, err := weights.Open(file)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		x, err := f.Tensor("labels")
		if err == nil {
			labels, err = x.Int32()
		}
		if err != nil {
			t.Fatal(err)
		}
		images, _ = golden.Float32(t, f, "images")
		return labels, images
	}
	raw, picture := path("a.safetensors"), path("a.png")
	var report struct{ Images, Height, Width, Evaluations int }
	decode(t, succeed(t, "generate", "--model", "mnist-class",
		"--prompt", "3", "--prompt", "8", "--count", "4", "--steps", "3", "--seed", "6",
		"--out", raw, "--out", picture, "--scale", "1", "--json").stdout, &report)
	got, images := labels(raw)
	if want := []int32{3, 8, 3, 8, 3, 8, 3, 8}; !slices.Equal(got, want) {
		t.Errorf("labels %v, want %v", got, want)
	}
	if report.Images != 8 || report.Height != 28 || report.Width != 28 || report.Evaluations != 6 {
		t.Errorf("report %+v", report)
	}
	if size := decodePicture(t, picture).Bounds().Size(); size != (image.Point{2 + 8*30, 2 + 30}) {
		t.Errorf("eight digits in a row are a picture of %v", size)
	}
	succeed(t, "sample", "--class", "3,8", "--count", "8", "--steps", "3", "--seed", "6", "--out", raw)
	if again, same := labels(raw); !slices.Equal(again, got) || !slices.Equal(same, images) {
		t.Error("sample draws others of the same seed")
	}

	for name, args := range map[string][]string{"all": {"--prompt", "all"}, "without": nil} {
		succeed(t, append([]string{"generate", "--model", "mnist-class",
			"--count", "2", "--steps", "2", "--seed", "6", "--out", raw},
			args...)...)
		if got, _ := labels(raw); len(got) != 20 ||
			!slices.Equal(got, slices.Repeat([]int32{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, 2)) {
			t.Errorf("%s: labels %v", name, got)
		}
	}

	// A round that is not whole doesn't change the columns.
	succeed(t, "sample", "--count", "13", "--steps", "1", "--seed", "6", "--scale", "1", "--out", picture)
	if size := decodePicture(t, picture).Bounds().Size(); size != (image.Point{2 + 10*30, 2 + 2*30}) {
		t.Errorf("13 digits are a picture of %v", size)
	}
	succeed(t, "generate", "--model", "mnist-time", "--count", "3", "--steps", "1", "--out", raw)
	if got, _ := labels(raw); !slices.Equal(got, []int32{-1, -1, -1}) {
		t.Errorf("of a model without classes: labels %v", got)
	}
}

// Animations show how the last stage's images come out of noise, and end with the picture.
func TestAnimate(t *testing.T) {
	ownCache(t)
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	first, second := filepath.Join(golden.Dir(t), "if_tiny"), filepath.Join(golden.Dir(t), "if_sr_tiny")
	args := []string{"generate", "--model", first, "--prompt", "a fox", "--prompt", "a dog", "--steps", "5", "--seed",
		"3", "--scale", "1"}
	for name, c := range map[string]struct {
		flags  []string
		frames int
	}{"one": {nil, 6}, "two": {[]string{"--upscale", second, "--upscale-steps", "3"}, 4}} {
		picture, animation, movie := path(name+".png"), path(name+"-animation.png"), path(name+".gif")
		succeed(t, slices.Concat(args, c.flags, []string{"--out", picture, "--animate", animation})...)
		still := decodePicture(t, picture)
		if !samePixels(decodePicture(t, animation), still) {
			t.Errorf("%s: the animation does not end with the picture", name)
		}
		if r, err := lab.ReadRecipe(animation); err != nil || *r.Seed != 3 {
			t.Errorf("%s: the animation's recipe is %+v, %v", name, r, err)
		}
		succeed(t, slices.Concat(args, c.flags, []string{"--out", picture, "--animate", movie})...)
		g, err := gif.DecodeAll(bytes.NewReader(read(t, movie)))
		if err != nil {
			t.Fatal(err)
		}
		if len(g.Image) != c.frames || g.Config.Width != still.Bounds().Dx() || g.Config.Height != still.Bounds().Dy() {
			t.Errorf("%s: %d frames of %d×%d, want %d of %v", name, len(g.Image), g.Config.Width, g.Config.Height,
				c.frames, still.Bounds().Size())
		}
		for i := range len(g.Image) - 1 {
			if samePixels(g.Image[i], g.Image[i+1]) {
				t.Errorf("%s: frames %d and %d are the same", name, i, i+1)
			}
		}
	}
}

// saveAgain writes a picture as other programs may: with compressed texts, after the pixels.
func saveAgain(t *testing.T, path string, m image.Image, texts [][2]string) {
	t.Helper()
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	out, end := slices.Clone(b.Bytes()[:b.Len()-12]), b.Bytes()[b.Len()-12:]
	for _, text := range texts {
		var data bytes.Buffer
		data.WriteString("zTXt" + text[0] + "\x00\x00")
		z := zlib.NewWriter(&data)
		z.Write([]byte(text[1]))
		if err := z.Close(); err != nil {
			t.Fatal(err)
		}
		out = bits.BigEndian.AppendUint32(out, uint32(data.Len()-4))
		out = append(out, data.Bytes()...)
		out = bits.BigEndian.AppendUint32(out, crc32.ChecksumIEEE(data.Bytes()))
	}
	if err := os.WriteFile(path, append(out, end...), 0o644); err != nil {
		t.Fatal(err)
	}
}
