package studio

import (
	"context"
	"path/filepath"
	"strings"
	"unicode"

	"github.com/danielgtaylor/huma/v2"

	"github.com/unnoise/unnoise/deepfloyd/tokenizer"
	"github.com/unnoise/unnoise/registry"
)

// mostWords bounds how many words of a tokenizer are offered for completion.
const mostWords = 4000

type (
	ofModel struct {
		Model string `query:"model" required:"true"`
	}
	withWords struct {
		Body []string
	}
)

// wordsOf answers which words a model's tokenizer knows as one piece, those that it learned first in front.
func (s *Studio) wordsOf(_ context.Context, in *ofModel) (*withWords, error) {
	name, ok := s.models.path(in.Model)
	if !ok {
		return nil, huma.Error404NotFound("the studio has no such model")
	}
	return &withWords{readWords(name)}, nil
}

// readWords reads a model's tokenizer. Models without one have no words.
func readWords(name string) []string {
	words := []string{}
	place, err := registry.Find(name)
	if err != nil || place.Dir == "" {
		return words
	}
	t, err := tokenizer.Open(filepath.Join(place.Dir, "tokenizer"))
	if err != nil {
		return words
	}
	for id := range t.Size() {
		word, begins := strings.CutPrefix(t.Piece(int32(id)), "\u2581")
		if begins && isWord(word) {
			if words = append(words, strings.ToLower(word)); len(words) == mostWords {
				break
			}
		}
	}
	return words
}

func isWord(s string) bool {
	n := 0
	for _, r := range s {
		if !unicode.IsLetter(r) && r != '-' {
			return false
		}
		n++
	}
	return n > 1
}
