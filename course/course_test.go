package course

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/illusion"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/picture"
	"github.com/unnoise/unnoise/writeup"
)

// The default subjects of every family name pictures, views and bands that there are.
func TestDefaults(t *testing.T) {
	for name, spec := range map[string]model.Spec{
		"digits": {Vocabulary: strings.Split("0123456789", ""), Channels: 1, Height: 28, Width: 28},
		"things": {Texts: true, Channels: 3, Height: 32, Width: 32},
		"photos": {Texts: true, Channels: 3, Height: 64, Width: 64},
	} {
		s := Defaults(spec)
		for _, d := range Checklist(&s, nil) {
			if d.Done != writeup.Done {
				t.Errorf("%s: %s is %s", name, d.What, d.Done)
			}
		}
		pictures := []string{s.Subject}
		for _, list := range [][]Start{s.Photos, s.Web, s.Drawings, s.TextEdits} {
			for _, start := range list {
				pictures = append(pictures, start.Picture)
			}
		}
		for _, p := range pictures {
			if _, err := picture.Example(p); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, views := range s.Anagrams {
			for _, v := range views {
				parsed, err := illusion.ParseView(v.As)
				if err == nil {
					err = illusion.Fits(parsed, spec.Channels, spec.Height, spec.Width)
				}
				if err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
		}
		for _, p := range s.Phrases() {
			if err := spec.CheckPrompt(p); err != nil && len(spec.Vocabulary) > 0 {
				t.Errorf("%s: %v", name, err)
			}
		}
		text, err := s.JSON()
		if err != nil {
			t.Fatal(err)
		}
		if again, err := ParseSubjects(text, Subjects{}); err != nil || len(again.Phrases()) != len(s.Phrases()) {
			t.Errorf("%s: read again they are %+v, %v", name, again, err)
		}
	}
	if _, err := ParseSubjects([]byte(`{"version":1,"promts":[]}`), Subjects{}); err == nil ||
		!strings.Contains(err.Error(), "promts") {
		t.Errorf("an unknown field: %v", err)
	}
}

func TestOwn(t *testing.T) {
	s := Subjects{Plain: "a photo", Subject: "cat", Photos: []Start{{"cat", "x"}}, Web: []Start{{"coffee", "y"}}}
	s.Own([]string{"me.jpg", "dog.jpg"}, nil, nil)
	if s.Subject != "me.jpg" || len(s.Photos) != 2 || s.Photos[1] != (Start{"dog.jpg", "a photo"}) ||
		s.Web[0].Picture != "coffee" {
		t.Errorf("%+v", s)
	}
}

func TestCommand(t *testing.T) {
	seed, guidance := uint64(3), 5.
	parts := func(views ...string) (all []lab.Part) {
		for i := 0; i < len(views); i += 2 {
			all = append(all, lab.Part{As: views[i], Prompts: strings.Split(views[i+1], "")})
		}
		return all
	}
	house := lab.Picture{Name: "my house.png"}
	for want, r := range map[string]lab.Request{
		"unnoise generate --model m --prompt 'a fox' --prompt 3 --steps 20 --guidance 5 --count 2 --seed 3 --out o.png": {
			Prompts: []string{"a fox", "3"}, Count: 2, Sampling: model.Sampling{Steps: 20, Guidance: &guidance}},
		"unnoise edit 'my house.png' --model m --prompt 8 --start 1,2 --seed 3 --out o.png": {
			Prompts: []string{"8"}, Edit: &lab.Edit{Picture: house},
			Vary: []lab.Vary{{Field: "start", Values: []string{"1", "2"}}}},
		"unnoise inpaint 'my house.png' --model m --prompt 8 --box 0,0,9,9 --method repaint --seed 3 --out o.png": {
			Prompts: []string{"8"}, Inpaint: &lab.Inpaint{Picture: house, Mask: lab.Mask{Box: "0,0,9,9"},
				Method: lab.RePaint}},
		"unnoise noise 'my house.png' --at 25%,50% --side 128 --seed 3 --out o.png": {
			Strip: &lab.Strip{Picture: house, At: []string{"25%", "50%"}, Forward: true, Side: 128}},
		"unnoise denoise 'my house.png' --model m --at 25% --every 5 --steps 9 --seed 3 --out o.png": {
			Strip: &lab.Strip{Picture: house, At: []string{"25%"}, Every: 5}, Sampling: model.Sampling{Steps: 9}},
		"unnoise anagram --model m --view identity=6 --view flip=9 --candidates 4 --seed 3 --out o.png": {
			Illusion: &lab.Illusion{Views: parts("identity", "6", "flip", "9"), Candidates: 4}},
		"unnoise hybrid --model m --band low_pass=6 --band high_pass=9 --seed 3 --out o.png": {
			Illusion: &lab.Illusion{Bands: parts("low_pass", "6", "high_pass", "9")}},
		"unnoise ambigram 2026 1984 --model m --candidates 4 --seed 3 --out o.png": {
			Illusion: &lab.Illusion{Views: parts("identity", "2026", "rotate_180", "4891"), Candidates: 4}},
	} {
		r.Model, r.Seed = "m", &seed
		if got := Command(r, "o.png"); got != want {
			t.Errorf("%s\nwant %s", got, want)
		}
	}
}

// The program's models stand in for the runs that are not there, and for no others.
func TestComplete(t *testing.T) {
	own := &writeup.ShownRun{Dir: "runs/time"}
	p := writeup.Page{Time: own}
	if err := Complete(&p); err != nil {
		t.Fatal(err)
	}
	if p.Time != own || p.None == nil || !p.None.Bundled() || p.Class == nil || p.Class.Dir != "mnist-class" ||
		p.Flow != nil {
		t.Errorf("%+v", p)
	}
	for _, d := range Checklist(nil, &Runs{Denoiser: p.None, Class: p.Class}) {
		if (d.Done == writeup.Done) != (d.Command == "") {
			t.Errorf("%s is %s, and the command for the rest is %q", d.What, d.Done, d.Command)
		}
	}
}

// What was drawn is read again as it was; a file of something else is refused.
func TestKept(t *testing.T) {
	path := filepath.Join(t.TempDir(), "d.safetensors")
	x := diffusion.NewImages(2, 1, 2, 2)
	diffusion.NewGenerator(1).Normal(x.Data)
	d := drawn{images: x, candidates: x.Slice(0, 1), verdicts: []string{"6|9 +1.0"}, rows: []string{"t = 3"}}
	for _, caption := range []string{"t = 1", "result"} {
		d.frames = append(d.frames, writeup.Frame{Caption: caption, X: x, X0: x})
	}
	if err := d.write(path); err != nil {
		t.Fatal(err)
	}
	again, err := readDrawn(path)
	if err != nil {
		t.Fatal(err)
	}
	if len(again.frames) != 2 || again.frames[1].Caption != "result" || again.frames[1].X0.Data[7] != x.Data[7] ||
		again.candidates.N != 1 || again.verdicts[0] != "6|9 +1.0" || again.images.Data[3] != x.Data[3] {
		t.Errorf("%+v", again)
	}
	if err := os.WriteFile(path, []byte("no"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readDrawn(path); err == nil {
		t.Error("a damaged file was read")
	}
}

// The demo's page is there after its first part, and says what is coming; stopped, it says so.
func TestShow(t *testing.T) {
	l := lab.New(lab.Options{})
	defer l.Close()
	dir := t.TempDir()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	d := Demo{Digits: "mnist-class", Course: Course{Model: "mnist-class", Artist: Artist{Lab: l,
		Dir: filepath.Join(dir, "drawings")}}}
	var lines []string
	_, err := d.Show(ctx, dir, func(line string) {
		if lines = append(lines, line); len(lines) == 2 {
			page, err := os.ReadFile(filepath.Join(dir, "index.html"))
			if err != nil || !strings.Contains(string(page), "Being drawn now: noise taken away") {
				t.Errorf("after the first part: %v", err)
			}
			stop()
		}
	})
	if err == nil || len(lines) != 2 || !strings.Contains(lines[0], "index.html") {
		t.Fatalf("%v, %q", err, lines)
	}
	page, err := os.ReadFile(filepath.Join(dir, "index.html"))
	if err != nil || strings.Contains(string(page), `http-equiv="refresh"`) ||
		!strings.Contains(string(page), "Stopped before all was drawn") {
		t.Errorf("stopped, the page lacks that: %v", err)
	}
}
