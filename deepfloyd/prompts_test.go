package deepfloyd

import (
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/internal/enginetest"
	"github.com/unnoise/unnoise/internal/golden"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/weights"
)

func TestPromptsFiles(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "p.safetensors")
	want := Prompts{
		Texts:  []string{"a cat", "", `"ß" & co`},
		Embeds: model.Embeddings{N: 3, Tokens: 2, Dim: 2, Data: []float32{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}},
		Mask:   []int32{1, 1, 1, 0, 1, 1},
	}
	if err := want.Write(path, map[string]string{"model": "m"}); err != nil {
		t.Fatal(err)
	}
	got, err := ReadPrompts(path)
	if err != nil || !slices.Equal(got.Texts, want.Texts) || !slices.Equal(got.Embeds.Data, want.Embeds.Data) ||
		!slices.Equal(got.Mask, want.Mask) {
		t.Errorf("read %+v, %v", got, err)
	}
	if e := selected(t, got, `"ß" & CO `, " A cat"); e.N != 2 ||
		!slices.Equal(e.Data, []float32{9, 10, 11, 12, 1, 2, 3, 4}) {
		t.Errorf("selected %+v", e)
	}
}

// Files made elsewhere.
func TestPromptsLayouts(t *testing.T) {
	tensor := func(n int, shape ...int) weights.Tensor {
		v := make([]float32, weights.Tensor{Shape: shape}.Size())
		for i := range v {
			v[i] = float32(n*100 + i)
		}
		return weights.FromFloat32(shape, v)
	}
	path := filepath.Join(t.TempDir(), "p.safetensors")
	read := func(tensors map[string]weights.Tensor, metadata map[string]string) (Prompts, error) {
		if err := weights.Write(path, tensors, metadata); err != nil {
			t.Fatal(err)
		}
		return ReadPrompts(path)
	}
	for what, c := range map[string]struct {
		tensors  map[string]weights.Tensor
		metadata map[string]string
		text     string
		want     []float32
	}{
		"a dictionary": {map[string]weights.Tensor{"A cat": tensor(1, 1, 2, 2), "": tensor(2, 2, 2)}, nil, "a cat",
			[]float32{100, 101, 102, 103}},
		"its empty one": {map[string]weights.Tensor{"A cat": tensor(1, 1, 2, 2), "": tensor(2, 2, 2)}, nil, "",
			[]float32{200, 201, 202, 203}},
		"no names": {map[string]weights.Tensor{embedsName: tensor(1, 2, 1, 2)}, nil, "1", []float32{102, 103}},
		"one text": {map[string]weights.Tensor{embedsName: tensor(1, 1, 2)},
			map[string]string{promptsName: `["x"]`}, "x", []float32{100, 101}},
	} {
		p, err := read(c.tensors, c.metadata)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if e := selected(t, p, c.text); !slices.Equal(e.Data, c.want) {
			t.Errorf("%s: %v, expected %v", what, e.Data, c.want)
		}
	}
	for words, c := range map[string]struct {
		tensors  map[string]weights.Tensor
		metadata map[string]string
	}{
		`tensor "embeds" has shape [2]`: {map[string]weights.Tensor{embedsName: tensor(1, 2)}, nil},
		`prompts have 2 texts`: {map[string]weights.Tensor{embedsName: tensor(1, 1, 2, 2)},
			map[string]string{promptsName: `["x","y"]`}},
		`expected a JSON list`: {map[string]weights.Tensor{embedsName: tensor(1, 1, 2, 2)},
			map[string]string{promptsName: `x`}},
		`"mask" is F32 [1 2], expected I32 [1,2]`: {map[string]weights.Tensor{embedsName: tensor(1, 1, 2, 2),
			maskName: tensor(1, 1, 2)}, nil},
		`elements are I32`: {map[string]weights.Tensor{embedsName: weights.FromInt32(
			[]int{1, 1, 1}, []int32{1})}, nil},
		`tensor "b" has shape [3 2], and "a" has [2,2]`: {map[string]weights.Tensor{"a": tensor(1, 2, 2),
			"b": tensor(1, 3, 2)}, nil},
		`tensor "a" has shape [2 2 2], expected`: {map[string]weights.Tensor{"a": tensor(1, 2, 2, 2)}, nil},
		`no tensors`:                             {nil, nil},
	} {
		if _, err := read(c.tensors, c.metadata); err == nil || !strings.Contains(err.Error(), words) ||
			!strings.Contains(err.Error(), path) {
			t.Errorf("%v; want the file's name and %q", err, words)
		}
	}
	inf := weights.FromFloat32([]int{2, 1, 2}, []float32{1, 2, 3, float32(math.Inf(-1))})
	if _, err := read(map[string]weights.Tensor{embedsName: inf},
		map[string]string{promptsName: `["a", "b"]`}); err == nil || !strings.Contains(err.Error(), path) ||
		!strings.Contains(err.Error(), `prompt "b" hold NaN or infinite`) {
		t.Errorf("an infinite number: %v", err)
	}
	if _, err := ReadPrompts("p.json"); err == nil || !strings.Contains(err.Error(), ".safetensors") {
		t.Errorf("a JSON file: %v", err)
	}
	if _, err := (Prompts{Texts: []string{"a cat"}}).Select("a dog"); err == nil ||
		!strings.Contains(err.Error(), `"a dog", only of "a cat"`) {
		t.Errorf("a text that is not there: %v", err)
	}
}

// A text is found as it is written; only else do case and outer spaces not count, unless that leaves a choice.
func TestSelect(t *testing.T) {
	p := Prompts{Texts: []string{"a cat", "A cat", "Dog", "dog ", "Owl", "owl "},
		Embeds: model.Embeddings{N: 6, Tokens: 1, Dim: 1, Data: []float32{1, 2, 3, 4, 5, 5}}}
	for text, want := range map[string]float32{"a cat": 1, "A cat": 2, "dog ": 4, "OWL": 5} {
		if e := selected(t, p, text); e.Data[0] != want {
			t.Errorf("%q: text %v, want %g", text, e.Data, want)
		}
	}
	if _, err := p.Select("dog"); err == nil || !strings.Contains(err.Error(), `"dog" may be "Dog" or "dog "`) {
		t.Errorf("a text that may be two: %v", err)
	}
}

// Embeddings are kept for a model, a dtype and a prompt, and made again where a file is damaged or a model is another
// one.
func TestEmbeddingsAreKept(t *testing.T) {
	b := enginetest.Backend(t, "winograd")
	dir, kept := t.TempDir(), t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(golden.Dir(t), "if_tiny"))); err != nil {
		t.Fatal(err)
	}
	const text = " A man "
	e := TextEncoder{Dir: dir, DType: dtypes.Float32, Cache: kept}
	files := func() []string {
		list, err := filepath.Glob(filepath.Join(kept, "*", "*.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	// encode reports whether the text encoder was needed: without a file of a kept embedding, one is written.
	encode := func(wantFiles int) []float32 {
		t.Helper()
		p, err := e.Encode(t.Context(), b, text, "a man", text)
		if err != nil {
			t.Fatal(err)
		}
		if len(p.Texts) != 2 || p.Embeds.N != 2 || len(p.Mask) != 2*TextTokens ||
			!slices.Equal(selected(t, p, text).Data, p.Embeds.Slice(1, 2).Data) {
			t.Errorf("%q", p.Texts)
		}
		if list := files(); len(list) != wantFiles {
			t.Errorf("%d files are kept, expected %d", len(list), wantFiles)
		}
		return p.Embeds.Data
	}
	want := encode(1)
	path := files()[0]
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, damage := range [][]byte{data[:len(data)/2], slices.Concat(data[:len(data)-5], []byte{1},
		data[len(data)-4:]), slices.Concat(data[:len(data)-9000], []byte{1}, data[len(data)-8999:])} {
		if err := os.WriteFile(path, damage, 0o644); err != nil {
			t.Fatal(err)
		}
		if got := encode(1); !slices.Equal(got, want) {
			t.Error("after damage, other embeddings")
		}
	}

	// Others' numbers stand apart.
	e.Backend = "xla:cuda"
	if got := encode(2); !slices.Equal(got, want) {
		t.Error("by another backend's name, other embeddings")
	}
	if err := os.RemoveAll(filepath.Dir(slices.DeleteFunc(files(),
		func(p string) bool { return p == path })[0])); err != nil {
		t.Fatal(err)
	}
	e.Backend = ""

	// Nor are those of other weights or of another tokenizer taken, though all is configured alike.
	apart := func(name string, change func([]byte) []byte) {
		t.Helper()
		file := filepath.Join(dir, name)
		whole, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, change(slices.Clone(whole)), 0o644); err != nil {
			t.Fatal(err)
		}
		encode(2)
		if err := os.WriteFile(file, whole, 0o644); err != nil {
			t.Fatal(err)
		}
		if err := os.RemoveAll(filepath.Dir(slices.DeleteFunc(files(),
			func(p string) bool { return p == path })[0])); err != nil {
			t.Fatal(err)
		}
	}
	weightsFiles, err := filepath.Glob(filepath.Join(dir, "text_encoder", "*.safetensors"))
	if err != nil || len(weightsFiles) == 0 {
		t.Fatalf("%q, %v", weightsFiles, err)
	}
	// a sign
	apart(filepath.Join("text_encoder", filepath.Base(weightsFiles[0])),
		func(b []byte) []byte { b[len(b)-1] ^= 0x80; return b })
	// a field that nobody knows
	apart("tokenizer/spiece.model", func(b []byte) []byte { return append(b, 0xf8, 0x07, 0x01) })

	// What is kept is used: here something else.
	f, err := weights.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	p, err := readPrompts(f)
	if err != nil {
		t.Fatal(err)
	}
	model := f.Metadata()["model"]
	f.Close()
	p.Embeds.Data[0] = 77
	if err := p.Write(path, map[string]string{"model": model, "checksum": checksum(p.Embeds.Data)}); err != nil {
		t.Fatal(err)
	}
	if got := encode(1); got[0] != 77 {
		t.Error("what is kept was not used")
	}

	e.DType = dtypes.BFloat16
	if got := encode(2); slices.Equal(got, want) {
		t.Error("bfloat16 gave the same as float32")
	}
	e.DType = dtypes.Float32
	config := filepath.Join(dir, "text_encoder", "config.json")
	if data, err = os.ReadFile(config); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(config, append(data, '\n'), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := encode(3); !slices.Equal(got, want) {
		t.Error("another model's embeddings were used")
	}

	// A cache that can't be written is no reason to lose the embeddings.
	var warnings []string
	e.Cache, e.Warn = filepath.Join(config, "below-a-file"), func(s string) { warnings = append(warnings, s) }
	if p, err := e.Encode(t.Context(), b, text); err != nil || !slices.Equal(p.Embeds.Data, want[:len(want)/2]) ||
		len(warnings) != 1 {
		t.Errorf("without a folder to keep embeddings in: %v, warnings %q", err, warnings)
	}
}

// Numbers that are none are neither kept nor handed on.
func TestDamagedTextEncoder(t *testing.T) {
	b := enginetest.Backend(t, "winograd")
	dir, kept := t.TempDir(), t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(golden.Dir(t), "if_tiny"))); err != nil {
		t.Fatal(err)
	}
	golden.Spoil(t, filepath.Join(dir, "text_encoder", "model.safetensors"), "encoder.final_layer_norm.weight")
	_, err := TextEncoder{Dir: dir, DType: dtypes.Float32, Cache: kept}.Encode(t.Context(), b, "a man")
	if err == nil || !strings.Contains(err.Error(), `the prompt "a man"`) || !strings.Contains(err.Error(), dir) {
		t.Errorf("of NaN weights: %v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(kept, "*", "*")); left != nil {
		t.Errorf("kept: %q", left)
	}
}

func TestEncodeRefused(t *testing.T) {
	b := enginetest.Backend(t, "winograd")
	if _, err := (TextEncoder{Dir: filepath.Join(golden.Dir(t), "if_sr_tiny"),
		DType: dtypes.Float32}).Encode(t.Context(), b, "a"); err == nil ||
		!strings.Contains(err.Error(), "has no text_encoder") {
		t.Errorf("a folder without a text encoder: %v", err)
	}
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(golden.Dir(t), "if_tiny"))); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"text_encoder/model.safetensors", "text_encoder/config.json",
		"tokenizer/spiece.model"} {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
		e := TextEncoder{Dir: dir, DType: dtypes.Float32, Cache: t.TempDir()}
		if _, err := e.Encode(t.Context(), b, "a"); err == nil ||
			!strings.Contains(err.Error(), filepath.Join(dir, strings.Split(name, "/")[0])) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

// Dictionaries of torch.save are read as those of safetensors are; what is no dictionary of prompts is told.
func TestTorchPrompts(t *testing.T) {
	file := func(name string) string { return filepath.Join("..", "weights", "pth", "testdata", name) }
	p, err := ReadPrompts(file("prompts.pth"))
	if err != nil {
		t.Fatal(err)
	}
	if want := (model.Embeddings{N: 3, Tokens: 5, Dim: 4}); p.Embeds.N != want.N || p.Embeds.Tokens != want.Tokens ||
		p.Embeds.Dim != want.Dim {
		t.Fatalf("embeddings [%d,%d,%d], want [3,5,4]", p.Embeds.N, p.Embeds.Tokens, p.Embeds.Dim)
	}
	if want := []string{"a photo of a dog", "an oil painting", ""}; !slices.Equal(p.Texts, want) {
		t.Errorf("texts %q, want %q", p.Texts, want)
	}
	for i, v := range p.Embeds.Data {
		if v != float32(i)/8 {
			t.Fatalf("number %d is %g, want %g", i, v, float32(i)/8)
		}
	}
	if p, err = ReadPrompts(file("masks.pth")); err != nil ||
		!slices.Equal(p.Mask, []int32{1, 1, 1, 0, 0, 1, 1, 1, 0, 0}) {
		t.Errorf("mask %v, %v", p.Mask, err)
	}
	pair, err := ReadPrompts(file("pair.pth"))
	if err != nil || !slices.Equal(pair.Texts, []string{"0", ""}) || pair.Embeds.Dim != 32 {
		t.Fatalf("encode_prompt's pair: %q, %v", pair.Texts, err)
	}
	named := filepath.Join(t.TempDir(), "named.safetensors")
	err = weights.Write(named, map[string]weights.Tensor{"prompt_embeds": weights.FromFloat32([]int{1, 77, 32},
		pair.Embeds.Slice(0, 1).Data),
		"negative_prompt_embeds": weights.FromFloat32([]int{1, 77, 32}, pair.Embeds.Slice(1, 2).Data)}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if p, err := ReadPrompts(named); err != nil || !slices.Equal(p.Texts, pair.Texts) ||
		!slices.Equal(p.Embeds.Data, pair.Embeds.Data) {
		t.Errorf("by names in safetensors: %q, %v", p.Texts, err)
	}
	for _, name := range []string{"state.pth", "system.pth", "tensor.pth"} {
		if _, err := ReadPrompts(file(name)); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
