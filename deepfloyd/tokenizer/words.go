package tokenizer

import (
	"cmp"
	"maps"
	"math"
	"slices"
	"strings"
	"unicode"

	"google.golang.org/protobuf/encoding/protowire"
)

// Words makes a SentencePiece model (a ModelProto, as a file spiece.model holds it) of the words of texts: a piece for
// each of the most frequent words, at most as many as given, and one for each character, of which other words are made.
// Scores are logarithms of frequencies, as a unigram model's (Kudo 2018, arXiv:1804.10959); a character's is below each
// word's, so that a known word is one piece. Texts should be as [Preprocess] leaves them. The special pieces are T5's:
// <pad>, </s> and <unk>.
func Words(texts []string, most int) []byte {
	words, characters, total := map[string]int{}, map[string]int{space: 1}, 0
	for r := '!'; r <= '~'; r++ {
		if r == unicode.ToLower(r) {
			characters[string(r)] = 1
		}
	}
	for _, text := range texts {
		for _, field := range strings.Fields(text) {
			for i, word := range splitWord(field) {
				if i == 0 {
					word = space + word
				}
				words[word]++
				total++
				for _, r := range word {
					characters[string(r)] = 1
				}
			}
		}
	}
	for word := range words {
		if characters[word] > 0 { // punctuation stands for itself
			characters[word] += words[word]
			delete(words, word)
		}
	}
	frequent := slices.SortedFunc(maps.Keys(words), func(a, b string) int {
		return cmp.Or(-cmp.Compare(words[a], words[b]), cmp.Compare(a, b))
	})
	frequent = frequent[:min(len(frequent), most)]

	pieces := []piece{{"<pad>", 0, control}, {"</s>", 0, control}, {"<unk>", 0, unknown}}
	score := func(count int) float32 { return float32(math.Log(float64(count) / float64(total+1))) }
	for _, word := range frequent {
		pieces = append(pieces, piece{word, score(words[word]), normal})
	}
	for _, c := range slices.Sorted(maps.Keys(characters)) {
		pieces = append(pieces, piece{c, score(1) - 1, normal})
	}
	return writeModel(pieces)
}

// splitWord cuts a word before and behind each character that is neither a letter, a digit nor a mark.
func splitWord(field string) (parts []string) {
	start := 0
	for at, r := range field {
		if unicode.In(r, unicode.L, unicode.N, unicode.M) {
			continue
		}
		if at > start {
			parts = append(parts, field[start:at])
		}
		start = at + len(string(r))
		parts = append(parts, field[at:start])
	}
	if start < len(field) {
		parts = append(parts, field[start:])
	}
	return parts
}

// writeModel writes a ModelProto of a unigram model that normalizes nothing but spaces.
func writeModel(pieces []piece) []byte {
	message := func(to []byte, field protowire.Number, content []byte) []byte {
		return protowire.AppendBytes(protowire.AppendTag(to, field, protowire.BytesType), content)
	}
	number := func(to []byte, field protowire.Number, v uint64) []byte {
		return protowire.AppendVarint(protowire.AppendTag(to, field, protowire.VarintType), v)
	}
	var model []byte
	for _, p := range pieces {
		one := message(nil, 1, []byte(p.text))
		one = protowire.AppendFixed32(protowire.AppendTag(one, 2, protowire.Fixed32Type), math.Float32bits(p.score))
		model = message(model, 1, number(one, 3, uint64(p.kind)))
	}
	trainer := number(nil, 3, unigram)
	trainer = number(trainer, 4, uint64(len(pieces))) // vocab_size
	for _, special := range []struct{ field, id uint64 }{{40, 2}, {42, 1}, {43, 0}} {
		trainer = number(trainer, protowire.Number(special.field), special.id) // unk_id, eos_id, pad_id
	}
	trainer = number(trainer, 41, math.MaxUint64) // bos_id: −1, there is none
	normalizer := message(nil, 1, []byte("identity"))
	for _, field := range []protowire.Number{3, 4, 5} { // dummy prefix, no extra spaces, spaces as ▁
		normalizer = number(normalizer, field, 1)
	}
	return message(message(model, 2, trainer), 3, normalizer)
}
