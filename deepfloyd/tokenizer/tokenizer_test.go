package tokenizer

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/json"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"google.golang.org/protobuf/encoding/protowire"

	"github.com/unnoise/unnoise/internal/golden"
)

func open(t testing.TB) *Tokenizer {
	t.Helper()
	tok, err := Open(filepath.Join(golden.Dir(t), "if_tiny", "tokenizer"))
	if err != nil {
		t.Fatal(err)
	}
	return tok
}

func TestGolden(t *testing.T) {
	tok := open(t)
	data, err := os.ReadFile(filepath.Join(golden.Dir(t), "tokenizer_cases.json"))
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Text string
		IDs  []int32
	}
	if err := json.Unmarshal(data, &cases); err != nil {
		t.Fatal(err)
	}
	if len(cases) == 0 {
		t.Fatal("no cases")
	}
	for _, c := range cases {
		if got := append(tok.IDs(c.Text), tok.closing); !slices.Equal(got, c.IDs) {
			t.Errorf("%q: got %v, want %v", c.Text, got, c.IDs)
		}
	}
}

// TestGoldenPrompts compares ids and mask of the length that Deepfloyd IF takes.
func TestGoldenPrompts(t *testing.T) {
	tok := open(t)
	data, err := os.ReadFile(filepath.Join(golden.Dir(t), "if_tiny_prompts.json"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Prompts []string }
	if err := json.Unmarshal(data, &file); err != nil {
		t.Fatal(err)
	}
	f := golden.Open(t, "if_tiny_modules.safetensors")
	var ids, mask []int32
	want := map[string][]int32{}
	length := 0
	for _, name := range []string{"text.ids", "text.mask"} {
		x, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		if want[name], err = x.Int32(); err != nil {
			t.Fatal(err)
		}
		length = x.Shape[1]
	}
	for _, p := range file.Prompts {
		i, m := tok.Encode(Preprocess(p), length)
		ids, mask = append(ids, i...), append(mask, m...)
	}
	if !slices.Equal(ids, want["text.ids"]) {
		t.Errorf("ids %v, want %v", ids, want["text.ids"])
	}
	if !slices.Equal(mask, want["text.mask"]) {
		t.Errorf("mask %v, want %v", mask, want["text.mask"])
	}
}

type recording struct {
	Model []byte
	Texts [][]byte
	IDs   [][]int32
}

// recorded returns what testdata/record.py recorded, by the model's name.
func recorded(t testing.TB) map[string]recording {
	t.Helper()
	f, err := os.Open("testdata/cases.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	var all map[string]recording
	if err := json.NewDecoder(z).Decode(&all); err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 {
		t.Fatal("nothing was recorded")
	}
	return all
}

// TestRecorded compares ids with sentencepiece's, for random texts of all scripts, broken UTF-8 and models of all
// kinds.
func TestRecorded(t *testing.T) {
	for name, r := range recorded(t) {
		tok, err := Parse(r.Model)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		wrong := 0
		for i, text := range r.Texts {
			if got := tok.IDs(string(text)); !slices.Equal(got, r.IDs[i]) {
				if wrong++; wrong <= 5 {
					t.Errorf("%s: %q: got %v, want %v", name, text, got, r.IDs[i])
				}
			}
		}
		if wrong > 0 || len(r.Texts) != len(r.IDs) {
			t.Errorf("%s: %d of %d texts are wrong", name, wrong, len(r.Texts))
		}
	}
}

func TestEncode(t *testing.T) {
	tok := open(t)
	const text = "a photo of a man"
	all := append(tok.IDs(text), tok.closing)
	for length := range len(all) + 3 {
		ids, mask := tok.Encode(text, length)
		if len(ids) != length || len(mask) != length {
			t.Fatalf("length %d: got %d ids and a mask of %d", length, len(ids), len(mask))
		}
		for i := range ids {
			want, one := tok.padding, int32(0)
			if i < len(all) {
				want, one = all[i], 1
			}
			if length < len(all) && i == length-1 {
				want = tok.closing
			}
			if ids[i] != want || mask[i] != one {
				t.Errorf("length %d: id %d is %d with mask %d, want %d and %d", length, i, ids[i], mask[i], want, one)
			}
		}
	}
}

func TestPreprocess(t *testing.T) {
	for prompt, want := range map[string]string{
		"": "", " \t A Photo\u3000\x1c": "a photo", "ÄÖÜ ẞ": "äöü ß", "İstanbul": "i\u0307stanbul",
		"ΟΔΟΣ ΣΑΣ": "οδος σας", "ǅ Ⅷ Ⓐ": "ǆ ⅷ ⓐ", "\u200ba": "\u200ba",
	} { // as Python's str.lower().strip()
		if got := Preprocess(prompt); got != want {
			t.Errorf("%q: got %q, want %q", prompt, got, want)
		}
	}
}

// message makes a protobuf message of its fields.
func message(fields ...any) []byte {
	var b []byte
	for i := 0; i < len(fields); i += 2 {
		number := protowire.Number(fields[i].(int))
		switch v := fields[i+1].(type) {
		case int:
			b = protowire.AppendVarint(protowire.AppendTag(b, number, protowire.VarintType), uint64(v))
		case float64:
			b = protowire.AppendFixed32(protowire.AppendTag(b, number, protowire.Fixed32Type),
				math.Float32bits(float32(v)))
		case string:
			b = protowire.AppendString(protowire.AppendTag(b, number, protowire.BytesType), v)
		case []byte:
			b = protowire.AppendBytes(protowire.AppendTag(b, number, protowire.BytesType), v)
		}
	}
	return b
}

func TestRefusals(t *testing.T) {
	pad, eos, unk := message(1, "<pad>", 3, control), message(1, "</s>", 3, control), message(1, "<unk>", 3, unknown)
	valid := message(1, pad, 1, eos, 1, unk, 1, message(1, "a", 2, -1.))
	if _, err := Parse(valid); err != nil {
		t.Fatalf("a small model: %v", err)
	}
	units := func(u ...uint32) (b []byte) {
		for _, u := range u {
			b = binary.LittleEndian.AppendUint32(b, u)
		}
		return b
	}
	charsmap := func(replacements string, u ...uint32) []byte {
		b := append(binary.LittleEndian.AppendUint32(nil, uint32(4*len(u))), units(u...)...)
		return slices.Concat(valid, message(3, message(2, append(b, replacements...))))
	}
	// A rule for \x01: the root's children are at 2, its node is at 2^1 = 3, and that one's children are at 3^2 = 1.
	if _, err := Parse(charsmap("x\x00", 2<<10, 1<<31, 0, 2<<10|1<<8|1)); err != nil {
		t.Errorf("a small charsmap: %v", err)
	}
	for want, data := range map[string][]byte{
		"no piece for unknown": {},
		"can't be read":        valid[:len(valid)-1],
		"wire type":            message(1, 5),
		"no text":              message(1, message(2, 1.)),
		"zero byte":            message(1, message(1, "a\x00")),
		"score is NaN":         message(1, message(1, "a", 2, math.NaN())),
		"unknown type 9":       slices.Concat(valid, message(1, message(1, "b", 3, 9))),
		"both stand for":       slices.Concat(valid, message(1, message(1, "b", 3, unknown))),
		"both \"a\"":           slices.Concat(valid, message(1, message(1, "a"))),
		"type bpe":             slices.Concat(valid, message(2, message(3, 2))),
		"type 77":              slices.Concat(valid, message(2, message(3, 77))),
		"no byte piece <0x00>": slices.Concat(valid, message(2, message(35, 1))),
		"piece \"x\" to close": slices.Concat(valid, message(2, message(47, "x"))),
		"piece \"a\" to fill":  slices.Concat(valid, message(2, message(48, "a"))),
		"no pieces to cut":     message(1, pad, 1, eos, 1, unk),
		"want at least 4":      slices.Concat(valid, message(3, message(2, "abc"))),
		"want a multiple of 4": slices.Concat(valid, message(3, message(2, "\xff\xff\xff\xff1234"))),
		"trie has 0 bytes":     slices.Concat(valid, message(3, message(2, "\x00\x00\x00\x001234"))),
		// the node at 3 has its children at 2, by \x01 itself
		"cycle":                 charsmap("x\x00", 2<<10, 0, 0, 1<<10|1),
		"no end":                charsmap("x", 2<<10, 1<<31, 0, 2<<10|1<<8|1),
		"replacement at byte 9": charsmap("x\x00", 2<<10, 1<<31|9, 0, 2<<10|1<<8|1),
		"value in unit":         charsmap("x\x00", 2<<10, 1<<31, 0, 999<<10|1<<8|1),
	} {
		if _, err := Parse(data); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want an error with %q", err, want)
		}
	}
	if _, err := Open(t.TempDir()); err == nil || !strings.Contains(err.Error(), modelFile) {
		t.Errorf("a folder without a model: %v", err)
	}
}

// check encodes a text and holds the ids to what they must be for any model.
func check(t *testing.T, tok *Tokenizer, text string) {
	t.Helper()
	ids := tok.IDs(text)
	joined := ""
	for _, id := range ids {
		if id < 0 || int(id) >= tok.Size() {
			t.Fatalf("%q: id %d of %d pieces", text, id, tok.Size())
		}
		if _, isAdded := tok.added[tok.Piece(id)]; isAdded { // the text is cut there
			return
		}
		if k := tok.pieces[id].kind; k == control || k == unused {
			t.Fatalf("%q: id %d is of type %d", text, id, k)
		}
		joined += tok.Piece(id)
	}
	if want := string(tok.normalizer.normalize(text)); tok.bytes == nil && !slices.Contains(ids, tok.unknown) &&
		joined != want {
		t.Fatalf("%q: the pieces make %q, want %q", text, joined, want)
	}
}

// small returns the recorded models without the large charsmap.
func small(t testing.TB) map[string]recording {
	all := recorded(t)
	delete(all, "nmt_nfkc")
	return all
}

func FuzzParse(f *testing.F) {
	for _, r := range small(f) {
		f.Add(r.Model, "AB man あ \U0001f680")
		for _, cut := range []int{1, 100, len(r.Model) / 2} {
			f.Add(r.Model[:len(r.Model)-cut], "a")
		}
	}
	f.Fuzz(func(t *testing.T, model []byte, text string) {
		if tok, err := Parse(model); err == nil {
			check(t, tok, text)
		}
	})
}

// TestLies changes bytes of the charsmap: the model is refused, or still encodes.
func TestLies(t *testing.T) {
	r := recorded(t)["nmt_nfkc"]
	random := rand.New(rand.NewPCG(1, 2))
	refused := 0
	for range 40 {
		data := slices.Clone(r.Model)
		m, err := parseModel(data)
		if err != nil {
			t.Fatal(err)
		}
		for range 1 + random.IntN(20) { // it lies in data
			m.charsmap[random.IntN(len(m.charsmap))] = byte(random.Uint32())
		}
		tok, err := Parse(data)
		if err != nil {
			refused++
			continue
		}
		for _, text := range r.Texts {
			check(t, tok, string(text))
		}
	}
	if refused == 0 {
		t.Error("no lie was noticed")
	}
}

func FuzzEncode(f *testing.F) {
	var toks []*Tokenizer
	for _, r := range recorded(f) {
		tok, err := Parse(r.Model)
		if err != nil {
			f.Fatal(err)
		}
		toks = append(toks, tok)
		for _, text := range r.Texts[:20] {
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, tok := range toks {
			check(t, tok, string(text))
		}
	})
}

func BenchmarkOpen(b *testing.B) {
	for b.Loop() {
		open(b)
	}
}

// BenchmarkLong encodes a megabyte of English words, of random scripts, of one letter, of spaces and of broken UTF-8.
func BenchmarkLong(b *testing.B) {
	tok := open(b)
	random := bytes.Join(recorded(b)["nmt_nfkc"].Texts, []byte(" "))
	for name, text := range map[string][]byte{"words": []byte("an oil painting of people around a campfire. "),
		"scripts": random,
		"letter":  []byte("x"), "spaces": []byte("\u3000"), "broken": {0xe2, 0x96}} {
		text := string(bytes.Repeat(text, 1<<20/len(text)))
		b.Run(name, func(b *testing.B) {
			b.SetBytes(int64(len(text)))
			for b.Loop() {
				tok.IDs(text)
			}
		})
	}
}
