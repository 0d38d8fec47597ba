package weights

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func put(t testing.TB, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func putWeights(t testing.TB, dir, name string, value float32, tensors ...string) {
	t.Helper()
	all := map[string]Tensor{}
	for _, n := range tensors {
		all[n] = FromFloat32([]int{1}, []float32{value})
	}
	if err := Write(filepath.Join(dir, name), all, nil); err != nil {
		t.Fatal(err)
	}
}

func TestFolderChoice(t *testing.T) {
	for _, c := range []struct {
		files, variant, want, refusal string
	}{
		{"model.safetensors", "", "model.safetensors", ""},
		{"diffusion_pytorch_model.safetensors", "", "diffusion_pytorch_model.safetensors", ""},
		{"model.safetensors model.fp16.safetensors", "", "model.safetensors", ""},
		{"model.safetensors model.fp16.safetensors", "fp16", "model.fp16.safetensors", ""},
		{"model.fp16.safetensors", "", "model.fp16.safetensors", ""},
		{"model.safetensors.index.json model-00001-of-00002.safetensors model-00002-of-00002.safetensors", "",
			"model.safetensors.index.json", ""},
		{"model.safetensors.index.fp16.json model.fp16-00001-of-00002.safetensors model.safetensors.index.json", "fp16",
			"model.safetensors.index.fp16.json", ""},
		{"model.safetensors.index.fp16.json model.fp16-00001-of-00002.safetensors", "",
			"model.safetensors.index.fp16.json", ""},
		{"config.json pytorch_model.bin adapter_model.safetensors", "", "", "no weights"},
		{"model-00001-of-00002.safetensors", "", "", "no weights"},
		{"model.bf16.safetensors model.fp16.safetensors", "", "", "bf16, fp16"},
		{"model.safetensors", "fp16", "", "no weights of the variant \"fp16\", only without"},
		{"model.safetensors model.safetensors.index.json", "", "model.safetensors", ""},
		{"diffusion_pytorch_model.safetensors diffusion_pytorch_model.safetensors.index.json", "",
			"diffusion_pytorch_model.safetensors.index.json", ""},
		{"model.safetensors diffusion_pytorch_model.safetensors.index.json", "", "", "twice"},
		{"diffusion_pytorch_model.fp16.bin", "", "",
			"no weights in safetensors, only in PyTorch's own format, diffusion_pytorch_model.fp16.bin"},
		{"model.safetensors diffusion_pytorch_model.safetensors", "", "", "twice"},
	} {
		const dir = "a/folder"
		got, err := Choose(dir, strings.Fields(c.files), c.variant)
		if got != c.want || (err == nil) != (c.refusal == "") || err != nil &&
			(!strings.Contains(err.Error(), c.refusal) || !strings.Contains(err.Error(), dir)) {
			t.Errorf("%s, variant %q: got %q, %v; want %q, an error with %q", c.files, c.variant, got, err, c.want,
				c.refusal)
		}
	}
	if _, err := OpenFolder(filepath.Join(t.TempDir(), "absent"), ""); err == nil {
		t.Error("an absent folder was opened")
	}
}

func TestShards(t *testing.T) {
	dir := t.TempDir()
	putWeights(t, dir, "model-00001-of-00002.safetensors", 1, "a", "c")
	putWeights(t, dir, "model-00002-of-00002.safetensors", 2, "b")
	const index = "model.safetensors.index.json"
	put(t, dir, index,
		`{"metadata":{"total_size":12},"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors","c":"model-00001-of-00002.safetensors"}}`)
	f, err := OpenFolder(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	if got := f.Names(); !slices.Equal(got, []string{"a", "b", "c"}) {
		t.Errorf("names %q", got)
	}
	for name, want := range map[string]float32{"a": 1, "b": 2, "c": 1} {
		x, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		if v, err := x.Float32(); err != nil || v[0] != want {
			t.Errorf("%s = %v, %v; want %v", name, v, err, want)
		}
	}
	if err := f.Close(); err != nil {
		t.Error(err)
	}

	for weightMap, want := range map[string]string{
		`{"a":"model-00001-of-00002.safetensors"}`: `holds tensor "c"`,
		`{"a":"model-00001-of-00002.safetensors","b":"model-00001-of-00002.safetensors","c":"model-00001-of-00002.safetensors"}`: `lacks tensor "b"`,
		`{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors","c":"model-00002-of-00002.safetensors"}`: `holds tensor "c", which stands in model-00002`,
		`{"a":"model-00003-of-00003.safetensors"}`:  "is missing",
		`{"a":"../x.safetensors"}`:                  "beside the index",
		`{"a":"model.bin"}`:                         "beside the index",
		`{"a":""}`:                                  "beside the index",
		`{"a":1}`:                                   "can't be read",
		`{"a":"x.safetensors","a":"x.safetensors"}`: "twice",
		`{}`:                                    "no tensors",
		`[]`:                                    "not an object",
		`{"a":"x.safetensors"},"weight_map":{}`: "two weight_map",
		`{"a":"x.safetensors"`:                  "",
		`{"a":"model-00001-of-00002.safetensors"}} {"":"" `: "goes on",
	} {
		put(t, dir, index, `{"weight_map":`+weightMap+`}`)
		f, err := OpenFolder(dir, "")
		if err == nil {
			f.Close()
			t.Errorf("%s: accepted", weightMap)
		} else if !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), index) {
			t.Errorf("%s: %v; want it to name the index and say %q", weightMap, err, want)
		}
	}
	put(t, dir, index, `{"weight_map":{"a":"model-00001-of-00002.safetensors"}}`)
	put(t, dir, "model-00001-of-00002.safetensors", "\x10\x00\x00\x00\x00\x00\x00\x00{")
	if _, err := OpenFolder(dir, ""); err == nil || !strings.Contains(err.Error(),
		"model-00001-of-00002.safetensors is not a valid") {
		t.Errorf("a truncated shard: %v", err)
	}
}

func FuzzIndex(f *testing.F) {
	f.Add([]byte(`{"metadata":{"total_size":4},"weight_map":{"a":"model-00001-of-00002.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"/x.safetensors"}}`))
	f.Add([]byte(`{"weight_map":{"a":"x.safetensors","a":"x.safetensors"}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		index, err := parseIndex(data)
		if err == nil && len(index) == 0 {
			t.Fatal("an index without tensors was accepted")
		}
		for name := range maps.Values(index) {
			if filepath.Dir(filepath.Join("folder", name)) != "folder" {
				t.Fatalf("the file %q lies outside of the folder", name)
			}
		}
	})
}

// Where one part of a pipeline has a variant, the others may lack it.
func TestVariantOfOnePart(t *testing.T) {
	dir := t.TempDir()
	for part, name := range map[string]string{"unet": "diffusion_pytorch_model.fp16.safetensors",
		"text_encoder": "model.safetensors"} {
		if err := os.Mkdir(filepath.Join(dir, part), 0o755); err != nil {
			t.Fatal(err)
		}
		putWeights(t, filepath.Join(dir, part), name, 1, "a")
	}
	f, err := OpenFolder(filepath.Join(dir, "text_encoder"), "fp16")
	if err != nil {
		t.Fatal(err)
	}
	f.Close()
	if _, err := OpenFolder(filepath.Join(dir, "text_encoder"), "fp61"); err == nil ||
		!strings.Contains(err.Error(), `no weights of the variant "fp61"`) {
		t.Errorf("a variant that no part has: %v", err)
	}
}

// Tied embeddings may stand in the index alone, or in the file alone.
func TestTiedTensors(t *testing.T) {
	for weightMap, want := range map[string][]string{
		`{"shared.weight":"model-1-of-1.safetensors","encoder.embed_tokens.weight":"model-1-of-1.safetensors"}`: {"shared.weight"},
		`{"b":"model-1-of-1.safetensors"}`: {"b", "encoder.embed_tokens.weight", "shared.weight"},
	} {
		dir := t.TempDir()
		put(t, dir, "model.safetensors.index.json", `{"weight_map":`+weightMap+`}`)
		tensors := []string{"shared.weight"}
		if len(want) == 3 {
			tensors = want
		}
		putWeights(t, dir, "model-1-of-1.safetensors", 1, tensors...)
		f, err := OpenFolder(dir, "")
		if err != nil {
			t.Errorf("%s: %v", weightMap, err)
			continue
		}
		if got := f.Names(); !slices.Equal(got, want) {
			t.Errorf("%s: tensors %q, want %q", weightMap, got, want)
		}
		f.Close()
	}
}

func TestFingerprint(t *testing.T) {
	sum := func(file string, tensors map[string]Tensor) string {
		path := filepath.Join(t.TempDir(), file)
		if err := Write(path, tensors, nil); err != nil {
			t.Fatal(err)
		}
		f, err := Open(path)
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		return fmt.Sprintf("%x", f.Fingerprint())
	}
	values := func(v float32) []float32 { return slices.Repeat([]float32{v}, 600) }
	first := sum("a.safetensors", map[string]Tensor{"a": FromFloat32([]int{600}, values(1)), "b": FromFloat32([]int{1},
		[]float32{2})})
	if again := sum("b.safetensors", map[string]Tensor{"a": FromFloat32([]int{600}, values(1)),
		"b": FromFloat32([]int{1}, []float32{2})}); again != first {
		t.Error("the file's name counts")
	}
	last := values(1)
	last[len(last)-1] = 3
	for what, other := range map[string]map[string]Tensor{
		"a name":       {"a": FromFloat32([]int{600}, values(1)), "c": FromFloat32([]int{1}, []float32{2})},
		"a shape":      {"a": FromFloat32([]int{30, 20}, values(1)), "b": FromFloat32([]int{1}, []float32{2})},
		"a value":      {"a": FromFloat32([]int{600}, values(1)), "b": FromFloat32([]int{1}, []float32{3})},
		"many values":  {"a": FromFloat32([]int{600}, values(2)), "b": FromFloat32([]int{1}, []float32{2})},
		"the last one": {"a": FromFloat32([]int{600}, last), "b": FromFloat32([]int{1}, []float32{2})},
	} {
		if sum("c.safetensors", other) == first {
			t.Errorf("%s does not count", what)
		}
	}
}
