package tokenizer

import (
	"bytes"
	"strings"
	"unicode/utf8"
)

// space is what pieces have in a space's place: U+2581.
const space = "▁"

// spec is what a model says about spaces; see NormalizerSpec in sentencepiece_model.proto.
type spec struct {
	dummyPrefix  bool // a space before every text
	removeSpaces bool // at both ends, and all but one of several
	escapeSpaces bool // write them as ▁
	spaceBehind  bool // pieces end with their space: the dummy goes behind the text
}

// normalizer is the first step: characters are replaced by the model's rules (for T5 NFKC, with all kinds of spaces
// made one and control characters dropped), then spaces are put in order.
type normalizer struct {
	spec
	rules   charsmap
	symbols trie // user-defined: never changed
}

// next returns what the beginning of a text becomes, and its length. Of several rules the longest counts.
func (n *normalizer) next(text string) (string, int) {
	if length := n.symbols.longest(text); length > 0 {
		return text[:length], length
	}
	if length, replacement := n.rules.longest(text); length > 0 {
		return replacement, length
	}
	r, length := utf8.DecodeRuneInString(text)
	if r == utf8.RuneError && length == 1 {
		return string(utf8.RuneError), 1
	}
	return text[:length], length
}

// characters returns a text by the rules for characters alone.
func (n *normalizer) characters(text string) string {
	var out strings.Builder
	for text != "" {
		s, length := n.next(text)
		out.WriteString(s)
		text = text[length:]
	}
	return out.String()
}

func (n *normalizer) normalize(text string) []byte {
	for n.removeSpaces && text != "" {
		s, length := n.next(text)
		if s != " " {
			break
		}
		text = text[length:]
	}
	if text == "" {
		return nil
	}
	blank := " "
	if n.escapeSpaces {
		blank = space
	}
	out := make([]byte, 0, len(text)+len(text)/2+2*len(blank))
	if n.dummyPrefix && !n.spaceBehind {
		out = append(out, blank...)
	}
	behindSpace := n.removeSpaces
	for text != "" {
		s, length := n.next(text)
		text = text[length:]
		for behindSpace && s != "" && s[0] == ' ' {
			s = s[1:]
		}
		for i := range len(s) {
			if s[i] == ' ' {
				out = append(out, blank...)
			} else {
				out = append(out, s[i])
			}
		}
		if s != "" {
			behindSpace = n.removeSpaces && s[len(s)-1] == ' '
		}
	}
	for n.removeSpaces && bytes.HasSuffix(out, []byte(blank)) {
		out = out[:len(out)-len(blank)]
	}
	if n.dummyPrefix && n.spaceBehind {
		out = append(out, blank...)
	}
	return out
}
