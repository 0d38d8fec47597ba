package tokenizer

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path/filepath"
	"slices"
	"strconv"

	"github.com/unnoise/unnoise/internal/hubfile"
	"github.com/unnoise/unnoise/internal/modelfile"
	"github.com/unnoise/unnoise/internal/otherfile"
)

// settings are a tokenizer_config.json, as transformers saves it beside the model.
type settings struct {
	EOSToken token `json:"eos_token"`
	PadToken token `json:"pad_token"`
	UnkToken token `json:"unk_token"`

	AddEOSToken    *bool          `json:"add_eos_token"`
	AddBOSToken    *bool          `json:"add_bos_token"`
	AddPrefixSpace *bool          `json:"add_prefix_space"`
	DoLowerCase    *bool          `json:"do_lower_case"`
	PaddingSide    *string        `json:"padding_side"`
	TruncationSide *string        `json:"truncation_side"`
	SPModelKwargs  map[string]any `json:"sp_model_kwargs"`

	AddedTokensDecoder      map[string]addedToken `json:"added_tokens_decoder"`
	AdditionalSpecialTokens tokenList             `json:"additional_special_tokens"`
	ExtraSpecialTokens      tokenList             `json:"extra_special_tokens"` // its name in transformers 5
	// how many <extra_id_0> and so on there are; 100 if not said
	ExtraIDs *int `json:"extra_ids"`

	// Of no effect on a prompt's ids: names, and what is for other uses or libraries.
	AutoMap                   any `json:"auto_map"`
	Backend                   any `json:"backend"`
	BOSToken                  any `json:"bos_token"`
	ChatTemplate              any `json:"chat_template"`
	CleanUpTokenizationSpaces any `json:"clean_up_tokenization_spaces"`
	CLSToken                  any `json:"cls_token"`
	FromSlow                  any `json:"from_slow"`
	IsLocal                   any `json:"is_local"`
	Legacy                    any `json:"legacy"`
	LocalFilesOnly            any `json:"local_files_only"`
	MaskToken                 any `json:"mask_token"`
	MaxLength                 any `json:"max_length"`
	ModelInputNames           any `json:"model_input_names"`
	ModelMaxLength            any `json:"model_max_length"`
	ModelSpecialTokens        any `json:"model_specific_special_tokens"`
	NameOrPath                any `json:"name_or_path"`
	PadToMultipleOf           any `json:"pad_to_multiple_of"`
	PadTokenTypeID            any `json:"pad_token_type_id"`
	ProcessorClass            any `json:"processor_class"`
	SEPToken                  any `json:"sep_token"`
	SpecialTokensMapFile      any `json:"special_tokens_map_file"`
	SplitSpecialTokens        any `json:"split_special_tokens"`
	Stride                    any `json:"stride"`
	TokenizerClass            any `json:"tokenizer_class"` // model_index.json says it
	TokenizerFile             any `json:"tokenizer_file"`
	TruncationStrategy        any `json:"truncation_strategy"`
	UnkID                     any `json:"unk_id"`
	UseFast                   any `json:"use_fast"`
	Verbose                   any `json:"verbose"`
	VocabFile                 any `json:"vocab_file"`
}

// token is a special token, given by its text or as an object.
type token string

func (t *token) UnmarshalJSON(data []byte) error {
	if string(data) == "null" {
		return nil
	}
	var object struct{ Content *string }
	if json.Unmarshal(data, (*string)(t)) == nil {
		return nil
	}
	if err := json.Unmarshal(data, &object); err != nil || object.Content == nil {
		return fmt.Errorf("%.80s where a token was expected", data)
	}
	*t = token(*object.Content)
	return nil
}

// tokenList are tokens, as a list or by names.
type tokenList []token

func (l *tokenList) UnmarshalJSON(data []byte) error {
	if json.Unmarshal(data, (*[]token)(l)) == nil {
		return nil
	}
	var byName map[string]token
	if err := json.Unmarshal(data, &byName); err != nil {
		return fmt.Errorf("%.80s where a list of tokens was expected", data)
	}
	*l = slices.Collect(maps.Values(byName))
	return nil
}

// decodeIfThere reads a file's settings, and reports whether there is one.
func decodeIfThere(path string, into any) (bool, error) {
	file, err := hubfile.ReadConfig(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, err
	}
	return true, file.Decode(into)
}

// readSettings reads what transformers saves beside the model. Settings by which a text has other ids than t gives it
// are refused; tokens that have ids of their own are added.
func (t *Tokenizer) readSettings(dir string) error {
	closing, padding, unknown := token(t.Piece(t.closing)), token(t.Piece(t.padding)), token(t.Piece(t.unknown))
	s := settings{EOSToken: closing, PadToken: padding, UnkToken: unknown}
	set, err := decodeIfThere(filepath.Join(dir, settingsFile), &s)
	if err != nil {
		return err
	}
	if err := t.check(filepath.Join(dir, settingsFile), s); err != nil {
		return err
	}
	special := settings{EOSToken: closing, PadToken: padding, UnkToken: unknown}
	mapped, err := decodeIfThere(filepath.Join(dir, specialFile), &special)
	if err != nil {
		return err
	}
	if err := t.check(filepath.Join(dir, specialFile), special); err != nil {
		return err
	}
	var added map[string]int
	data, err := modelfile.ReadFile(filepath.Join(dir, addedFile))
	if err == nil {
		if err := json.Unmarshal(data, &added); err != nil {
			return fmt.Errorf("%s: expected tokens and their ids: %w", filepath.Join(dir, addedFile),
				otherfile.Explain(data, err))
		}
	} else if !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("reading the added tokens: %w", err)
	}
	if !set && !mapped && added == nil {
		return nil
	}
	additional := slices.Concat(s.AdditionalSpecialTokens, s.ExtraSpecialTokens, special.AdditionalSpecialTokens)
	tokens, err := t.listed(s, additional, added)
	if err == nil {
		err = t.add(tokens)
	}
	for _, a := range additional {
		if _, known := t.added[string(a)]; err == nil && !known {
			err = fmt.Errorf("the added token %q has no id: expected it in added_tokens_decoder, or in %s", a,
				addedFile)
		}
	}
	if err != nil {
		return fmt.Errorf("the tokenizer's folder %s: %w", dir, err)
	}
	return nil
}

// listed returns the tokens of the settings by their ids: those of added_tokens_decoder, or in older folders of
// added_tokens.json; the special pieces of the model; and T5's <extra_id_0> and so on, whose ids fall, behind its last
// piece.
func (t *Tokenizer) listed(s settings, additional []token, added map[string]int) (map[int]addedToken, error) {
	tokens, known := map[int]addedToken{}, map[string]bool{}
	put := func(id int, a addedToken) error {
		if other, twice := tokens[id]; twice && other.Content != a.Content {
			return fmt.Errorf("the added tokens %q and %q both have id %d", other.Content, a.Content, id)
		}
		tokens[id], known[a.Content] = a, true
		return nil
	}
	for text, a := range s.AddedTokensDecoder {
		id, err := strconv.Atoi(text)
		if err != nil {
			return nil, fmt.Errorf("added_tokens_decoder has the id %q, expected a number", text)
		}
		if err := put(id, a); err != nil {
			return nil, err
		}
	}
	if s.AddedTokensDecoder == nil {
		for _, content := range slices.Sorted(maps.Keys(added)) {
			special := slices.Contains(additional, token(content)) ||
				slices.Contains([]token{s.EOSToken, s.PadToken, s.UnkToken}, token(content))
			if err := put(added[content], addedToken{Content: content, Special: special,
				Normalized: !special}); err != nil {
				return nil, err
			}
		}
	}
	for _, id := range []int32{t.closing, t.padding, t.unknown} {
		if content := t.Piece(id); !known[content] {
			if err := put(int(id), addedToken{Content: content, Special: true}); err != nil {
				return nil, err
			}
		}
	}
	extra, last := or(s.ExtraIDs, 100), len(t.pieces)-1
	if t.added != nil { // by a tokenizer.json, which has them
		extra = 0
	}
	if extra < 0 || extra > 1<<16 {
		return nil, fmt.Errorf("extra_ids is %d, expected 0 to %d", extra, 1<<16)
	}
	for i := range extra {
		a := addedToken{Content: fmt.Sprintf("<extra_id_%d>", i), Special: true, LStrip: true, RStrip: true}
		if id := last + extra - i; !known[a.Content] {
			if err := put(id, a); err != nil {
				return nil, err
			}
		}
	}
	return tokens, nil
}

// check refuses settings by which the same text has other ids than t gives it.
func (t *Tokenizer) check(path string, s settings) error {
	closing, padding, unknown := t.Piece(t.closing), t.Piece(t.padding), t.Piece(t.unknown)
	yes, no, right := true, false, "right"
	for _, c := range []struct {
		name     string
		found    any
		expected any
	}{
		{"eos_token", string(s.EOSToken), closing},
		{"pad_token", string(s.PadToken), padding},
		{"unk_token", string(s.UnkToken), unknown},
		{"add_eos_token", or(s.AddEOSToken, yes), yes},
		{"add_bos_token", or(s.AddBOSToken, no), no},
		{"add_prefix_space", or(s.AddPrefixSpace, yes), yes},
		{"do_lower_case", or(s.DoLowerCase, no), no},
		{"padding_side", or(s.PaddingSide, right), right},
		{"truncation_side", or(s.TruncationSide, right), right},
		{"the number of sp_model_kwargs", len(s.SPModelKwargs), 0},
	} {
		if c.found != c.expected {
			return fmt.Errorf("%s: %s is %v, expected %v", path, c.name, c.found, c.expected)
		}
	}
	return nil
}

func or[T any](p *T, otherwise T) T {
	if p == nil {
		return otherwise
	}
	return *p
}
