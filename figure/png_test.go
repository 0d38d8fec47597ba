package figure

import (
	"bytes"
	"errors"
	"image"
	"image/png"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
)

var example = Parameters{
	{"prompt", "une image d'été, 5×5"},
	{"model", "ディフュージョン γ=5"},
	{"seed", "42"},
	{"note", "two\nlines"},
	{"tab", "a\tb"},
	{"empty", ""},
}

func TestPNGRoundTrip(t *testing.T) {
	picture := drawn(t, Grid{Images: ramp(4, 3, 5, 5), Columns: 2})
	path := filepath.Join(t.TempDir(), "grid.png")
	if err := WritePNG(path, picture, example); err != nil {
		t.Fatal(err)
	}
	got, err := ReadParametersFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, example) {
		t.Errorf("read back %q, wrote %q", got, example)
	}
	if v, ok := got.Get("seed"); v != "42" || !ok {
		t.Errorf("seed is %q, %v", v, ok)
	}
	if _, ok := got.Get("absent"); ok {
		t.Error("found a parameter that is not there")
	}

	file, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	decoded, err := png.Decode(bytes.NewReader(file)) // checks the order and checksums of all chunks
	if err != nil {
		t.Fatal(err)
	}
	if !samePixels(decoded, picture) {
		t.Error("the picture changed on its way through the file")
	}
	for kind, n := range map[string]int{"tEXt": 4, "iTXt": 2} {
		if got := bytes.Count(file, []byte(kind)); got != n {
			t.Errorf("%d %s chunks, expected %d", got, kind, n)
		}
	}
}

func TestPNGRefusesBadParameters(t *testing.T) {
	picture := image.NewGray(image.Rect(0, 0, 1, 1))
	for _, p := range []Parameter{{"", "x"}, {" lead", "x"}, {"two  spaces", "x"}, {"γ", "x"},
		{strings.Repeat("k", 80), "x"}, {"nul", "a\x00b"}, {"utf8", "\xff"}} {
		if err := EncodePNG(&bytes.Buffer{}, picture, Parameters{p}); err == nil {
			t.Errorf("%q was accepted", p)
		}
	}
}

// A folder's name need not be text, and a picture made with what is in it is written all the same.
func TestAddedParametersAreText(t *testing.T) {
	var p Parameters
	p.Add("model", "r\xff\x00/digits")
	var file bytes.Buffer
	if err := EncodePNG(&file, image.NewGray(image.Rect(0, 0, 1, 1)), p); err != nil {
		t.Fatal(err)
	}
	got, err := ReadParameters(&file)
	if value, _ := got.Get("model"); err != nil || value != "r\uFFFD\uFFFD/digits" {
		t.Errorf("%q, %v", got, err)
	}
}

// Every byte of the text chunks is covered by a check: any change and any cut is noticed.
func TestReadParametersNoticesDamage(t *testing.T) {
	var file bytes.Buffer
	if err := EncodePNG(&file, image.NewGray(image.Rect(0, 0, 3, 3)), example); err != nil {
		t.Fatal(err)
	}
	for n := range file.Len() {
		if _, err := ReadParameters(bytes.NewReader(file.Bytes()[:n])); err == nil {
			t.Fatalf("the first %d of %d bytes were accepted", n, file.Len())
		}
	}
	for i := range file.Len() {
		damaged := bytes.Clone(file.Bytes())
		damaged[i] ^= 0x10
		if _, err := ReadParameters(bytes.NewReader(damaged)); err == nil {
			t.Fatalf("byte %d was changed unnoticed", i)
		}
	}
	if _, err := ReadParameters(strings.NewReader("GIF89a")); !errors.Is(err, ErrNotPNG) {
		t.Errorf("a GIF gave %v", err)
	}
}

func TestReadParametersOfOthers(t *testing.T) {
	var deflated bytes.Buffer
	z := newDeflater(&deflated)
	z.Write([]byte("compressed"))
	z.Close()
	var bomb bytes.Buffer
	z = newDeflater(&bomb)
	z.Write(make([]byte, 64<<20))
	z.Close()

	file := func(kind string, data ...[]byte) []byte {
		return appendChunk(appendChunk([]byte(pngSignature), kind, data...), "IEND")
	}
	for _, c := range []struct {
		kind string
		data []byte
		want string // empty: an error
	}{
		{"zTXt", append([]byte("k\x00\x00"), deflated.Bytes()...), "compressed"},
		{"iTXt", append([]byte("k\x00\x01\x00fr\x00clé\x00"), deflated.Bytes()...), "compressed"},
		{"iTXt", []byte("k\x00\x00\x00\x00\x00plain"), "plain"},
		{"zTXt", append([]byte("k\x00\x01"), deflated.Bytes()...), ""},
		{"zTXt", append([]byte("k\x00\x00"), bomb.Bytes()...), ""},
		{"iTXt", []byte("k\x00\x00\x00cut short"), ""},
		{"iTXt", []byte("k\x00\x00"), ""},
		{"tEXt", []byte("no keyword end"), ""},
	} {
		got, err := ReadParameters(bytes.NewReader(file(c.kind, c.data)))
		switch {
		case c.want == "" && err == nil:
			t.Errorf("%s %.20q was accepted", c.kind, c.data)
		case c.want != "" && (err != nil || len(got) != 1 || got[0] != Parameter{"k", c.want}):
			t.Errorf("%s %.20q: got %q, %v", c.kind, c.data, got, err)
		}
	}
}

func FuzzReadParameters(f *testing.F) {
	var file bytes.Buffer
	if err := EncodePNG(&file, image.NewGray(image.Rect(0, 0, 3, 3)), example); err != nil {
		f.Fatal(err)
	}
	f.Add(file.Bytes())
	f.Add(appendChunk(appendChunk([]byte(pngSignature), "zTXt", []byte("k\x00\x00x")), "IEND"))
	f.Add(append([]byte(pngSignature), 0xff, 0xff, 0xff, 0xff, 't', 'E', 'X', 't'))
	f.Fuzz(func(t *testing.T, data []byte) {
		if found, err := ReadParameters(bytes.NewReader(data)); err == nil {
			writeAgain(t, found)
		}
	})
}

// FuzzParseText goes past the checksums, which keep the other fuzzer from most of the parser.
func FuzzParseText(f *testing.F) {
	f.Add(0, []byte("key\x00value"))
	f.Add(1, []byte("key\x00\x00x\x9cK\xce\xcf-(J-.NM\x01\x00"))
	f.Add(2, []byte("key\x00\x01\x00fr\x00clé\x00x\x9c"))
	f.Add(2, []byte("key\x00\x00\x00\x00\x00γ"))
	f.Fuzz(func(t *testing.T, kind int, data []byte) {
		q, err := parseText([]string{"tEXt", "zTXt", "iTXt"}[uint(kind)%3], data)
		if err == nil {
			writeAgain(t, Parameters{q})
		}
	})
}

// writeAgain checks that what was read can be written and read.
func writeAgain(t *testing.T, found Parameters) {
	for _, q := range found {
		if strings.ContainsRune(q.Value, 0) {
			continue // compressed texts may hold what plain ones may not
		}
		chunks, err := Parameters{q}.chunks()
		if err != nil {
			t.Fatalf("read %q, cannot write it: %v", q, err)
		}
		again, err := ReadParameters(bytes.NewReader(appendChunk(append([]byte(pngSignature), chunks...), "IEND")))
		if err != nil || len(again) != 1 || again[0] != q {
			t.Fatalf("wrote %q, read %q, %v", q, again, err)
		}
	}
}

func samePixels(a, b image.Image) bool {
	if a.Bounds().Size() != b.Bounds().Size() {
		return false
	}
	for y := range a.Bounds().Dy() {
		for x := range a.Bounds().Dx() {
			r, g, b1, a1 := a.At(x, y).RGBA()
			r2, g2, b2, a2 := b.At(x, y).RGBA()
			if r != r2 || g != g2 || b1 != b2 || a1 != a2 {
				return false
			}
		}
	}
	return true
}
