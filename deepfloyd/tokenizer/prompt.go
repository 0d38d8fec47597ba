package tokenizer

import (
	"strings"
	"unicode"

	"golang.org/x/text/cases"
	"golang.org/x/text/language"
)

// Preprocess is what diffusers' IFPipeline does to a prompt before it is encoded, unless it is told to clean captions:
// lower case, and no space at both ends.
func Preprocess(prompt string) string {
	return strings.TrimFunc(cases.Lower(language.Und).String(prompt), func(r rune) bool {
		return unicode.IsSpace(r) || '\x1c' <= r && r <= '\x1f' // Python's spaces
	})
}
