package unet

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/internal/enginetest"
	"github.com/unnoise/unnoise/weights"
)

// settings reads a folder's config.json.
func settings(t testing.TB, dir string) map[string]any {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	var s map[string]any
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// readChanged writes a config.json with some settings changed and reads it.
func readChanged(t testing.TB, s map[string]any, changes map[string]any) (Config, error) {
	t.Helper()
	s = maps.Clone(s)
	maps.Copy(s, changes)
	data, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "config.json")
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
	c, err := ReadConfig(path)
	if err != nil && !strings.Contains(err.Error(), path) {
		t.Errorf("%v: the error %q does not name the file", changes, err)
	}
	return c, err
}

// DeepFloyd's own sizes: the sums are the published ones, 4.3 and 0.9 and 0.4 billion for stage I, 1.2 for stage II L.
func TestFullSize(t *testing.T) {
	first := map[string]any{
		"_class_name": "UNet2DConditionModel", "_diffusers_version": "0.19.0.dev0", "_name_or_path": "/models/if",
		"act_fn": "gelu", "addition_embed_type": "text", "addition_embed_type_num_heads": 64,
		"addition_time_embed_dim": nil, "attention_head_dim": 64,
		"block_out_channels": []int{704, 1408, 2112, 2816}, "center_input_sample": false, "class_embed_type": nil,
		"class_embeddings_concat": false,
		"conv_in_kernel":          3, "conv_out_kernel": 3, "cross_attention_dim": 2816, "cross_attention_norm": "group_norm",
		"down_block_types": []string{resnetDown, crossDown, crossDown, crossDown}, "downsample_padding": 1,
		"dual_cross_attention": false,
		"encoder_hid_dim":      4096, "flip_sin_to_cos": true, "freq_shift": 0, "in_channels": 3, "layers_per_block": 3,
		"mid_block_only_cross_attention": nil,
		"mid_block_scale_factor":         1, "mid_block_type": crossMid, "norm_eps": 1e-05, "norm_num_groups": 32,
		"num_class_embeds":     nil,
		"only_cross_attention": false, "out_channels": 6, "projection_class_embeddings_input_dim": nil,
		"resnet_out_scale_factor": 1.0,
		"resnet_skip_time_act":    false, "resnet_time_scale_shift": scaleShift, "sample_size": 64,
		"time_cond_proj_dim": nil, "time_embedding_act_fn": nil,
		"time_embedding_dim": nil, "time_embedding_type": "positional", "timestep_post_act": nil,
		"up_block_types":   []string{crossUp, crossUp, crossUp, resnetUp},
		"upcast_attention": false, "use_linear_projection": false,
	}
	second := map[string]any{
		"block_out_channels": []int{160, 320, 640, 960, 1280}, "class_embed_type": "timestep",
		"cross_attention_dim": 1280, "encoder_hid_dim_type": "text_proj",
		"down_block_types": []string{resnetDown, resnetDown, resnetDown, crossDown, crossDown}, "in_channels": 6,
		"layers_per_block":       []int{2, 2, 3, 5, 5},
		"mid_block_scale_factor": 1.4142271248762552, "resnet_out_scale_factor": 1.4142271248762552,
		"resnet_skip_time_act": true, "sample_size": 256,
		"time_embedding_act_fn": "gelu", "time_embedding_dim": 1280,
		"up_block_types": []string{crossUp, crossUp, resnetUp, resnetUp, resnetUp},
	}
	for _, m := range []struct {
		name       string
		settings   map[string]any
		parameters float64
	}{
		{"IF-I-XL", nil, 4.3e9},
		{"IF-I-L", map[string]any{"block_out_channels": []int{320, 640, 960, 1280}, "cross_attention_dim": 1280},
			0.9e9},
		{"IF-I-M", map[string]any{"block_out_channels": []int{192, 384, 576, 768}, "cross_attention_dim": 768}, 0.4e9},
		{"IF-II-L", second, 1.2e9},
	} {
		c, err := readChanged(t, first, m.settings)
		if err != nil {
			t.Errorf("%s: %v", m.name, err)
			continue
		}
		if n := float64(c.Parameters()); math.Abs(n-m.parameters) > 0.08*m.parameters {
			t.Errorf("%s: %.3g parameters, expected about %.3g", m.name, n, m.parameters)
		}
	}
}

func TestConfigsRefused(t *testing.T) {
	s := settings(t, "testdata/classes")
	for _, c := range []struct {
		name string
		to   any
		want string
	}{
		{"_class_name", "UNet2DModel", `_class_name is "UNet2DModel", expected "UNet2DConditionModel"`},
		{"act_fn", "tanh", "act_fn is tanh, expected gelu or mish or relu or silu or swish"},
		{"addition_embed_type", "text_time", "addition_embed_type is text_time, expected null or text"},
		{"addition_embed_type_num_heads", 5, "addition_embed_type_num_heads is 5, expected a divisor of the text's 12"},
		{"attention_head_dim", []int{4}, "attention_head_dim has 1 entries, expected 2"},
		{"attention_head_dim", 3,
			"attention_head_dim is 3, expected a divisor of the 16 channels of down_blocks.1.attentions.0"},
		{"attention_head_dim", "four", "four"},
		{"attention_type", "gated", "attention_type is gated"},
		{"block_out_channels", []int{8, 18}, "norm_num_groups is 4, expected a divisor of the 18 channels"},
		{"block_out_channels", []int{}, "block_out_channels has 0 blocks"},
		{"class_embed_type", "projection", "class_embed_type is projection, expected null or timestep"},
		{"class_embeddings_concat", true, "class_embeddings_concat is true"},
		{"conv_in_kernel", 4, "conv_in_kernel is 4, expected an odd number"},
		{"cross_attention_dim", []int{16, 32}, "cross_attention_dim is [16 32], expected the same"},
		{"cross_attention_dim", 24,
			"cross_attention_norm is layer_norm, which needs cross_attention_dim to be the 16 channels"},
		{"cross_attention_norm", "rms_norm", "cross_attention_norm is rms_norm"},
		{"cross_attention_norm", "group_norm", "cross_attention_norm is group_norm, which needs a multiple of 32"},
		{"down_block_types", []string{"DownBlock2D", crossDown},
			"down_block_types is DownBlock2D, expected " + resnetDown},
		{"encoder_hid_dim_type", "text_image_proj", "encoder_hid_dim_type is text_image_proj"},
		{"encoder_hid_dim", nil, "encoder_hid_dim is null"},
		{"freq_shift", 4, "freq_shift is 4"},
		{"layers_per_block", []int{1, 1, 1}, "layers_per_block has 3 entries, expected 2"},
		{"layers_per_block", 0, "layers_per_block is 0"},
		{"layers_per_block", 60000, "layers_per_block is 60000, expected at most"},
		{"mid_block_type", "UNetMidBlock2D", "mid_block_type is UNetMidBlock2D"},
		{"norm_eps", nil, "norm_eps is null, expected a float64"},
		{"norm_eps", 0, "norm_eps is 0"},
		{"norm_num_groups", nil, "norm_num_groups is null"},
		{"num_attention_heads", 8, "num_attention_heads is 8, expected null"},
		{"only_cross_attention", []bool{true}, "only_cross_attention has 1 entries"},
		{"resnet_out_scale_factor", 0, "resnet_out_scale_factor is 0"},
		{"resnet_time_scale_shift", "ada_group", "resnet_time_scale_shift is ada_group"},
		{"sample_size", []int{1, 2, 3}, "[1,2,3]"},
		{"sample_size", -8, "sample_size is -8×-8"},
		{"sample_size", 5000, "sample_size is 5000×5000, expected at most 4096"},
		{"time_cond_proj_dim", 8, "time_cond_proj_dim is 8"},
		{"time_embedding_act_fn", "sin", "time_embedding_act_fn is sin"},
		{"time_embedding_act_fn", "null", `time_embedding_act_fn is "null"`},
		{"time_embedding_type", "fourier", "time_embedding_type is fourier"},
		{"timestep_post_act", "sin", "timestep_post_act is sin"},
		{"up_block_types", []string{crossUp, "UpBlock2D"}, "up_block_types is UpBlock2D"},
		{"window_size", 8, `unknown field "window_size"`},
	} {
		if _, err := readChanged(t, s, map[string]any{c.name: c.to}); err == nil ||
			!strings.Contains(err.Error(), c.want) {
			t.Errorf("%s = %v: %v; want a word on %q", c.name, c.to, err, c.want)
		}
	}
	if _, err := readChanged(t, s, map[string]any{"class_embed_type": nil, "num_class_embeds": 10}); err == nil ||
		!strings.Contains(err.Error(), "num_class_embeds is 10") {
		t.Errorf("a table of classes: %v", err)
	}
}

// Every setting that keeps the parameters' shapes changes the result: none is ignored.
func TestEverySettingCounts(t *testing.T) {
	outputs := func(dir string, changes map[string]any) []float32 {
		t.Helper()
		c, err := readChanged(t, settings(t, dir), changes)
		if err != nil {
			t.Fatal(err)
		}
		w, err := weights.Open(filepath.Join(dir, "diffusion_pytorch_model.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer w.Close()
		m, err := New(enginetest.Backend(t), c, dtypes.Float32, w, nil)
		if err != nil {
			t.Fatal(err)
		}
		defer m.Close()
		f, err := weights.Open(filepath.Join(dir, "reference.safetensors"))
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		var class []float64
		if c.ClassEmbedType != nil {
			class = []float64{123, 7}
		}
		y, err := m.Evaluate(t.Context(), images(t, f, "unet.x"), []float64{321, 50}, embeddings(t, f, "text"), class)
		if err != nil {
			t.Fatal(err)
		}
		return y.Data
	}
	for dir, changes := range map[string]map[string]any{
		"testdata/lists": {
			"act_fn": "gelu", "attention_head_dim": []int{8, 2, 12}, "center_input_sample": false,
			"flip_sin_to_cos": true, "freq_shift": 0, "norm_eps": 1e-5,
			"norm_num_groups": 8, "timestep_post_act": nil,
		},
		"testdata/classes": {
			"act_fn": "silu", "addition_embed_type_num_heads": 4, "attention_head_dim": 8, "mid_block_scale_factor": 1,
			"resnet_out_scale_factor": 1,
			"resnet_skip_time_act":    false, "time_embedding_act_fn": nil,
		},
	} {
		want := outputs(dir, nil)
		for name, to := range changes {
			furthest := 0.0
			for i, v := range outputs(dir, map[string]any{name: to}) {
				furthest = max(furthest, math.Abs(float64(v-want[i])))
			}
			if !(furthest >= 5e-4 && furthest < 1e6) {
				t.Errorf("%s: %s = %v changes nothing, or too little to be tested: %.2g", dir, name, to, furthest)
			}
		}
	}
}

func TestOtherTensorsRefused(t *testing.T) {
	const dir = "testdata/odd"
	s := settings(t, dir)
	f, err := weights.Open(filepath.Join(dir, "diffusion_pytorch_model.safetensors"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b := enginetest.Backend(t)
	for _, c := range []struct {
		changes map[string]any
		want    string
	}{
		{map[string]any{"addition_embed_type": nil}, `"add_embedding.norm1.bias" has no place`},
		{map[string]any{"only_cross_attention": false}, `no tensor "down_blocks.0.attentions.0.to_k.weight"`},
		{map[string]any{"cross_attention_norm": nil}, "norm_cross"},
		{map[string]any{"conv_in_kernel": 5}, `"conv_in.weight" has shape [9 3 3 3]; this network wants [9 3 5 5]`},
		{map[string]any{"time_embedding_dim": 40}, "time_embedding"},
		{map[string]any{"resnet_time_scale_shift": "default"}, "time_emb_proj"},
	} {
		config, err := readChanged(t, s, c.changes)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := New(b, config, dtypes.Float32, f, nil); err == nil || !strings.Contains(err.Error(), c.want) ||
			!strings.Contains(err.Error(), f.Path()) {
			t.Errorf("%v: %v; want the file's name and %q", c.changes, err, c.want)
		}
	}
	config, err := readChanged(t, s, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := New(b, config, dtypes.Float16, f, nil); err == nil ||
		!strings.Contains(fmt.Sprint(err), "Float32 or BFloat16") {
		t.Errorf("Float16: %v", err)
	}
}
