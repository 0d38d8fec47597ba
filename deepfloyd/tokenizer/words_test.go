package tokenizer

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestWords(t *testing.T) {
	model := Words([]string{"a red rocket on a blue ground, flat style", "two cats", "a cat", "a café"}, 1000)
	m, err := Parse(model)
	if err != nil {
		t.Fatal(err)
	}
	if path := os.Getenv("UNNOISE_WORDS"); path != "" { // for a look by the sentencepiece library
		if err := os.WriteFile(path, model, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string][]string{
		"a red  rocket, two cats": {"▁a", "▁red", "▁rocket", ",", "▁two", "▁cats"},
		"a dog":                   {"▁a", "▁", "d", "o", "g"},
		"rockets":                 {"▁rocket", "s"},
		"café":                    {"▁café"},
		"red-blue":                {"▁red", "-", "b", "l", "u", "e"},
		"a ☂":                     {"▁a", "▁", "<unk>"},
		"":                        nil,
	} {
		var got []string
		for _, id := range m.IDs(text) {
			got = append(got, m.Piece(id))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%q is cut into %q, want %q", text, got, want)
		}
	}
	data, err := os.ReadFile(filepath.Join("testdata", "words.json")) // by testdata/words.py
	if err != nil {
		t.Fatal(err)
	}
	var recorded struct {
		SHA256 string
		Cases  []struct {
			Text         string
			Library, IDs []int32
		}
	}
	if err := json.Unmarshal(data, &recorded); err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(model); hex.EncodeToString(sum[:]) != recorded.SHA256 {
		t.Error("the model is not the one that the sentencepiece library was asked with: record it again")
	}
	for _, c := range recorded.Cases {
		if got := m.IDs(c.Text); !slices.Equal(got, c.Library) {
			t.Errorf("%q has ids %v, by the sentencepiece library %v", c.Text, got, c.Library)
		}
		if got, _ := m.Encode(c.Text, 12); !slices.Equal(got, c.IDs) {
			t.Errorf("%q is encoded as %v, by transformers as %v", c.Text, got, c.IDs)
		}
	}
	few, err := Parse(Words([]string{"b b a a a c"}, 2))
	if err != nil {
		t.Fatal(err)
	}
	if n, all := len(few.IDs("a b")), len(few.IDs("a b c")); n != 2 || all != 4 {
		t.Errorf("of two words, two known ones are cut into %d pieces and the third into %d, want 2 and 2", n, all-n)
	}
}
