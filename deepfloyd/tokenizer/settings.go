package tokenizer

import (
	"encoding/json"
	"fmt"

	"github.com/unnoise/unnoise/internal/hubfile"
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

	// Of no effect on a prompt's ids: names, special tokens, which prompts have none of, and what is for other uses or libraries.
	AddedTokensDecoder        any `json:"added_tokens_decoder"`
	AdditionalSpecialTokens   any `json:"additional_special_tokens"`
	AutoMap                   any `json:"auto_map"`
	Backend                   any `json:"backend"`
	BOSToken                  any `json:"bos_token"`
	ChatTemplate              any `json:"chat_template"`
	CleanUpTokenizationSpaces any `json:"clean_up_tokenization_spaces"`
	CLSToken                  any `json:"cls_token"`
	ExtraIDs                  any `json:"extra_ids"`
	ExtraSpecialTokens        any `json:"extra_special_tokens"`
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

// checkSettings refuses settings by which the same text has other ids than t gives it.
func (t *Tokenizer) checkSettings(path string) error {
	file, err := hubfile.ReadConfig(path)
	if err != nil {
		return err
	}
	closing, padding, unknown := t.Piece(t.closing), t.Piece(t.padding), t.Piece(t.unknown)
	s := settings{EOSToken: token(closing), PadToken: token(padding), UnkToken: token(unknown)}
	if err := file.Decode(&s); err != nil {
		return err
	}
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
