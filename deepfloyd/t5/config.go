package t5

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/internal/hubfile"
	"github.com/unnoise/unnoise/internal/nn"
)

// Config is the config.json of transformers' T5 models, as far as the encoder is concerned. Fields are named as there
// and mean what they mean there.
type Config struct {
	ModelType string `json:"model_type"`
	VocabSize int    `json:"vocab_size"`
	DModel    int    `json:"d_model"`
	DKV       int    `json:"d_kv"` // channels of a head
	DFF       int    `json:"d_ff"`
	NumLayers int    `json:"num_layers"`
	NumHeads  int    `json:"num_heads"`

	RelativeAttentionNumBuckets  int `json:"relative_attention_num_buckets"`
	RelativeAttentionMaxDistance int `json:"relative_attention_max_distance"`

	LayerNormEpsilon float64 `json:"layer_norm_epsilon"`
	FeedForwardProj  string  `json:"feed_forward_proj"` // an activation, behind "gated-" or not

	// Accepted with one value only. The first two repeat what feed_forward_proj says.
	IsGatedAct         *bool          `json:"is_gated_act"`
	DenseActFn         *string        `json:"dense_act_fn"`
	IsDecoder          bool           `json:"is_decoder"`
	PrunedHeads        map[string]any `json:"pruned_heads"`
	QuantizationConfig any            `json:"quantization_config"`

	// Of no effect on an encoder's embeddings: they are for training, for decoders and heads, or for the program that
	// loads.
	Architectures         any `json:"architectures"`
	BosTokenID            any `json:"bos_token_id"`
	ClassifierDropout     any `json:"classifier_dropout"`
	DecoderStartTokenID   any `json:"decoder_start_token_id"`
	DropoutRate           any `json:"dropout_rate"`
	DType                 any `json:"dtype"`
	EosTokenID            any `json:"eos_token_id"`
	GradientCheckpointing any `json:"gradient_checkpointing"`
	InitializerFactor     any `json:"initializer_factor"`
	IsEncoderDecoder      any `json:"is_encoder_decoder"`
	NPositions            any `json:"n_positions"`
	NumDecoderLayers      any `json:"num_decoder_layers"`
	OutputPast            any `json:"output_past"`
	PadTokenID            any `json:"pad_token_id"`
	ScaleDecoderOutputs   any `json:"scale_decoder_outputs"`
	TaskSpecificParams    any `json:"task_specific_params"`
	TieWordEmbeddings     any `json:"tie_word_embeddings"`
	TorchDType            any `json:"torch_dtype"`
	TransformersVersion   any `json:"transformers_version"`
	UseCache              any `json:"use_cache"`
}

// defaults are transformers'.
func defaults() Config {
	return Config{VocabSize: 32128, DModel: 512, DKV: 64, DFF: 2048, NumLayers: 6, NumHeads: 8,
		RelativeAttentionNumBuckets:  32,
		RelativeAttentionMaxDistance: 128, LayerNormEpsilon: 1e-6, FeedForwardProj: "relu"}
}

// ReadConfig reads and validates a config.json.
func ReadConfig(path string) (Config, error) {
	file, err := hubfile.ReadConfig(path)
	if err != nil {
		return Config{}, err
	}
	return parseConfig(file)
}

// ParseConfig reads and validates the content of a config.json; errors call it path.
func ParseConfig(path string, data []byte) (Config, error) {
	file, err := hubfile.ParseConfig(path, data)
	if err != nil {
		return Config{}, err
	}
	return parseConfig(file)
}

func parseConfig(file *hubfile.Config) (Config, error) {
	c := defaults()
	if err := file.Decode(&c); err != nil {
		return Config{}, err
	}
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", file.Path, err)
	}
	return c, nil
}

// Bounds, so that damaged files are refused at once.
const (
	maxSize   = 1 << 20
	maxLayers = 256
)

// Validate tells what is wrong with the configuration, or what in it this package does not compute.
func (c Config) Validate() error {
	if c.ModelType != "t5" {
		return fmt.Errorf("model_type is %q, expected \"t5\"", c.ModelType)
	}
	for _, n := range []struct {
		name     string
		found    int
		min, max int
	}{{"vocab_size", c.VocabSize, 1, maxSize}, {"d_model", c.DModel, 1, maxSize}, {"d_kv", c.DKV, 1, maxSize},
		{"d_ff", c.DFF, 1, maxSize}, {"num_layers", c.NumLayers, 1, maxLayers}, {"num_heads", c.NumHeads, 1, maxSize},
		{"relative_attention_num_buckets", c.RelativeAttentionNumBuckets, 4, maxSize},
		{"relative_attention_max_distance", c.RelativeAttentionMaxDistance, c.RelativeAttentionNumBuckets/4 + 1,
			maxSize}} {
		if n.found < n.min || n.found > n.max {
			return fmt.Errorf("%s is %d, expected %d to %d", n.name, n.found, n.min, n.max)
		}
	}
	if !(c.LayerNormEpsilon > 0) || math.IsInf(c.LayerNormEpsilon, 0) {
		return fmt.Errorf("layer_norm_epsilon is %g, expected a positive number", c.LayerNormEpsilon)
	}
	gated, name := c.activation()
	if !slices.Contains(strings.Fields(activationNames), name) {
		return fmt.Errorf("feed_forward_proj is %q, expected one of %s, or \"gated-\" and one of them",
			c.FeedForwardProj, activationNames)
	}
	if c.IsGatedAct != nil && *c.IsGatedAct != gated {
		return fmt.Errorf("is_gated_act is %t, but feed_forward_proj is %q", *c.IsGatedAct, c.FeedForwardProj)
	}
	if c.DenseActFn != nil && *c.DenseActFn != name {
		return fmt.Errorf("dense_act_fn is %q, but feed_forward_proj is %q, which means %s", *c.DenseActFn,
			c.FeedForwardProj, name)
	}
	switch {
	case c.IsDecoder:
		return fmt.Errorf("is_decoder is true, expected false: this is an encoder")
	case len(c.PrunedHeads) > 0:
		return fmt.Errorf("pruned_heads has %d entries, expected none", len(c.PrunedHeads))
	case c.QuantizationConfig != nil:
		return fmt.Errorf("quantization_config is set, expected weights in F32, F16 or BF16")
	}
	return nil
}

// activation is what feed_forward_proj means.
func (c Config) activation() (gated bool, name string) {
	name, gated = strings.CutPrefix(c.FeedForwardProj, "gated-")
	if gated && name == "gelu" {
		name = "gelu_new" // as transformers reads T5 v1.1's
	}
	return gated, name
}

// Work counts the multiply-adds of an evaluation of texts of as many tokens; all of them are products.
func (c Config) Work(texts, tokens int) int {
	inner, layers := c.NumHeads*c.DKV, 2
	if gated, _ := c.activation(); gated {
		layers = 3
	}
	block := 4*c.DModel*inner + layers*c.DModel*c.DFF + 2*inner*tokens
	return texts * tokens * c.NumLayers * block
}

// Parameters returns the number of the encoder's values.
func (c Config) Parameters() int {
	n := 0
	for _, shape := range c.Shapes() {
		n += nn.Size(shape)
	}
	return n
}

// Bytes returns the size of the values in memory when the encoder computes in dtype. The table of embeddings is not
// among them: it stays in its file.
func (c Config) Bytes(dtype dtypes.DType) int {
	return nn.Bytes(c.params(), func(p nn.Param) dtypes.DType { return paramDType(p, dtype) })
}
