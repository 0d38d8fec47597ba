package tokenizer

import (
	"os"
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
	few, err := Parse(Words([]string{"b b a a a c"}, 2))
	if err != nil {
		t.Fatal(err)
	}
	if n, all := len(few.IDs("a b")), len(few.IDs("a b c")); n != 2 || all != 4 {
		t.Errorf("of two words, two known ones are cut into %d pieces and the third into %d, want 2 and 2", n, all-n)
	}
}
