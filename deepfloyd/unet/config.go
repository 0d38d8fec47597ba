package unet

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/unnoise/unnoise/internal/hubfile"
)

// Config is the config.json of diffusers' UNet2DConditionModel, in the variants that [Config.Validate] accepts. Fields
// are named as there and mean what they mean there; nil is null.
type Config struct {
	SampleSize  Size `json:"sample_size"` // of the images that it was trained on
	InChannels  int  `json:"in_channels"`
	OutChannels int  `json:"out_channels"`

	CenterInputSample bool `json:"center_input_sample"` // the network sees 2x - 1
	ConvInKernel      int  `json:"conv_in_kernel"`
	ConvOutKernel     int  `json:"conv_out_kernel"`

	DownBlockTypes   []string  `json:"down_block_types"`
	MidBlockType     *string   `json:"mid_block_type"`
	UpBlockTypes     []string  `json:"up_block_types"`
	BlockOutChannels []int     `json:"block_out_channels"`
	LayersPerBlock   list[int] `json:"layers_per_block"`

	ActFn                string  `json:"act_fn"`
	NormNumGroups        *int    `json:"norm_num_groups"`
	NormEps              float64 `json:"norm_eps"`
	ResnetTimeScaleShift string  `json:"resnet_time_scale_shift"`
	ResnetSkipTimeAct    bool    `json:"resnet_skip_time_act"`
	ResnetOutScaleFactor float64 `json:"resnet_out_scale_factor"`
	MidBlockScaleFactor  float64 `json:"mid_block_scale_factor"`

	// channels of a head; up blocks read the list in the same order as down blocks
	AttentionHeadDim           list[int]  `json:"attention_head_dim"`
	OnlyCrossAttention         list[bool] `json:"only_cross_attention"`
	MidBlockOnlyCrossAttention *bool      `json:"mid_block_only_cross_attention"`
	CrossAttentionDim          list[int]  `json:"cross_attention_dim"`
	CrossAttentionNorm         *string    `json:"cross_attention_norm"`
	EncoderHidDim              *int       `json:"encoder_hid_dim"`
	EncoderHidDimType          *string    `json:"encoder_hid_dim_type"`

	TimeEmbeddingType         string  `json:"time_embedding_type"`
	TimeEmbeddingDim          *int    `json:"time_embedding_dim"`
	TimeEmbeddingActFn        *string `json:"time_embedding_act_fn"`
	TimestepPostAct           *string `json:"timestep_post_act"`
	FlipSinToCos              bool    `json:"flip_sin_to_cos"`
	FreqShift                 float64 `json:"freq_shift"`
	ClassEmbedType            *string `json:"class_embed_type"`
	AdditionEmbedType         *string `json:"addition_embed_type"`
	AdditionEmbedTypeNumHeads int     `json:"addition_embed_type_num_heads"`

	// Accepted with one value only.
	AttentionType         string `json:"attention_type"`
	ClassEmbeddingsConcat bool   `json:"class_embeddings_concat"`
	NumAttentionHeads     any    `json:"num_attention_heads"`
	NumClassEmbeds        *int   `json:"num_class_embeds"`
	TimeCondProjDim       *int   `json:"time_cond_proj_dim"`

	// Of no effect here: diffusers reads them for training or for other kinds of blocks and embeddings.
	AdditionTimeEmbedDim              any `json:"addition_time_embed_dim"`
	DownsamplePadding                 any `json:"downsample_padding"`
	Dropout                           any `json:"dropout"`
	DualCrossAttention                any `json:"dual_cross_attention"`
	ProjectionClassEmbeddingsInputDim any `json:"projection_class_embeddings_input_dim"`
	ReverseTransformerLayersPerBlock  any `json:"reverse_transformer_layers_per_block"`
	TransformerLayersPerBlock         any `json:"transformer_layers_per_block"`
	UpcastAttention                   any `json:"upcast_attention"`
	UseLinearProjection               any `json:"use_linear_projection"`
}

// list is a setting that a file gives once for all blocks or for each.
type list[T any] struct {
	values []T
	one    bool // given once
}

func once[T any](v T) list[T] { return list[T]{[]T{v}, true} }

func (l *list[T]) UnmarshalJSON(data []byte) error {
	var v T
	if string(data) != "null" && json.Unmarshal(data, &v) == nil {
		*l = once(v)
		return nil
	}
	var each []*T
	if err := json.Unmarshal(data, &each); err != nil || slices.Contains(each, nil) {
		return fmt.Errorf("%s where a %T or a list of them was expected", data, v)
	}
	*l = list[T]{}
	for _, v := range each {
		l.values = append(l.values, *v)
	}
	return nil
}

// at returns block i's.
func (l list[T]) at(i int) T { return l.values[min(i, len(l.values)-1)] }

// Size is a height and a width, which a file gives as one number, as two or not at all.
type Size struct{ H, W int }

func (s *Size) UnmarshalJSON(data []byte) error {
	*s = Size{}
	if string(data) == "null" {
		return nil
	}
	var l list[int]
	if err := l.UnmarshalJSON(data); err != nil || len(l.values) > 2 || len(l.values) == 0 {
		return fmt.Errorf("%s where a size or a height and a width was expected", data)
	}
	*s = Size{l.at(0), l.at(1)}
	return nil
}

// defaults are diffusers'.
func defaults() Config {
	groups, mid := 32, "UNetMidBlock2DCrossAttn"
	return Config{
		InChannels: 4, OutChannels: 4, ConvInKernel: 3, ConvOutKernel: 3,
		DownBlockTypes: []string{"CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D",
			"DownBlock2D"},
		MidBlockType:     &mid,
		UpBlockTypes:     []string{"UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"},
		BlockOutChannels: []int{320, 640, 1280, 1280}, LayersPerBlock: once(2),
		ActFn: "silu", NormNumGroups: &groups, NormEps: 1e-5,
		ResnetTimeScaleShift: "default", ResnetOutScaleFactor: 1, MidBlockScaleFactor: 1,
		AttentionHeadDim: once(8), OnlyCrossAttention: once(false), CrossAttentionDim: once(1280),
		TimeEmbeddingType: "positional", FlipSinToCos: true, AdditionEmbedTypeNumHeads: 64, AttentionType: "default",
	}
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
	if file.Class != "UNet2DConditionModel" {
		return Config{}, fmt.Errorf("%s: _class_name is %q, expected \"UNet2DConditionModel\"", file.Path, file.Class)
	}
	c := defaults()
	if err := file.Decode(&c); err != nil {
		return Config{}, err
	}
	if err := c.Validate(); err != nil {
		return Config{}, fmt.Errorf("%s: %w", file.Path, err)
	}
	return c, nil
}

const (
	resnetDown = "ResnetDownsampleBlock2D"
	resnetUp   = "ResnetUpsampleBlock2D"
	crossDown  = "SimpleCrossAttnDownBlock2D"
	crossUp    = "SimpleCrossAttnUpBlock2D"
	crossMid   = "UNetMidBlock2DSimpleCrossAttn"
	scaleShift = "scale_shift"
)

// Validate tells what is wrong with the configuration, or what in it is not DeepFloyd IF's kind of network.
func (c Config) Validate() error {
	blocks := len(c.BlockOutChannels)
	lengths := []struct {
		name    string
		n       int
		oneDoes bool
	}{
		{"down_block_types", len(c.DownBlockTypes), false}, {"up_block_types", len(c.UpBlockTypes), false},
		{"layers_per_block", len(c.LayersPerBlock.values), c.LayersPerBlock.one},
		{"attention_head_dim", len(c.AttentionHeadDim.values), c.AttentionHeadDim.one},
		{"only_cross_attention", len(c.OnlyCrossAttention.values), c.OnlyCrossAttention.one},
		{"cross_attention_dim", len(c.CrossAttentionDim.values), c.CrossAttentionDim.one},
	}
	if blocks < 1 || blocks > 16 {
		return fmt.Errorf("block_out_channels has %d blocks, expected 1 to 16", blocks)
	}
	for _, l := range lengths {
		if l.n != blocks && !(l.oneDoes && l.n == 1) {
			return fmt.Errorf("%s has %d entries, expected %d as block_out_channels has", l.name, l.n, blocks)
		}
	}
	for _, d := range c.CrossAttentionDim.values {
		if d != c.CrossAttentionDim.at(0) {
			return fmt.Errorf("cross_attention_dim is %d, expected the same for all blocks: they get the same text",
				c.CrossAttentionDim.values)
		}
	}

	choices := []struct{ name, found, allowed string }{
		{"mid_block_type", orNull(c.MidBlockType), "null " + crossMid},
		{"act_fn", strings.ToLower(c.ActFn), activationNames},
		{"time_embedding_act_fn", strings.ToLower(orNull(c.TimeEmbeddingActFn)), "null " + activationNames},
		{"timestep_post_act", strings.ToLower(orNull(c.TimestepPostAct)), "null " + activationNames},
		{"resnet_time_scale_shift", c.ResnetTimeScaleShift, "default " + scaleShift},
		{"time_embedding_type", c.TimeEmbeddingType, "positional"},
		{"class_embed_type", orNull(c.ClassEmbedType), "null timestep"},
		{"addition_embed_type", orNull(c.AdditionEmbedType), "null text"},
		{"encoder_hid_dim_type", orNull(c.EncoderHidDimType), "null text_proj"},
		{"cross_attention_norm", orNull(c.CrossAttentionNorm), "null layer_norm group_norm"},
		{"attention_type", c.AttentionType, "default"},
		{"class_embeddings_concat", fmt.Sprint(c.ClassEmbeddingsConcat), "false"},
		{"time_cond_proj_dim", orNull(c.TimeCondProjDim), "null"},
	}
	for i := range blocks {
		choices = append(choices, struct{ name, found, allowed string }{"down_block_types", c.DownBlockTypes[i],
			resnetDown + " " + crossDown},
			struct{ name, found, allowed string }{"up_block_types", c.UpBlockTypes[i], resnetUp + " " + crossUp})
	}
	for _, s := range choices {
		if allowed := strings.Fields(s.allowed); !slices.Contains(allowed, s.found) {
			return fmt.Errorf("%s is %s, expected %s", s.name, s.found, strings.Join(allowed, " or "))
		}
	}
	if c.NumAttentionHeads != nil {
		return fmt.Errorf("num_attention_heads is %v, expected null: diffusers takes attention_head_dim instead",
			c.NumAttentionHeads)
	}
	if c.NumClassEmbeds != nil && c.ClassEmbedType == nil {
		return fmt.Errorf("num_class_embeds is %d, expected null: a table of classes is not supported",
			*c.NumClassEmbeds)
	}
	if c.EncoderHidDimType != nil && c.EncoderHidDim == nil {
		return fmt.Errorf("encoder_hid_dim_type is %s, but encoder_hid_dim is null", *c.EncoderHidDimType)
	}
	if c.NormNumGroups == nil {
		return fmt.Errorf("norm_num_groups is null, expected a number of groups")
	}
	return c.validateNumbers()
}

// Bounds, so that sizes don't overflow and damaged files are refused at once.
const (
	maxSize   = 1 << 16
	maxSide   = 1 << 12 // of images
	maxLayers = 256
)

func (c Config) validateNumbers() error {
	type number struct {
		name string
		n    int
	}
	if s := c.SampleSize; min(s.H, s.W) < 0 || max(s.H, s.W) > maxSide {
		return fmt.Errorf("sample_size is %d×%d, expected at most %d", s.H, s.W, maxSide)
	}
	numbers := []number{{"in_channels", c.InChannels}, {"out_channels", c.OutChannels},
		{"conv_in_kernel", c.ConvInKernel},
		{"conv_out_kernel", c.ConvOutKernel}, {"norm_num_groups", *c.NormNumGroups},
		{"cross_attention_dim", c.CrossAttentionDim.at(0)},
		{"encoder_hid_dim", c.TextDim()}, {"time_embedding_dim", c.timeDim()},
		{"addition_embed_type_num_heads", c.AdditionEmbedTypeNumHeads}}
	for _, l := range []struct {
		name string
		n    []int
	}{{"block_out_channels", c.BlockOutChannels}, {"layers_per_block", c.LayersPerBlock.values},
		{"attention_head_dim", c.AttentionHeadDim.values}} {
		for _, n := range l.n {
			numbers = append(numbers, number{l.name, n})
		}
	}
	for _, n := range c.LayersPerBlock.values {
		if n > maxLayers {
			return fmt.Errorf("layers_per_block is %d, expected at most %d", n, maxLayers)
		}
	}
	for _, n := range numbers {
		if n.n < 1 || n.n > maxSize {
			return fmt.Errorf("%s is %d, expected 1 to %d", n.name, n.n, maxSize)
		}
	}
	for _, n := range []number{{"conv_in_kernel", c.ConvInKernel}, {"conv_out_kernel", c.ConvOutKernel}} {
		if n.n%2 == 0 {
			return fmt.Errorf("%s is %d, expected an odd number: the image would change its size", n.name, n.n)
		}
	}
	for _, f := range []struct {
		name string
		v    float64
	}{{"norm_eps", c.NormEps}, {"resnet_out_scale_factor", c.ResnetOutScaleFactor},
		{"mid_block_scale_factor", c.MidBlockScaleFactor}} {
		if !(f.v > 0) {
			return fmt.Errorf("%s is %g, expected a positive number", f.name, f.v)
		}
	}
	if half := c.BlockOutChannels[0] / 2; c.FreqShift == float64(half) {
		return fmt.Errorf("freq_shift is %g, expected another number: it is subtracted from half the channels, %d, "+
			"to be divided by", c.FreqShift, half)
	}
	if heads := c.AdditionEmbedTypeNumHeads; c.AdditionEmbedType != nil && c.TextDim()%heads != 0 {
		return fmt.Errorf("addition_embed_type_num_heads is %d, expected a divisor of the text's %d channels", heads,
			c.TextDim())
	}
	for _, b := range c.allBlocks() {
		for _, r := range b.all() {
			for _, n := range []int{r.in, r.out} {
				if n%*c.NormNumGroups != 0 {
					return fmt.Errorf("norm_num_groups is %d, expected a divisor of the %d channels of %s",
						*c.NormNumGroups, n, r.name)
				}
			}
		}
		for _, a := range b.attentions {
			switch {
			case a.channels%a.headDim != 0:
				return fmt.Errorf("attention_head_dim is %d, expected a divisor of the %d channels of %s", a.headDim,
					a.channels, a.name)
			case orNull(c.CrossAttentionNorm) == "group_norm" && c.CrossAttentionDim.at(0)%crossNormGroups != 0:
				return fmt.Errorf("cross_attention_norm is group_norm, which needs a multiple of %d for "+
					"cross_attention_dim; found %d", crossNormGroups, c.CrossAttentionDim.at(0))
			case orNull(c.CrossAttentionNorm) == "layer_norm" && c.CrossAttentionDim.at(0) != a.channels:
				return fmt.Errorf("cross_attention_norm is layer_norm, which needs cross_attention_dim to be the %d "+
					"channels of %s; found %d", a.channels, a.name, c.CrossAttentionDim.at(0))
			}
		}
	}
	return nil
}

// orNull prints what a pointer points to; a text "null" keeps its quotes.
func orNull[T any](p *T) string {
	if p == nil {
		return "null"
	}
	if s := fmt.Sprint(*p); s != "null" {
		return s
	}
	return `"null"`
}

// timeDim is the length of the time embedding.
func (c Config) timeDim() int {
	if c.TimeEmbeddingDim != nil && *c.TimeEmbeddingDim != 0 {
		return *c.TimeEmbeddingDim
	}
	return 4 * c.BlockOutChannels[0]
}

// ReadsText reports whether the network is told a text. Without a mid block and cross-attention it is not.
func (c Config) ReadsText() bool { return c.AdditionEmbedType != nil || len(c.attentions()) > 0 }

// TextDim is the channels of the text embeddings that the network takes.
func (c Config) TextDim() int {
	if c.EncoderHidDim != nil {
		return *c.EncoderHidDim
	}
	return c.CrossAttentionDim.at(0)
}
