package tokenizer

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/unnoise/unnoise/internal/hubfile"
)

// library is a tokenizer.json of Hugging Face's tokenizers library.
type library struct {
	AddedTokens []struct {
		ID int `json:"id"`
		addedToken
	} `json:"added_tokens"`
	Normalizer    *step           `json:"normalizer"`
	PreTokenizer  *step           `json:"pre_tokenizer"`
	PostProcessor *step           `json:"post_processor"`
	Model         json.RawMessage `json:"model"`

	// Of no effect on a prompt's ids: the length is the caller's.
	Version    any `json:"version"`
	Truncation any `json:"truncation"`
	Padding    any `json:"padding"`
	Decoder    any `json:"decoder"`
}

// step is one of the library's, or a Sequence of several.
type step struct {
	stepSettings
	Normalizers   []single `json:"normalizers"`
	PreTokenizers []single `json:"pretokenizers"`
}

// single is a step that is no Sequence.
type single struct{ stepSettings }

// stepSettings are those of the steps that T5's tokenizers have.
type stepSettings struct {
	Type string `json:"type"`
	// Precompiled
	Charsmap []byte `json:"precompiled_charsmap"`
	// Replace
	Pattern struct {
		Regex string
	} `json:"pattern"`
	Content string `json:"content"`
	// Strip
	StripLeft  any `json:"strip_left"`
	StripRight any `json:"strip_right"`
	// Metaspace
	Replacement    string  `json:"replacement"`
	PrependScheme  *string `json:"prepend_scheme"`
	AddPrefixSpace *bool   `json:"add_prefix_space"` // in older files, as str_rep is
	StrRep         any     `json:"str_rep"`
	Split          any     `json:"split"` // no piece has a space inside
	// TemplateProcessing
	Single []struct {
		Sequence     any
		SpecialToken *struct {
			ID     string `json:"id"`
			TypeID any    `json:"type_id"`
		}
	} `json:"single"`
	Pair          any `json:"pair"`
	SpecialTokens map[string]struct {
		ID     any   `json:"id"`
		IDs    []int `json:"ids"`
		Tokens any   `json:"tokens"`
	} `json:"special_tokens"`
}

func (s *step) UnmarshalJSON(data []byte) error {
	type plain step
	return strict(data, (*plain)(s))
}

func (s *single) UnmarshalJSON(data []byte) error { return strict(data, &s.stepSettings) }

// strict refuses settings that there are no fields for.
func strict(data []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%s: %w", typeOf(data), err)
	}
	return nil
}

func typeOf(data []byte) string {
	var t struct{ Type string }
	_ = json.Unmarshal(data, &t)
	return t.Type
}

// readLibrary reads a model that was made from a SentencePiece model of T5. Its ids are that one's; the library's are
// others for texts with ▁ or U+0085, for several marks on a letter, and where two cuts score the same but for rounding.
func readLibrary(path string) (*Tokenizer, error) {
	file, err := hubfile.ReadConfig(path)
	if err != nil {
		return nil, err
	}
	var f library
	if err := file.Decode(&f); err != nil {
		return nil, err
	}
	m, err := f.model()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	t, err := m.tokenizer()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	t.alone, t.first = f.alone()
	tokens := map[int]addedToken{}
	for _, a := range f.AddedTokens {
		if _, twice := tokens[a.ID]; twice {
			return nil, fmt.Errorf("%s: two added tokens have id %d", path, a.ID)
		}
		tokens[a.ID] = a.addedToken
	}
	if err := t.add(tokens); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return t, nil
}

// alone reports whether words get their spaces without having been cut at them, and whether only a text's first one
// gets one.
func (f *library) alone() (alone, first bool) {
	steps := f.PreTokenizer.flat()
	p := steps[0].PrependScheme
	return len(steps) == 1, len(steps) == 1 && p != nil && *p == "first"
}

func (f *library) model() (*model, error) {
	m := &model{algorithm: unigram, padding: "<pad>", normalizer: spec{dummyPrefix: true, removeSpaces: true,
		escapeSpaces: true}}
	for _, each := range []func(*model) error{f.pieces, f.normalize, f.splitWords, f.close} {
		if err := each(m); err != nil {
			return nil, err
		}
	}
	return m, nil
}

// scored is a piece and its score.
type scored piece

func (s *scored) UnmarshalJSON(data []byte) error {
	pair := []any{&s.text, &s.score}
	if err := json.Unmarshal(data, &pair); err != nil || len(pair) != 2 {
		return fmt.Errorf("%.80s where a piece and its score were expected", data)
	}
	return nil
}

func (f *library) pieces(m *model) error {
	if t := typeOf(f.Model); t != "Unigram" {
		return fmt.Errorf("the model is of type %q, expected Unigram", t)
	}
	var u struct {
		Type         any      `json:"type"`
		UnkID        *int     `json:"unk_id"`
		Vocab        []scored `json:"vocab"`
		ByteFallback bool     `json:"byte_fallback"`
	}
	if err := strict(f.Model, &u); err != nil {
		return fmt.Errorf("model: %w", err)
	}
	if u.ByteFallback {
		return errors.New("byte_fallback is true, expected false, as T5 has it")
	}
	for i, s := range u.Vocab {
		p := piece{s.text, s.score, normal}
		if err := p.check(); err != nil {
			return fmt.Errorf("piece %d: %w", i, err)
		}
		m.pieces = append(m.pieces, p)
	}
	for _, a := range f.AddedTokens {
		switch {
		case a.ID < 0 || a.ID < len(m.pieces) && m.pieces[a.ID].text != a.Content:
			return fmt.Errorf("the added token %q has id %d, which is another piece's", a.Content, a.ID)
		case a.ID < len(m.pieces) && a.Special:
			m.pieces[a.ID].kind = control
		}
	}
	if u.UnkID == nil || *u.UnkID < 0 || *u.UnkID >= len(m.pieces) {
		return fmt.Errorf("unk_id is not one of %d pieces", len(m.pieces))
	}
	m.pieces[*u.UnkID].kind = unknown
	return nil
}

// normalize reads the rules for characters. Rules for spaces come to what SentencePiece does with them.
func (f *library) normalize(m *model) error {
	for i, n := range f.Normalizer.flat() {
		switch {
		case n.Type == "Precompiled" && i == 0:
			m.charsmap = n.Charsmap
		case n.Type == "Strip":
		case n.Type == "Replace" && n.Pattern.Regex == " {2,}" && (n.Content == " " || n.Content == space):
		default:
			return fmt.Errorf("the normalizer's step %d is %s, expected T5's: Precompiled, then Strip and Replace of "+
				"several spaces", i, n.Type)
		}
	}
	return nil
}

func (f *library) splitWords(*model) error {
	steps := f.PreTokenizer.flat()
	alone := true
	if len(steps) == 2 && steps[0].Type == "WhitespaceSplit" {
		steps, alone = steps[1:], false
	}
	if len(steps) != 1 || steps[0].Type != "Metaspace" {
		return errors.New("the pre_tokenizer is not T5's: expected Metaspace, behind WhitespaceSplit or not")
	}
	s := steps[0]
	if s.Replacement != space {
		return fmt.Errorf("the Metaspace's replacement is %q, expected %q", s.Replacement, space)
	}
	if p := s.PrependScheme; p != nil && *p != "always" && !(alone && *p == "first") {
		return fmt.Errorf("the Metaspace's prepend_scheme is %s, expected always", *p)
	}
	if s.AddPrefixSpace != nil && !*s.AddPrefixSpace {
		return errors.New("the Metaspace's add_prefix_space is false, expected true")
	}
	return nil
}

// close reads what closes a text.
func (f *library) close(m *model) error {
	const expected = "expected T5's: a TemplateProcessing of the text and </s>"
	p := f.PostProcessor
	if p == nil || p.Type != "TemplateProcessing" || len(p.Single) != 2 || p.Single[0].Sequence == nil ||
		p.Single[1].SpecialToken == nil {
		return errors.New("the post_processor is another one, " + expected)
	}
	m.closing = p.Single[1].SpecialToken.ID
	ids := p.SpecialTokens[m.closing].IDs
	if len(ids) != 1 || ids[0] < 0 || ids[0] >= len(m.pieces) || m.pieces[ids[0]].text != m.closing {
		return fmt.Errorf("the post_processor closes with %q of ids %d, %s", m.closing, ids, expected)
	}
	return nil
}

// flat returns the steps of a sequence, or one alone, or none.
func (s *step) flat() []single {
	switch {
	case s == nil:
		return nil
	case s.Type == "Sequence":
		return slices.Concat(s.Normalizers, s.PreTokenizers)
	}
	return []single{{s.stepSettings}}
}
