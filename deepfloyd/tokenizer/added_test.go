package tokenizer

import (
	"compress/gzip"
	"encoding/json"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/internal/golden"
)

// withTokens is what testdata/added.py recorded.
type withTokens struct {
	Settings     map[string]any
	Texts        []string
	Alone, Split [][]int32
}

func recordedTokens(t *testing.T) (r withTokens) {
	t.Helper()
	f, err := os.Open("testdata/added.json.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(z).Decode(&r); err != nil {
		t.Fatal(err)
	}
	if len(r.Texts) < 300 || len(r.Alone) != len(r.Texts) || len(r.Split) != len(r.Texts) {
		t.Fatalf("%d texts with %d and %d lists of ids were recorded", len(r.Texts), len(r.Alone), len(r.Split))
	}
	return r
}

// TestAddedTokens compares ids with transformers', of a spiece.model with settings beside it and of both kinds of
// tokenizer.json.
func TestAddedTokens(t *testing.T) {
	r := recordedTokens(t)
	var listed array
	for text, a := range r.Settings["added_tokens_decoder"].(object) {
		a := maps.Clone(a.(object))
		a["id"], _ = strconv.Atoi(text)
		listed = append(listed, a)
	}
	for i := range 100 { // the library's file has them all
		id := 1299 - i
		if _, there := r.Settings["added_tokens_decoder"].(object)[strconv.Itoa(id)]; !there {
			listed = append(listed, object{"id": id, "content": "<extra_id_" + strconv.Itoa(i) + ">", "special": true})
		}
	}
	for _, c := range []struct {
		what    string
		changes object // of a tokenizer.json; nil: there is none
		want    [][]int32
	}{
		{"spiece.model", nil, r.Split},
		{"tokenizer.json", object{"added_tokens": listed}, r.Split},
		{"tokenizer.json of transformers 4", object{"added_tokens": listed,
			"pre_tokenizer": object{"type": "Metaspace", "replacement": space, "prepend_scheme": "always"},
			"normalizer": func(n any) any {
				return object{"type": "Sequence", "normalizers": array{n, object{"type": "Strip", "strip_left": false,
					"strip_right": true},
					object{"type": "Replace", "pattern": object{"Regex": " {2,}"}, "content": space}}}
			}}, r.Alone},
	} {
		dir := t.TempDir()
		if c.changes == nil {
			copyModel(t, dir)
			writeJSON(t, filepath.Join(dir, settingsFile), r.Settings)
		} else {
			writeLibrary(t, dir, c.changes)
		}
		tok, err := Open(dir)
		if err != nil {
			t.Errorf("%s: %v", c.what, err)
			continue
		}
		wrong := 0
		for i, text := range r.Texts {
			if got := append(tok.IDs(text), tok.closing); !slices.Equal(got, c.want[i]) {
				if wrong++; wrong <= 3 {
					t.Errorf("%s: %q: got %v, want %v", c.what, text, got, c.want[i])
				}
			}
		}
		if wrong > 0 {
			t.Errorf("%s: %d of %d texts are wrong", c.what, wrong, len(r.Texts))
		}
	}
}

func copyModel(t *testing.T, dir string) {
	t.Helper()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(golden.Dir(t), "if_tiny", "tokenizer"))); err != nil {
		t.Fatal(err)
	}
}

// Older folders tell of added tokens in other files.
func TestOlderAddedTokens(t *testing.T) {
	r := recordedTokens(t)
	extra := func(n int) (list array) {
		for i := range n {
			list = append(list, "<extra_id_"+strconv.Itoa(i)+">")
		}
		return list
	}
	for what, files := range map[string]map[string]any{
		"added_tokens.json": {addedFile: object{"<cat-toy>": 1300}},
		"with special ones in the settings": {addedFile: object{"<cat-toy>": 1300, "<extra_id_0>": 1299},
			settingsFile: object{"additional_special_tokens": extra(100)}},
		"with special ones in a file of these": {addedFile: object{"<cat-toy>": 1300},
			specialFile: object{"eos_token": object{"content": "</s>"}, "additional_special_tokens": extra(100)}},
	} {
		dir := t.TempDir()
		copyModel(t, dir)
		for name, content := range files {
			writeJSON(t, filepath.Join(dir, name), content)
		}
		if got := len(Files(dir)); got != 1+len(files) {
			t.Errorf("%s: %d files", what, got)
		}
		tok, err := Open(dir)
		if err != nil {
			t.Errorf("%s: %v", what, err)
			continue
		}
		for i, text := range r.Texts[:5] {
			if got := append(tok.IDs(text), tok.closing); !slices.Equal(got, r.Split[i]) {
				t.Errorf("%s: %q: got %v, want %v", what, text, got, r.Split[i])
			}
		}
		if tok.Size() != 1301 || tok.Piece(1300) != "<cat-toy>" {
			t.Errorf("%s: %d tokens", what, tok.Size())
		}
	}
}

func TestAddedTokensRefused(t *testing.T) {
	for want, files := range map[string]map[string]any{
		`the added token "<own>" has no id`:                          {settingsFile: object{"additional_special_tokens": array{"<own>"}}},
		`the added token "<own>" has id 7, which is another piece's`: {addedFile: object{"<own>": 7}},
		`the added token "<own>" has id -1, expected 0 to`:           {addedFile: object{"<own>": -1}},
		`the added tokens "<own>" and "<two>" both have id 1300`:     {addedFile: object{"<own>": 1300, "<two>": 1300}},
		`both have id 1299`:                                          {addedFile: object{"<own>": 1299}},
		`the added token 1300 is "", expected a text`:                {addedFile: object{"": 1300}},
		`has the ids 1300 and 1301`:                                  {settingsFile: object{"added_tokens_decoder": object{"1300": object{"content": "<own>"}, "1301": object{"content": "<own>"}}}},
		`added_tokens_decoder has the id "x"`:                        {settingsFile: object{"added_tokens_decoder": object{"x": object{"content": "<own>"}}}},
		`extra_ids is -1`:                                            {settingsFile: object{"extra_ids": -1}},
		`special_tokens_map.json: eos_token is <end>, expected </s>`: {specialFile: object{"eos_token": "<end>"}},
		`expected tokens and their ids`:                              {addedFile: array{"<own>"}},
		`unknown field "glue"`:                                       {settingsFile: object{"added_tokens_decoder": object{"1300": object{"content": "<own>", "glue": true}}}},
	} {
		dir := t.TempDir()
		copyModel(t, dir)
		for name, content := range files {
			writeJSON(t, filepath.Join(dir, name), content)
		}
		if _, err := Open(dir); err == nil || !strings.Contains(err.Error(), want) ||
			!strings.Contains(err.Error(), dir) {
			t.Errorf("%v; want the folder and %q", err, want)
		}
	}
}
