package studio

import (
	"bytes"
	"compress/gzip"
	"image"
	"image/color"
	"image/png"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/illusion"
	"github.com/unnoise/unnoise/lab"
)

// The page is light, asks nobody else for anything, and has no style or script that its policy would refuse.
func TestPageIsLight(t *testing.T) {
	const most = 150 << 10 // bytes of it all, compressed
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	err := fs.WalkDir(page, "page", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(page, path)
		if err != nil {
			return err
		}
		for _, no := range []string{"https://", " style=\"", "<script>", "<style>", "onclick=\""} {
			if bytes.Contains(data, []byte(no)) {
				t.Errorf("%s contains %s", path, no)
			}
		}
		_, err = z.Write(data)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if z.Close(); b.Len() > most {
		t.Errorf("the page has %d bytes, expected at most %d", b.Len(), most)
	}
}

func TestPerform(t *testing.T) {
	s := serve(t, Options{})
	m := image.NewGray(image.Rect(0, 0, 28, 28))
	for i := range m.Pix {
		m.Pix[i] = uint8(i)
	}
	var b bytes.Buffer
	if err := png.Encode(&b, m); err != nil {
		t.Fatal(err)
	}
	for _, as := range append(illusion.Names(illusion.Views()), "low_pass:2", "rotate_180%2Bnegate") {
		p := want[Performance](s, 200, "POST", "/api/perform?frames=5&side=56&as="+as, b.Bytes())
		strip, err := png.Decode(bytes.NewReader(p.Data))
		if err != nil {
			t.Fatal(err)
		}
		if size := strip.Bounds().Size(); p.Frames != 5 || p.Picture != 56 || size != image.Pt(p.Width, 5*p.Height) {
			t.Errorf("%s: %d frames of %d×%d, a strip of %v", as, p.Frames, p.Width, p.Height, size)
		}
		x, y := (p.Width-56)/2, (p.Height-56)/2
		if c := color.GrayModel.Convert(strip.At(x+2, y)).(color.Gray).Y; c != m.Pix[1] {
			t.Errorf("%s: it begins with another picture: %d at its second pixel, expected %d", as, c, m.Pix[1])
		}
		if p.Width > 56 {
			if _, _, _, opacity := strip.At(0, 0).RGBA(); opacity != 0 {
				t.Errorf("%s: it is not transparent beside the picture", as)
			}
		}
		if as == "rotate_180" {
			if c := color.GrayModel.Convert(strip.At(x, 4*p.Height+y)).(color.Gray).Y; c != m.Pix[28*28-1] {
				t.Errorf("it ends with %d in its corner, expected %d", c, m.Pix[28*28-1])
			}
		}
	}
	for _, query := range []string{"as=nothing", "as=jigsaw&frames=1000", "as=jigsaw&side=100000", "frames=4"} {
		if status, _ := s.ask("POST", "/api/perform?"+query, b.Bytes()); status != 422 {
			t.Errorf("%s is answered with %d", query, status)
		}
	}
	if status, _ := s.ask("POST", "/api/perform?as=jigsaw", []byte("no picture")); status != 422 {
		t.Errorf("what is no picture is answered with %d", status)
	}
}

func TestWords(t *testing.T) {
	s := serve(t, Options{})
	if words := want[[]string](s, 200, "GET", "/api/words?model="+digits, nil); len(words) != 0 {
		t.Errorf("digits have the words %q", words)
	}
	if status, _ := s.ask("GET", "/api/words?model=../..", nil); status != 404 {
		t.Errorf("a folder that is no model is answered with %d", status)
	}
}

func TestWriteup(t *testing.T) {
	dir := writeupOf(t)
	file, err := FindWriteup(dir)
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, Options{Writeup: file})
	if !want[About](s, 200, "GET", "/api/about", nil).Writeup {
		t.Error("the page is told of no write-up")
	}
	answer, err := http.Get(s.url + "/writeup")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if policy := answer.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "sandbox") {
		t.Errorf("the write-up's policy is %q", policy)
	}
	if _, data := s.ask("GET", "/writeup", nil); !bytes.Contains(data, []byte(`href="/#again=seven"`)) {
		t.Errorf("the write-up is %q", data)
	}
	for name, status := range map[string]int{"seven.png": 200, "secret.png": 404, "index.html": 404,
		"..%2findex.html": 404} {
		if found, _ := s.ask("GET", "/writeup/"+name, nil); found != status {
			t.Errorf("%s beside the write-up is answered with %d, expected %d", name, found, status)
		}
	}
	if _, err := FindWriteup(filepath.Join(dir, "nothing")); err == nil {
		t.Error("a write-up that is not there is no error")
	}
	for _, path := range []string{"/writeup", "/writeup/seven.png"} {
		if status, _ := serve(t, Options{}).ask("GET", path, nil); status != 404 {
			t.Errorf("without a write-up %s is answered with %d", path, status)
		}
	}
}

// writeupOf writes a write-up of one picture, an anagram of a 6 and a 9, beside a file that it does not tell of.
func writeupOf(t *testing.T) (dir string) {
	t.Helper()
	s := serve(t, Options{})
	r := seven(2)
	r.Prompts, r.Illusion = nil, &lab.Illusion{Views: []lab.Part{
		{As: "identity", Prompts: []string{"6"}}, {As: "rotate_180", Prompts: []string{"9"}}}}
	j := s.wait(want[Status](s, 202, "POST", "/api/jobs", r).ID)
	_, picture := s.ask("GET", j.Images[0], nil)
	dir = t.TempDir()
	page := `<!doctype html><title>What it learned</title><body><details class="recipe" data-picture="seven.png">` +
		`<summary>Make it again</summary></details></body>`
	for name, data := range map[string][]byte{"index.html": []byte(page), "seven.png": picture, "secret.png": picture} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o666); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}
