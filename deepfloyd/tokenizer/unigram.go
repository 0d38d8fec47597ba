package tokenizer

import "slices"

// unknownPenalty is how much lower than all pieces an unknown character scores.
const unknownPenalty = 10

// cut finds the pieces with the best sum of scores by dynamic programming over the bytes (Viterbi). Sums are float32,
// as sentencepiece's, so that ties go the same way.
func (t *Tokenizer) cut(text []byte) []int32 {
	if len(text) == 0 {
		return nil
	}
	type end struct { // the best way to a position, by its last piece
		score float32
		id    int32
		start int // -1: there is none yet
	}
	best := make([]end, len(text)+1)
	for i := range best {
		best[i].start = -1
	}
	for start := 0; start < len(text); {
		till := best[start].score
		size := min(characterSize(text[start]), len(text)-start)
		known := false
		node := int32(0)
		for at := start; at < len(text); at++ {
			if node = t.vocabulary.step(node, text[at]); node == 0 {
				break
			}
			id := t.vocabulary.values[node]
			if id == noValue || t.pieces[id].kind == unused {
				continue
			}
			length := at + 1 - start
			score := t.pieces[id].score
			if t.pieces[id].kind == userDefined {
				score = float32(float32(length)*t.maxScore) - 0.1
			}
			score += till
			if e := &best[at+1]; e.start < 0 || score > e.score {
				*e = end{score, id, start}
			}
			known = known || length == size
		}
		if !known {
			score := t.unknownScore + till
			if e := &best[start+size]; e.start < 0 || score > e.score {
				*e = end{score, t.unknown, start}
			}
		}
		start += size
	}
	var ids []int32 // from the last to the first
	for at := len(text); at > 0; {
		e := best[at]
		switch {
		case e.id != t.unknown:
			ids = append(ids, e.id)
		case t.bytes != nil:
			for i := at - 1; i >= e.start; i-- {
				ids = append(ids, t.bytes[text[i]])
			}
		case len(ids) == 0 || ids[len(ids)-1] != t.unknown: // several in a row are one
			ids = append(ids, t.unknown)
		}
		at = e.start
	}
	slices.Reverse(ids)
	return ids
}

// characterSize is the number of bytes that a character has by its first one.
func characterSize(first byte) int {
	switch {
	case first >= 0xf0:
		return 4
	case first >= 0xe0:
		return 3
	case first >= 0xc0:
		return 2
	}
	return 1
}
