package tokenizer

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/internal/golden"
)

type object = map[string]any
type array = []any

// writeLibrary writes the golden model as transformers 5.23 saves it (T5Tokenizer.save_pretrained), with some changes.
func writeLibrary(t testing.TB, dir string, changes object) {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(golden.Dir(t), "if_tiny", "tokenizer", modelFile))
	if err != nil {
		t.Fatal(err)
	}
	m, err := parseModel(data)
	if err != nil {
		t.Fatal(err)
	}
	var vocab, added array
	add := func(text string) {
		added = append(added, object{"id": len(vocab), "content": text, "single_word": false, "lstrip": false,
			"rstrip": false, "normalized": false, "special": true})
	}
	for _, p := range m.pieces {
		if p.kind != normal {
			add(p.text)
		}
		vocab = append(vocab, array{p.text, float64(p.score)})
	}
	for i := 99; i >= 0; i-- {
		text := fmt.Sprintf("<extra_id_%d>", i)
		add(text)
		vocab = append(vocab, array{text, 0.0})
	}
	file := object{
		"version": "1.0", "truncation": nil, "padding": nil, "added_tokens": added,
		"normalizer": object{"type": "Precompiled",
			"precompiled_charsmap": base64.StdEncoding.EncodeToString(m.charsmap)},
		"pre_tokenizer": object{"type": "Sequence", "pretokenizers": array{object{"type": "WhitespaceSplit"},
			object{"type": "Metaspace", "replacement": space, "prepend_scheme": "always", "split": true}}},
		"post_processor": object{"type": "TemplateProcessing",
			"single": array{object{"Sequence": object{"id": "A", "type_id": 0}},
				object{"SpecialToken": object{"id": "</s>", "type_id": 0}}},
			"pair":           array{},
			"special_tokens": object{"</s>": object{"id": "</s>", "ids": []int{1}, "tokens": []string{"</s>"}}}},
		"decoder": object{"type": "Metaspace", "replacement": space, "prepend_scheme": "always", "split": true},
		"model":   object{"type": "Unigram", "unk_id": 2, "vocab": vocab, "byte_fallback": false},
	}
	for name, change := range changes {
		if changed, ok := change.(func(any) any); ok {
			change = changed(file[name])
		}
		file[name] = change
	}
	writeJSON(t, filepath.Join(dir, libraryFile), file)
}

func writeJSON(t testing.TB, path string, v any) {
	t.Helper()
	data, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}

// What the tokenizers library has of a model gives the model's ids.
func TestLibrary(t *testing.T) {
	want := open(t)
	charsmap := func(normalizer any) any { return normalizer.(object)["precompiled_charsmap"] }
	older := object{ // as transformers 4 made it
		"normalizer": func(n any) any {
			return object{"type": "Sequence", "normalizers": array{object{"type": "Precompiled",
				"precompiled_charsmap": charsmap(n)},
				object{"type": "Strip", "strip_left": false, "strip_right": true},
				object{"type": "Replace", "pattern": object{"Regex": " {2,}"}, "content": space}}}
		},
		"pre_tokenizer": object{"type": "Metaspace", "replacement": space, "add_prefix_space": true,
			"prepend_scheme": "first"},
		"truncation": object{"max_length": 77},
	}
	for what, changes := range map[string]object{"today's": nil, "an older one": older} {
		dir := t.TempDir()
		writeLibrary(t, dir, changes)
		writeJSON(t, filepath.Join(dir, settingsFile), object{"backend": "tokenizers", "eos_token": "</s>",
			"pad_token": object{"__type": "AddedToken", "content": "<pad>", "lstrip": false},
			"extra_ids": 100, "model_max_length": 1e30, "tokenizer_class": "T5Tokenizer", "add_prefix_space": nil,
			"sp_model_kwargs": object{}})
		if name := ModelFile(dir); name != libraryFile {
			t.Fatalf("the model is %s", name)
		}
		tok, err := Open(dir)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		texts := []string{"a photo of a man", "  two  spaces\t", "Zürich ☂☃ <extra_id> </ s>", "½ ▁ \u0085"}
		special := regexp.MustCompile("</s>|<pad>|<unk>") // which are found here
		for _, r := range recorded(t) {
			for _, text := range r.Texts {
				texts = append(texts, special.ReplaceAllString(string(text), ""))
			}
		}
		for _, text := range texts {
			ids, mask := tok.Encode(text, 77)
			wantIDs, wantMask := want.Encode(text, 77)
			if !slices.Equal(ids, wantIDs) || !slices.Equal(mask, wantMask) {
				t.Errorf("%s: %q: got %v, want %v", what, text, ids, wantIDs)
			}
		}
	}
}

func TestLibraryRefused(t *testing.T) {
	with := func(name string, value any) func(any) any {
		return func(part any) any {
			part = maps.Clone(part.(object))
			part.(object)[name] = value
			return part
		}
	}
	metaspace := func(name string, value any) object {
		m := object{"type": "Metaspace", "replacement": space, "prepend_scheme": "always"}
		m[name] = value
		return object{"pre_tokenizer": m}
	}
	for want, changes := range map[string]object{
		`the model is of type "BPE", expected Unigram`: {"model": object{"type": "BPE", "vocab": object{},
			"merges": array{}}},
		`unknown field "alpha"`:                     {"model": with("alpha", 0.1)},
		"byte_fallback is true":                     {"model": with("byte_fallback", true)},
		"unk_id is not one of 1300 pieces":          {"model": with("unk_id", 1300)},
		"unk_id is not one of 1300":                 {"model": with("unk_id", nil)},
		"where a piece and its score were expected": {"model": with("vocab", array{array{"a"}})},
		"piece 0: it has no text":                   {"model": with("vocab", array{array{"", 0}})},
		`the added token "" has id -1`: {"added_tokens": array{object{"id": -1, "content": "",
			"special": true}}},
		`the added token "</s>" has id 7`: {"added_tokens": array{object{"id": 7, "content": "</s>",
			"special": true}}},
		"no control piece": {"added_tokens": array{}},
		`Sequence: json: unknown field "normalizers"`: {"normalizer": object{"type": "Sequence",
			"normalizers": array{object{"type": "Sequence", "normalizers": array{}}}}},
		`step 0 is Lowercase`:                    {"normalizer": object{"type": "Lowercase"}},
		`Prepend: json: unknown field "prepend"`: {"normalizer": object{"type": "Prepend", "prepend": space}},
		`step 0 is Replace`: {"normalizer": object{"type": "Replace",
			"pattern": object{"Regex": "a"}, "content": " "}},
		"precompiled_charsmap: it has 3 bytes":             {"normalizer": with("precompiled_charsmap", "YWJj")},
		"the pre_tokenizer is not T5's":                    {"pre_tokenizer": object{"type": "WhitespaceSplit"}},
		"prepend_scheme is never":                          metaspace("prepend_scheme", "never"),
		`replacement is "_"`:                               metaspace("replacement", "_"),
		"add_prefix_space is false":                        metaspace("add_prefix_space", false),
		"the post_processor is another one, expected T5's": {"post_processor": nil},
		`closes with "</s>" of ids [2]`: {"post_processor": with("special_tokens",
			object{"</s>": object{"id": "</s>", "ids": []int{2}, "tokens": []string{"</s>"}}})},
		`unknown field "vocabulary"`: {"vocabulary": 1},
	} {
		dir := t.TempDir()
		writeLibrary(t, dir, changes)
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), filepath.Join(dir, libraryFile)) {
			t.Errorf("%v; want the file and %q", err, want)
		}
	}
}

func FuzzLibrary(f *testing.F) {
	f.Add([]byte(`{"added_tokens":[{"id":0,"content":"<pad>","special":true},{"id":1,"content":"</s>","special":true}],"normalizer":null,
		"pre_tokenizer":{"type":"Metaspace","replacement":"▁"},"post_processor":{"type":"TemplateProcessing",
		"single":[{"Sequence":{}},{"SpecialToken":{"id":"</s>"}}],"special_tokens":{"</s>":{"ids":[1]}}},
		"model":{"type":"Unigram","unk_id":2,"vocab":[["<pad>",0],["</s>",0],["<unk>",0],["▁",-2],["▁a",-1.5],["b",-3]]}}`), "a  b </s> c")
	f.Fuzz(func(t *testing.T, data []byte, text string) {
		path := filepath.Join(t.TempDir(), libraryFile)
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
		if tok, err := readLibrary(path); err == nil {
			check(t, tok, text)
		}
	})
}

func TestSettingsRefused(t *testing.T) {
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(golden.Dir(t), "if_tiny", "tokenizer"))); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, settingsFile)
	for want, settings := range map[string]object{
		"eos_token is <end>, expected </s>":     {"eos_token": "<end>"},
		"pad_token is </s>, expected <pad>":     {"pad_token": object{"content": "</s>"}},
		"unk_token is <pad>, expected <unk>":    {"unk_token": "<pad>"},
		"3 where a token was expected":          {"unk_token": 3},
		"add_eos_token is false, expected true": {"add_eos_token": false},
		"do_lower_case is true, expected false": {"do_lower_case": true},
		"padding_side is left, expected right":  {"padding_side": "left"},
		"the number of sp_model_kwargs is 1":    {"sp_model_kwargs": object{"enable_sampling": true}},
		`unknown field "remove_space"`:          {"remove_space": true},
	} {
		writeJSON(t, path, settings)
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), path) {
			t.Errorf("%v; want the file and %q", err, want)
		}
	}
}
