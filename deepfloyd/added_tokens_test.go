package deepfloyd

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/internal/enginetest"
	"github.com/unnoise/unnoise/internal/golden"
	"github.com/unnoise/unnoise/weights"
)

// TestAddedTokens compares embeddings with those that diffusers made (encode_prompt) where a token <cat-toy> was added
// to the tokenizer and the text encoder, whose new row is of threes.
func TestAddedTokens(t *testing.T) {
	if os.Getenv("UNNOISE_GOLDEN") != "" {
		t.Skip("testdata/added_tokens.safetensors is of this repository's text encoder")
	}
	b := enginetest.Backend(t, "winograd")
	dir, cache := t.TempDir(), t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(filepath.Join(golden.Dir(t), "if_tiny"))); err != nil {
		t.Fatal(err)
	}
	prompts := []string{"a red fox", "a photo of a <cat-toy> in snow", "end </s> of text", "<extra_id_0> . hello",
		"a<pad>b"}
	encoder := TextEncoder{Dir: dir, DType: dtypes.Float32, Cache: cache}
	if _, err := encoder.Encode(t.Context(), b, prompts...); err != nil { // plain text by now, which is kept
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "tokenizer", "added_tokens.json"), []byte(`{"<cat-toy>": 1300}`),
		0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := encoder.Encode(t.Context(), b, prompts...); err == nil ||
		!strings.Contains(err.Error(), `the token "<cat-toy>", whose id is 1300`) {
		t.Errorf("a text encoder without a row for it: %v", err)
	}
	resize(t, filepath.Join(dir, "text_encoder"))
	got, err := encoder.Encode(t.Context(), b, prompts...)
	if err != nil {
		t.Fatal(err)
	}
	want, err := weights.Open("testdata/added_tokens.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer want.Close()
	for i, prompt := range prompts {
		x, err := want.Tensor(fmt.Sprint(i))
		if err != nil {
			t.Fatal(err)
		}
		values, err := x.Float32()
		if err != nil {
			t.Fatal(err)
		}
		off := 0.0
		for j, v := range got.Embeds.Slice(i, i+1).Data {
			off = max(off, math.Abs(float64(v-values[j])))
		}
		if !(off < 1e-4) {
			t.Errorf("%q differs by %g", prompt, off)
		}
	}
}

// resize adds a row of threes to a text encoder's table.
func resize(t *testing.T, dir string) {
	t.Helper()
	f, err := weights.OpenFolder(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tensors := map[string]weights.Tensor{}
	for _, name := range f.Names() {
		x, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		if name == "shared.weight" {
			values, err := x.Float32()
			if err != nil {
				t.Fatal(err)
			}
			x = weights.FromFloat32([]int{x.Shape[0] + 1, x.Shape[1]},
				append(values, slices.Repeat([]float32{3}, x.Shape[1])...))
		}
		tensors[name] = x
	}
	if err := weights.Write(filepath.Join(dir, "model.safetensors"), tensors, nil); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "config.json")
	var config map[string]any
	data, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(data, &config)
	}
	if err == nil {
		config["vocab_size"] = config["vocab_size"].(float64) + 1
		data, err = json.Marshal(config)
	}
	if err == nil {
		err = os.WriteFile(path, data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}
