package tokenizer

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// addedToken is a text with an id of its own beside the model: a special token such as </s>, or one that was added
// later, as textual inversion does.
type addedToken struct {
	Content    string `json:"content"`
	SingleWord bool   `json:"single_word"` // only where no letter or digit stands beside it
	LStrip     bool   `json:"lstrip"`      // with the spaces before it
	RStrip     bool   `json:"rstrip"`      // with the spaces behind it
	Normalized bool   `json:"normalized"`  // found in the normalized text
	Special    bool   `json:"special"`

	Type any `json:"__type"` // AddedToken
}

// maxID bounds the ids of added tokens, as the text encoder's vocab_size is bounded.
const maxID = 1 << 20

// add makes tokens known by their ids.
func (t *Tokenizer) add(tokens map[int]addedToken) error {
	ids := slices.Sorted(maps.Keys(tokens))
	for _, id := range ids {
		token := tokens[id]
		switch {
		case token.Content == "" || strings.IndexByte(token.Content, 0) >= 0:
			return fmt.Errorf("the added token %d is %q, expected a text", id, token.Content)
		case id < 0 || id >= maxID:
			return fmt.Errorf("the added token %q has id %d, expected 0 to %d", token.Content, id, maxID-1)
		case id < len(t.pieces) && t.pieces[id].text != "" && t.pieces[id].text != token.Content:
			return fmt.Errorf("the added token %q has id %d, which is another piece's", token.Content, id)
		}
		if other, twice := t.added[token.Content]; twice && other.id != int32(id) {
			return fmt.Errorf("the added token %q has the ids %d and %d", token.Content, other.id, id)
		}
		for len(t.pieces) <= id {
			t.pieces = append(t.pieces, piece{kind: unused})
		}
		t.pieces[id].text = token.Content
		if t.added == nil {
			t.added = map[string]knownToken{}
		}
		if _, known := t.added[token.Content]; !known {
			t.added[token.Content] = knownToken{int32(id), token}
		}
	}
	for i, found := range []*finder{&t.raw, &t.normalized} {
		*found = finder{tokens: map[string]knownToken{}}
		for _, content := range slices.Sorted(maps.Keys(t.added)) {
			if token := t.added[content]; token.Normalized == (i == 1) {
				if token.Normalized {
					content = t.normalizer.characters(content)
				}
				if _, known := found.tokens[content]; content != "" && !known {
					found.tokens[content] = token
				}
			}
		}
		texts := slices.Sorted(maps.Keys(found.tokens))
		found.texts = newTrie(texts, make([]int32, len(texts)))
	}
	return nil
}

type knownToken struct {
	id int32
	addedToken
}

// finder finds tokens in a text.
type finder struct {
	texts  trie
	tokens map[string]knownToken
}

// part is a token of a text, or what stands between two.
type part struct {
	id   int32 // noValue: text
	text string
	at   int
}

// split cuts a text at the tokens in it, the first ones and of these the longest, as the tokenizers library does.
func (f *finder) split(text string) (parts []part) {
	done := 0
	for at := 0; at < len(text) && len(f.tokens) > 0; {
		length := f.texts.longest(text[at:])
		if length == 0 {
			at++
			continue
		}
		token := f.tokens[text[at:at+length]]
		from, to := at, at+length
		at = to
		if before, _ := utf8.DecodeLastRuneInString(text[:from]); token.SingleWord && from > 0 && isWord(before) {
			continue
		}
		if behind, _ := utf8.DecodeRuneInString(text[to:]); token.SingleWord && to < len(text) && isWord(behind) {
			continue
		}
		if token.LStrip {
			from = max(done, len(strings.TrimRightFunc(text[:from], unicode.IsSpace)))
		}
		if token.RStrip {
			to = len(text) - len(strings.TrimLeftFunc(text[to:], unicode.IsSpace))
		}
		if from > done {
			parts = append(parts, part{noValue, text[done:from], done})
		}
		parts = append(parts, part{id: token.id, at: from})
		done, at = to, to
	}
	if done < len(text) {
		parts = append(parts, part{noValue, text[done:], done})
	}
	return parts
}

// isWord reports whether a character is of a word, as regular expressions' \w.
func isWord(r rune) bool {
	return unicode.In(r, unicode.Letter, unicode.Mark, unicode.Nd, unicode.Nl, unicode.Pc, unicode.Other_Alphabetic,
		unicode.Join_Control)
}

// withAdded returns the ids of a text with added tokens: those that are found in the text as it is, then, in what is
// between them, those that are found in the normalized text.
func (t *Tokenizer) withAdded(text string) (ids []int32) {
	for _, p := range t.raw.split(text) {
		if p.id != noValue {
			ids = append(ids, p.id)
			continue
		}
		parts := t.normalized.split(t.spaced(p.text))
		if len(parts) == 1 && parts[0].id == noValue && (p.at == 0 || !t.first) {
			ids = append(ids, t.cut(t.normalizer.normalize(p.text))...)
			continue
		}
		for _, inner := range parts {
			switch {
			case inner.id != noValue:
				ids = append(ids, inner.id)
			case t.alone:
				ids = append(ids, t.cut([]byte(t.word(inner.text, p.at+inner.at == 0)))...)
			default:
				ids = append(ids, t.cut(t.normalizer.normalize(inner.text))...)
			}
		}
	}
	return ids
}

// spaced returns a text with its characters normalized, and its spaces as the library's normalizer leaves them.
func (t *Tokenizer) spaced(text string) string {
	text = t.normalizer.characters(text)
	if !t.alone {
		return text
	}
	return severalSpaces.ReplaceAllString(strings.TrimRight(text, " "), space)
}

var severalSpaces = regexp.MustCompile(" {2,}")

// word is what a Metaspace alone makes of a text: one space before it, if it has none and is to have one.
func (t *Tokenizer) word(text string, start bool) string {
	text = strings.ReplaceAll(text, " ", space)
	if !strings.HasPrefix(text, space) && (start || !t.first) {
		text = space + text
	}
	return text
}
