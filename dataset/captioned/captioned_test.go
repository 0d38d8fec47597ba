package captioned

import (
	"context"
	"image"
	"image/color"
	"image/png"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func writePicture(t *testing.T, path string, w, h int, c color.Color) {
	t.Helper()
	m := image.NewNRGBA(image.Rect(0, 0, w, h))
	for i := range w * h {
		m.Set(i%w, i/w, c)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := png.Encode(f, m); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// three makes a folder of three pictures, one of them held out.
func three(t *testing.T) string {
	dir := t.TempDir()
	writePicture(t, filepath.Join(dir, "a.png"), 40, 20, color.NRGBA{255, 0, 0, 255})
	writePicture(t, filepath.Join(dir, "sub", "b.png"), 9, 13, color.NRGBA{0, 0, 255, 128})
	writePicture(t, filepath.Join(dir, "c.png"), 8, 8, color.Black)
	write(t, filepath.Join(dir, Metadata), `{"file_name": "a.png", "text": "red", "artist": "nobody"}

{"file_name": "sub/b.png", "text": ["blue", "sky"]}
{"file_name": "c.png", "text": "black", "split": "test"}`)
	return dir
}

func TestFolder(t *testing.T) {
	train, heldout, err := Open(three(t))
	if err != nil {
		t.Fatal(err)
	}
	if train.Len() != 2 || heldout == nil || heldout.Len() != 1 {
		t.Fatalf("expected 2 pictures and 1 held out, found %d and %v", train.Len(), heldout)
	}
	want := map[string]color.RGBA{"red": {255, 0, 0, 255}, "blue": {127, 127, 255, 255}, "sky": {127, 127, 255, 255}}
	seen := map[string]bool{}
	for i := range 40 {
		e, err := train.At(3, i, 16)
		if err != nil {
			t.Fatal(err)
		}
		if found := e.Image.RGBAAt(8, 8); found != want[e.Caption] || e.Image.Rect.Dx() != 16 ||
			e.Image.Rect.Dy() != 16 {
			t.Fatalf("%s: expected %v, found %v of %v", e.Caption, want[e.Caption], found, e.Image.Rect)
		}
		if again, _ := train.Caption(3, i); again != e.Caption {
			t.Fatalf("example %d: captions %q and %q", i, e.Caption, again)
		}
		if i%2 == 1 {
			before, _ := train.Caption(3, i-1)
			if (before == "red") == (e.Caption == "red") {
				t.Fatalf("epoch %d: %q and %q, expected each picture once", i/2, before, e.Caption)
			}
		}
		seen[e.Caption] = true
	}
	if len(seen) != 3 {
		t.Errorf("expected all captions, found %v", seen)
	}
}

func TestTextBeside(t *testing.T) {
	dir := t.TempDir()
	writePicture(t, filepath.Join(dir, "x", "a.PNG"), 4, 4, color.White)
	write(t, filepath.Join(dir, "x", "a.txt"), "one\n\n two \n")
	train, heldout, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if train.Len() != 1 || heldout != nil || !slices.Equal(train.Row(0).Captions, []string{"one", "two"}) {
		t.Errorf("expected one picture with two captions, found %+v", train.rows)
	}
}

func TestSplitsInFolders(t *testing.T) {
	dir := t.TempDir()
	for _, split := range []string{"train", "validation"} {
		writePicture(t, filepath.Join(dir, split, "a.png"), 4, 4, color.White)
		write(t, filepath.Join(dir, split, Metadata), `{"file_name": "a.png", "text": "of `+split+`"}`)
	}
	train, heldout, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	if c, _ := train.Caption(0, 0); train.Len() != 1 || heldout.Len() != 1 || c != "of train" {
		t.Errorf("expected one picture in each split, found %+v and %+v", train.rows, heldout.rows)
	}
	if _, err := heldout.At(0, 0, 4); err != nil {
		t.Error(err)
	}
}

func TestErrorsNameFileAndLine(t *testing.T) {
	for _, c := range []struct{ line, want string }{
		{`{"file_name": "a.png"}`, "metadata.jsonl:2: expected a caption"},
		{`{"file_name": "../a.png", "text": "x"}`, "metadata.jsonl:2: file_name"},
		{`{"file_name": "b.png", "text": "x"}`, "metadata.jsonl:2: expected the picture b.png"},
		{`{"text": "x"}`, "metadata.jsonl:2: expected a file_name"},
		{`{"file_name": "a.png", "text": [" "]}`, "metadata.jsonl:2: expected a caption in UTF-8"},
		{`{"file_name": "a.png", "text": 7}`, "metadata.jsonl:2: text: expected a caption or a list"},
		{`file,text`, "metadata.jsonl:2: expected a JSON object"},
	} {
		dir := t.TempDir()
		writePicture(t, filepath.Join(dir, "a.png"), 4, 4, color.White)
		write(t, filepath.Join(dir, Metadata), `{"file_name": "a.png", "text": "fine"}`+"\n"+c.line)
		if _, _, err := Open(dir); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: expected %q, found %v", c.line, c.want, err)
		}
	}
	dir := t.TempDir()
	writePicture(t, filepath.Join(dir, "a.png"), 4, 4, color.White)
	if _, _, err := Open(dir); err == nil || !strings.Contains(err.Error(), "a.png") {
		t.Errorf("a picture without a caption: %v", err)
	}
	write(t, filepath.Join(dir, Metadata), `{"file_name": "bad.png", "text": "fine"}`)
	write(t, filepath.Join(dir, "bad.png"), "no picture")
	train, _, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	_, err = train.At(0, 0, 8)
	if err == nil || !strings.Contains(err.Error(), "bad.png") || !strings.Contains(err.Error(), "metadata.jsonl:1") {
		t.Errorf("a broken picture: %v", err)
	}
	for _, err := range Batches(t.Context(), train, Options{Batch: 2, Size: 8}) {
		if err == nil || !strings.Contains(err.Error(), "bad.png") {
			t.Errorf("a broken picture in a batch: %v", err)
		}
	}
}

func TestBatchesAreInOrderAndResume(t *testing.T) {
	train, _, err := Open(three(t))
	if err != nil {
		t.Fatal(err)
	}
	o := Options{Seed: 5, Batch: 3, Size: 8}
	var all []*Batch
	for b, err := range Batches(t.Context(), train, o) {
		if err != nil {
			t.Fatal(err)
		}
		if all = append(all, b); len(all) == 6 {
			break
		}
	}
	o.First = 9
	for b, err := range Batches(t.Context(), train, o) {
		if err != nil {
			t.Fatal(err)
		}
		if b.First != 9 || !slices.Equal(b.Captions, all[3].Captions) || !slices.Equal(b.Pixels, all[3].Pixels) {
			t.Errorf("expected batch 3 again, found %d %v", b.First, b.Captions)
		}
		break
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, err := range Batches(ctx, train, o) {
		if err == nil {
			t.Error("expected an error from an ended context")
			break
		}
	}
}

func TestPixels(t *testing.T) {
	m := image.NewRGBA(image.Rect(0, 0, 2, 1))
	m.SetRGBA(0, 0, color.RGBA{255, 0, 0, 255})
	m.SetRGBA(1, 0, color.RGBA{0, 255, 255, 255})
	dst := make([]float32, 6)
	Pixels(m, false, dst)
	if want := []float32{1, -1, -1, 1, -1, 1}; !slices.Equal(dst, want) {
		t.Errorf("expected %v, found %v", want, dst)
	}
	Pixels(m, true, dst)
	if want := []float32{-1, 1, 1, -1, 1, -1}; !slices.Equal(dst, want) {
		t.Errorf("mirrored: expected %v, found %v", want, dst)
	}
}

func TestMirrorable(t *testing.T) {
	for caption, want := range map[string]bool{
		"a cat": true, "a cat on the left": false, "A letter": false, "a stop sign": false, "bright stars": true,
	} {
		if Mirrorable(caption) != want {
			t.Errorf("%q: expected %v", caption, want)
		}
	}
}

func TestSheet(t *testing.T) {
	train, _, err := Open(three(t))
	if err != nil {
		t.Fatal(err)
	}
	e, err := train.At(0, 0, 32)
	if err != nil {
		t.Fatal(err)
	}
	m, err := Sheet([]Example{e, e, e}, 2)
	if err != nil {
		t.Fatal(err)
	}
	if m.Rect.Dx() != 8+2*136 || m.RGBAAt(12, 12) != e.Image.RGBAAt(1, 1) {
		t.Errorf("expected two pictures beside one another, found %v", m.Rect)
	}
}
