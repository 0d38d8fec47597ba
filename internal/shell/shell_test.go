package shell

import "testing"

func TestQuote(t *testing.T) {
	for word, want := range map[string]string{
		"out/demo": "out/demo", "": "''", "my runs": "'my runs'", "it's": `'it'\''s'`, "$HOME": "'$HOME'",
	} {
		if got := Quote(word); got != want {
			t.Errorf("Quote(%q) = %s, want %s", word, got, want)
		}
	}
}
