// Package tokenizer turns prompts into the ids of a SentencePiece unigram model, as T5 reads them.
//
// A text is normalized (see normalizer), then cut into the pieces of the vocabulary whose scores have the largest sum
// (Kudo 2018, arXiv:1804.10959). Ids are those that the sentencepiece library gives. Special tokens such as </s> and
// T5's <extra_id_0>, and tokens that were added to the model's, are found in a text as transformers 5 finds them, if
// the folder tells of them. In a folder of a spiece.model alone they are plain text.
package tokenizer

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math"
	"path/filepath"
	"slices"

	"github.com/unnoise/unnoise/internal/modelfile"
	"github.com/unnoise/unnoise/internal/otherfile"
)

// Tokenizer is a SentencePiece model. It is safe for concurrent use.
type Tokenizer struct {
	pieces     []piece
	vocabulary trie // ids of the pieces that texts are cut into
	normalizer normalizer

	unknown, closing, padding int32
	bytes                     []int32 // the ids of the 256 bytes; nil where unknown characters are one piece

	added           map[string]knownToken
	raw, normalized finder // of added ones: in a text as it is, and in a normalized one
	alone           bool   // words are not cut at spaces before they get theirs
	first           bool   // only a text's first word gets a space

	unknownScore float32
	maxScore     float32 // of normal pieces
}

// The files of a tokenizer's folder: the model, or what the tokenizers library made of it, and transformers' settings.
const (
	modelFile    = "spiece.model"
	libraryFile  = "tokenizer.json"
	settingsFile = "tokenizer_config.json"
	specialFile  = "special_tokens_map.json"
	addedFile    = "added_tokens.json"
)

// ModelFile returns the name of the model in a tokenizer's folder: spiece.model, or tokenizer.json where there is no
// other.
func ModelFile(dir string) string {
	if _, err := modelfile.Stat(filepath.Join(dir, modelFile)); errors.Is(err, fs.ErrNotExist) {
		if _, err := modelfile.Stat(filepath.Join(dir, libraryFile)); err == nil {
			return libraryFile
		}
	}
	return modelFile
}

// maxModel bounds a model file's bytes; T5's has 800 kB, as tokenizer.json 2.4 MB. What is made of them may take fifty
// times as many.
const maxModel = 1 << 24

// Files returns the paths of the files that make a tokenizer of a folder, those that there are.
func Files(dir string) (paths []string) {
	for _, name := range []string{ModelFile(dir), settingsFile, specialFile, addedFile} {
		if _, err := modelfile.Stat(filepath.Join(dir, name)); err == nil {
			paths = append(paths, filepath.Join(dir, name))
		}
	}
	return paths
}

// Open reads the model of a tokenizer's folder, and the tokens that were added to it. A tokenizer_config.json beside it
// must not ask for other ids.
func Open(dir string) (*Tokenizer, error) {
	path := filepath.Join(dir, ModelFile(dir))
	info, err := modelfile.Stat(path)
	if err != nil {
		return nil, fmt.Errorf("opening a tokenizer: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxModel {
		return nil, fmt.Errorf("%s is not a tokenizer's model: want a file of at most %d MB", path, maxModel>>20)
	}
	read := readModel
	if filepath.Base(path) == libraryFile {
		read = readLibrary
	}
	t, err := read(path)
	if err != nil {
		return nil, err
	}
	if err := t.readSettings(dir); err != nil {
		return nil, err
	}
	return t, nil
}

func readModel(path string) (*Tokenizer, error) {
	data, err := modelfile.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("opening a tokenizer: %w", err)
	}
	t, err := Parse(data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// Parse reads a serialized SentencePiece model of type unigram.
func Parse(data []byte) (*Tokenizer, error) {
	m, err := parseModel(data)
	if err != nil {
		return nil, fmt.Errorf("not a valid SentencePiece model: %w", otherfile.Explain(data, err))
	}
	return m.tokenizer()
}

func (m *model) tokenizer() (_ *Tokenizer, err error) {
	if m.algorithm != unigram {
		name := algorithms[m.algorithm]
		if name == "" {
			name = fmt.Sprint(m.algorithm)
		}
		return nil, fmt.Errorf("the SentencePiece model is of type %s; want unigram", name)
	}
	t := &Tokenizer{pieces: m.pieces, unknown: -1}
	if err := t.index(m); err != nil {
		return nil, err
	}
	t.normalizer.spec = m.normalizer
	if len(m.charsmap) > 0 {
		if t.normalizer.rules, err = parseCharsmap(m.charsmap); err != nil {
			return nil, fmt.Errorf("the model's precompiled_charsmap: %w", err)
		}
	}
	return t, nil
}

// index makes the tries and looks the special pieces up.
func (t *Tokenizer) index(m *model) error {
	words, special := map[string]int32{}, map[string]int32{}
	var symbols []string // user-defined
	minScore := float32(math.MaxFloat32)
	t.maxScore = 0x1p-126 // sentencepiece's starting point, C's FLT_MIN, which is not the most negative number
	for i, p := range m.pieces {
		id, to := int32(i), words
		switch p.kind {
		case normal:
			minScore, t.maxScore = min(minScore, p.score), max(t.maxScore, p.score)
		case userDefined:
			symbols = append(symbols, p.text)
		case unused:
		case unknown, control, byteValue:
			to = special
		default:
			return fmt.Errorf("piece %d %q is of the unknown type %d", i, p.text, p.kind)
		}
		if p.kind == unknown {
			if t.unknown >= 0 {
				return fmt.Errorf("pieces %d and %d both stand for unknown characters", t.unknown, id)
			}
			t.unknown = id
		}
		if other, twice := to[p.text]; twice {
			return fmt.Errorf("pieces %d and %d are both %q", other, id, p.text)
		}
		to[p.text] = id
	}
	if t.unknown < 0 {
		return errors.New("the model has no piece for unknown characters")
	}
	if len(words) == 0 {
		return errors.New("the model has no pieces to cut a text into")
	}
	t.unknownScore = minScore - unknownPenalty
	for _, s := range []struct {
		id         *int32
		name, what string
	}{{&t.closing, m.closing, "close a text with"}, {&t.padding, m.padding, "fill a text up with"}} {
		id, ok := special[s.name]
		if !ok || m.pieces[id].kind != control {
			return fmt.Errorf("the model has no control piece %q to %s", s.name, s.what)
		}
		*s.id = id
	}
	if m.byteFallback {
		for b := range 256 {
			name := fmt.Sprintf("<0x%02X>", b)
			id, ok := special[name]
			if !ok || m.pieces[id].kind != byteValue {
				return fmt.Errorf("the model has byte_fallback, but no byte piece %s", name)
			}
			t.bytes = append(t.bytes, id)
		}
	}
	keys := slices.Sorted(maps.Keys(words))
	ids := make([]int32, len(keys))
	for i, k := range keys {
		ids[i] = words[k]
	}
	t.vocabulary = newTrie(keys, ids)
	slices.Sort(symbols)
	t.normalizer.symbols = newTrie(symbols, make([]int32, len(symbols)))
	return nil
}

// Size returns the number of pieces and added tokens; ids are below it.
func (t *Tokenizer) Size() int { return len(t.pieces) }

// Piece returns the text of an id, with ▁ for spaces.
func (t *Tokenizer) Piece(id int32) string { return t.pieces[id].text }

// Added returns the tokens that were added to the model's pieces, special ones too, in order.
func (t *Tokenizer) Added() []string { return slices.Sorted(maps.Keys(t.added)) }

// IDs returns the ids of a text, of any length, without the closing one. A text may be any bytes: those that are no
// UTF-8 are unknown characters.
func (t *Tokenizer) IDs(text string) []int32 {
	if t.added != nil {
		return t.withAdded(text)
	}
	return t.cut(t.normalizer.normalize(text))
}

// Encode returns the ids of a text with the closing </s>, cut off or filled up to the length, and a mask that is 1 for
// them and 0 for the filling.
func (t *Tokenizer) Encode(text string, length int) (ids, mask []int32) {
	length = max(length, 0)
	ids, mask = make([]int32, length), make([]int32, length)
	all := t.IDs(text)
	all = append(all[:min(len(all), max(length-1, 0))], t.closing)
	for i := range ids {
		ids[i] = t.padding
		if i < len(all) {
			ids[i], mask[i] = all[i], 1
		}
	}
	return ids, mask
}
