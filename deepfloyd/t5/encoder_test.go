package t5

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/gobackend"

	"github.com/unnoise/unnoise/internal/enginetest"
	"github.com/unnoise/unnoise/internal/golden"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/weights"
)

func load(t testing.TB, dir, variant string, dtype dtypes.DType) *Encoder {
	t.Helper()
	e, err := Load(enginetest.Backend(t), dir, variant, dtype, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { e.Close() })
	return e
}

// rows returns an I32 tensor [N,L] as rows.
func rows(t testing.TB, f *weights.File, name string) [][]int32 {
	t.Helper()
	x, err := f.Tensor(name)
	if err != nil {
		t.Fatal(err)
	}
	v, err := x.Int32()
	if err != nil {
		t.Fatal(err)
	}
	out := make([][]int32, x.Shape[0])
	for i := range out {
		out[i] = v[i*x.Shape[1]:][:x.Shape[1]]
	}
	return out
}

// goldenText encodes the golden ids.
func goldenText(t testing.TB, e *Encoder) model.Embeddings {
	t.Helper()
	f := golden.Open(t, "if_tiny_modules.safetensors")
	got, err := e.Encode(t.Context(), rows(t, f, "text.ids"), rows(t, f, "text.mask"))
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func goldenFolder(t testing.TB) string {
	return filepath.Join(golden.Dir(t), "if_tiny", "text_encoder")
}

func goldenWant(t testing.TB) []float32 {
	want, _ := golden.Float32(t, golden.Open(t, "if_tiny_modules.safetensors"), "text.embeds")
	return want
}

func TestGolden(t *testing.T) {
	golden.Close(t, goldenText(t, load(t, goldenFolder(t), "", dtypes.Float32)).Data, goldenWant(t), 1e-4,
		"text.embeds")
}

// TestOtherEngine runs the graph on GoMLX's own backend: nothing in it is onednn's.
func TestOtherEngine(t *testing.T) {
	b, err := gobackend.New("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Finalize)
	for _, dtype := range []dtypes.DType{dtypes.Float32, dtypes.BFloat16} {
		e, err := Load(b, goldenFolder(t), "", dtype, nil)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { e.Close() })
		compare(t, dtype, goldenText(t, e).Data, goldenWant(t))
	}
}

// compare allows bfloat16 an error of a few per cent of the values' size.
func compare(t *testing.T, dtype dtypes.DType, got, want []float32) {
	t.Helper()
	if dtype == dtypes.Float32 {
		golden.Close(t, got, want, 1e-4, "float32")
		return
	}
	var off, size float64
	for i := range want {
		off += math.Pow(float64(got[i]-want[i]), 2)
		size += math.Pow(float64(want[i]), 2)
	}
	if share := math.Sqrt(off / size); !(share > 0 && share < 0.05) {
		t.Errorf("in bfloat16 the embeddings are off by %.4f of their size, want at most 0.05, and not nothing", share)
	}
}

func TestMixedPrecision(t *testing.T) {
	compare(t, dtypes.BFloat16, goldenText(t, load(t, goldenFolder(t), "", dtypes.BFloat16)).Data, goldenWant(t))
}

// TestConfigurations compares other configurations with transformers: see testdata/record.py.
func TestConfigurations(t *testing.T) {
	for _, name := range []string{"gated-silu", "relu", "gelu"} {
		e := load(t, filepath.Join("testdata", name), "", dtypes.Float32)
		f, err := weights.Open(filepath.Join("testdata", name+".safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		got, err := e.Encode(t.Context(), rows(t, f, "ids"), rows(t, f, "mask"))
		if err != nil {
			t.Fatal(err)
		}
		want, shape := golden.Float32(t, f, "embeddings")
		golden.Close(t, got.Data, want, 1e-4, name)
		if !slices.Equal(shape, []int{got.N, got.Tokens, got.Dim}) {
			t.Errorf("%s: shape %d %d %d, want %v", name, got.N, got.Tokens, got.Dim, shape)
		}
		f.Close()
	}
}

func TestBuckets(t *testing.T) {
	f, err := weights.Open("testdata/buckets.safetensors")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for _, name := range f.Names() {
		c := defaults()
		if _, err := fmt.Sscanf(name, "%d.%d", &c.RelativeAttentionNumBuckets,
			&c.RelativeAttentionMaxDistance); err != nil {
			t.Fatal(err)
		}
		x, err := f.Tensor(name)
		if err != nil {
			t.Fatal(err)
		}
		want, err := x.Int32()
		if err != nil {
			t.Fatal(err)
		}
		for i, w := range want {
			if relative := i - len(want)/2; c.bucket(relative) != int(w) {
				t.Errorf("%s: position %d is in bucket %d, want %d", name, relative, c.bucket(relative), w)
			}
		}
	}
}

// TestFilling: what is masked does not change the other embeddings.
func TestFilling(t *testing.T) {
	e := load(t, goldenFolder(t), "", dtypes.Float32)
	ids, mask := []int32{9, 6, 5, 1}, []int32{1, 1, 1, 1}
	short, err := e.Encode(t.Context(), [][]int32{ids}, [][]int32{mask})
	if err != nil {
		t.Fatal(err)
	}
	long, err := e.Encode(t.Context(), [][]int32{append(ids, 3, 4, 7)}, [][]int32{append(mask, 0, 0, 0)})
	if err != nil {
		t.Fatal(err)
	}
	golden.Close(t, long.Data[:len(short.Data)], short.Data, 1e-5, "the first tokens")
}

func TestEncodeRefusals(t *testing.T) {
	e := load(t, goldenFolder(t), "", dtypes.Float32)
	one := [][]int32{{1}}
	for _, c := range []struct {
		ids, mask [][]int32
		want      string
	}{
		{nil, nil, "at least one text"}, {[][]int32{{}}, [][]int32{{}}, "at least one text"}, {one, nil, "masks of 0"},
		{[][]int32{{1}, {1, 2}}, [][]int32{{1}, {1, 1}}, "text 1 has 2 ids"}, {one, [][]int32{{1, 1}}, "a mask of 2"},
		{[][]int32{{-1}}, one, "id -1"}, {[][]int32{{int32(e.Config.VocabSize)}}, one, "another model's"},
	} {
		if _, err := e.Encode(t.Context(), c.ids, c.mask); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v %v: %v; want an error with %q", c.ids, c.mask, err, c.want)
		}
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if _, err := e.Encode(stopped, one, one); err != context.Canceled {
		t.Errorf("with a cancelled context: %v", err)
	}
	for range 2 {
		if err := e.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := e.Encode(t.Context(), one, one); err == nil || !strings.Contains(err.Error(), "closed") {
		t.Errorf("after Close: %v", err)
	}
}

// writeFolder writes a copy of an encoder's folder with changes to its configuration and tensors.
func writeFolder(t *testing.T, config map[string]any, change func(map[string]weights.Tensor)) string {
	t.Helper()
	from, dir := "testdata/gated-silu", t.TempDir()
	data, err := os.ReadFile(filepath.Join(from, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]any{}
	if err := json.Unmarshal(data, &all); err != nil {
		t.Fatal(err)
	}
	maps.Copy(all, config)
	if data, err = json.Marshal(all); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "config.json"), data, 0o644); err != nil {
		t.Fatal(err)
	}
	f, err := weights.OpenFolder(from, "")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	tensors := map[string]weights.Tensor{}
	for _, name := range f.Names() {
		if tensors[name], err = f.Tensor(name); err != nil {
			t.Fatal(err)
		}
	}
	change(tensors)
	if err := weights.Write(filepath.Join(dir, "model.safetensors"), tensors, nil); err != nil {
		t.Fatal(err)
	}
	return dir
}

func TestLoadRefusals(t *testing.T) {
	b := enginetest.Backend(t)
	none := func(map[string]weights.Tensor) {}
	for _, c := range []struct {
		config map[string]any
		change func(map[string]weights.Tensor)
		want   string // in the error; empty: it loads
	}{
		{nil, none, ""},
		{map[string]any{"_name_or_path": "x", "output_past": true, "n_positions": 512, "torch_dtype": "float16",
			"pruned_heads": map[string]any{}}, none, ""},
		{nil, func(x map[string]weights.Tensor) { x[tiedTableName] = x[tableName] }, ""},
		{nil, func(x map[string]weights.Tensor) { x[tiedTableName] = x[tableName]; delete(x, tableName) }, ""},
		{nil, func(x map[string]weights.Tensor) {
			x["decoder.block.0"] = x[biasName]
			x["lm_head.weight"] = x[biasName]
		}, ""},
		{map[string]any{"model_type": "umt5"}, none, `model_type is "umt5"`},
		{map[string]any{"feed_forward_proj": "gated-mish"}, none, "gated-mish"},
		{map[string]any{"is_gated_act": false}, none, "is_gated_act"},
		{map[string]any{"dense_act_fn": "tanh"}, none, "dense_act_fn"},
		{map[string]any{"is_decoder": true}, none, "is_decoder"},
		{map[string]any{"pruned_heads": map[string]any{"0": []int{1}}}, none, "pruned_heads"},
		{map[string]any{"quantization_config": map[string]any{}}, none, "quantization_config"},
		{map[string]any{"num_heads": 0}, none, "num_heads is 0"},
		{map[string]any{"d_ff": 1 << 40}, none, "d_ff"},
		{map[string]any{"relative_attention_num_buckets": 3}, none, "buckets is 3"},
		{map[string]any{"relative_attention_max_distance": 2}, none, "max_distance is 2"},
		{map[string]any{"layer_norm_epsilon": 0}, none, "layer_norm_epsilon"},
		{map[string]any{"scale_attention": true}, none, "scale_attention"},
		{map[string]any{"vocab_size": 7}, none, "this network wants [7"},
		{map[string]any{"num_layers": 1}, none, "encoder.block.1."},
		{map[string]any{"num_layers": 100}, none, "encoder.block."},
		{map[string]any{"num_layers": 1 << 20}, none, "num_layers is 1048576, expected 1 to 256"},
		{nil, func(x map[string]weights.Tensor) { delete(x, biasName) }, biasName},
		{nil, func(x map[string]weights.Tensor) { delete(x, tableName) }, tableName},
		{nil, func(x map[string]weights.Tensor) { x[tiedTableName] = x[biasName] }, tiedTableName},
		{nil, func(x map[string]weights.Tensor) {
			x[tiedTableName] = weights.FromFloat32(x[tableName].Shape, make([]float32, x[tableName].Size()))
		}, "differ"},
		{nil, func(x map[string]weights.Tensor) { x["encoder.other"] = x[biasName] }, "encoder.other"},
		{nil, func(x map[string]weights.Tensor) {
			x[tableName] = weights.FromInt32(x[tableName].Shape, make([]int32, x[tableName].Size()))
		}, "I32"},
	} {
		dir := writeFolder(t, c.config, c.change)
		e, err := Load(b, dir, "", dtypes.Float32, nil)
		if err == nil {
			e.Close()
		}
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want) ||
			!strings.Contains(err.Error(), dir)) {
			t.Errorf("%v: %v; want an error with the file and %q", c.config, err, c.want)
		}
	}
	if _, err := Load(b, goldenFolder(t), "", dtypes.Float64, nil); err == nil {
		t.Error("Float64 was accepted")
	}
}

// TestXXL accepts the configuration of T5 v1.1 XXL, which DeepFloyd IF comes with, and counts its parameters.
func TestXXL(t *testing.T) {
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, []byte(`{"architectures": ["T5EncoderModel"], "d_ff": 10240, "d_kv": 64, "d_model": 4096, "decoder_start_token_id": 0,
		"dropout_rate": 0.1, "eos_token_id": 1, "feed_forward_proj": "gated-gelu", "initializer_factor": 1.0, "is_encoder_decoder": true, "layer_norm_epsilon": 1e-06,
		"model_type": "t5", "num_decoder_layers": 24, "num_heads": 64, "num_layers": 24, "output_past": true, "pad_token_id": 0,
		"relative_attention_num_buckets": 32, "tie_word_embeddings": false, "torch_dtype": "float16", "transformers_version": "4.27.0", "use_cache": true, "vocab_size": 32128}`), 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := ReadConfig(path)
	if err != nil {
		t.Fatal(err)
	}
	n := c.VocabSize*c.DModel + c.RelativeAttentionNumBuckets*c.NumHeads
	for _, p := range c.params() {
		size := 1
		for _, d := range p.Shape {
			size *= d
		}
		n += size
	}
	if n != 4_762_310_656 {
		t.Errorf("%d parameters, want 4,762,310,656", n)
	}
	if c.RelativeAttentionMaxDistance != 128 {
		t.Errorf("without the setting, relative_attention_max_distance is %d", c.RelativeAttentionMaxDistance)
	}
}

// TestRepeatedFilling compares texts of which the tokens that differ are encoded with those of which all are.
func TestRepeatedFilling(t *testing.T) {
	e := load(t, goldenFolder(t), "", dtypes.Float32)
	const tokens = 40
	ids, mask := make([][]int32, 2), make([][]int32, 2)
	for i := range ids {
		ids[i], mask[i] = make([]int32, tokens), make([]int32, tokens)
		for k := range 3 + 4*i {
			ids[i][k], mask[i][k] = int32(2+k), 1
		}
	}
	if n := e.Config.distinct(ids, mask); n != tokens {
		t.Errorf("with a maximal distance of %d, %d of %d tokens are encoded", e.Config.RelativeAttentionMaxDistance, n,
			tokens)
	}
	e.Config.RelativeAttentionMaxDistance = e.Config.RelativeAttentionNumBuckets/4 + 3
	n := e.Config.distinct(ids, mask)
	if n >= tokens || n < 7 {
		t.Fatalf("%d of %d tokens are encoded", n, tokens)
	}
	var x, hidden []float32
	for i := range ids {
		for _, id := range ids[i] {
			row, err := e.row(id)
			if err != nil {
				t.Fatal(err)
			}
			x = append(x, row...)
		}
		hidden = append(hidden, Mask(mask[i])...)
	}
	want, err := e.evaluate(shape{2, tokens}, x, hidden)
	if err != nil {
		t.Fatal(err)
	}
	got, err := e.Encode(t.Context(), ids, mask)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, dtypes.Float32, got.Data, want)
}
