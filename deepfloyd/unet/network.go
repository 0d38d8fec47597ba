package unet

import (
	"math"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/internal/nn"
)

// The epsilons of the norms that norm_eps is not for, and the groups of those over the text.
const (
	attentionEps    = 1e-5
	crossNormGroups = 32
)

// activations are diffusers' act_fn.
var activations = map[string]func(*Node) *Node{
	"gelu":  nn.GELU,
	"mish":  func(x *Node) *Node { return Mul(x, Tanh(Add(MaxScalar(x, 0), Log1p(Exp(Neg(Abs(x))))))) },
	"relu":  func(x *Node) *Node { return MaxScalar(x, 0) },
	"silu":  func(x *Node) *Node { return Mul(x, Logistic(x)) },
	"swish": func(x *Node) *Node { return Mul(x, Logistic(x)) },
}

const activationNames = "gelu mish relu silu swish"

// activate applies the activation of a name, and nothing for nil.
func activate(name *string, x *Node) *Node {
	if name == nil {
		return x
	}
	return activations[strings.ToLower(*name)](x)
}

// network builds one application of the UNet. Convolutions, products and what goes from block to block are of dtype;
// norms, activations, softmax and embeddings are float32.
type network struct {
	config   Config
	dtype    dtypes.DType
	params   map[string]*Node
	training bool
	tokens   int // the last token of a text stands for those up to this number; 0: there are no more
}

func newNetwork(g *Graph, c Config, params []nn.Param, dtype dtypes.DType) *network {
	n := &network{config: c, dtype: dtype, params: map[string]*Node{}}
	for _, p := range params {
		n.params[p.Name] = Parameter(g, p.Name, shapes.Make(paramDType(p, dtype), p.Shape...))
	}
	return n
}

// Inputs are what the network is applied to in a graph, all float32.
type Inputs struct {
	X     *Node // [N,in_channels,H,W]
	T     *Node // timesteps, [N]
	Class *Node // class labels, [N], where the configuration has them; nil otherwise
	Text  *Node // [N,L,C]; nil where the network reads none
	// Tokens, if larger than L, is the number of tokens of a text whose last one stands for all behind it.
	Tokens int
}

// Apply is the network in a graph that is to be differentiated: params are float32, by name, in [Config.Params]'
// layouts, and are narrowed to dtype where convolutions and products take them. The result is [N,out_channels,H,W],
// float32.
func (c Config) Apply(params map[string]*Node, dtype dtypes.DType, in Inputs) *Node {
	n := &network{config: c, dtype: dtype, params: map[string]*Node{}, training: true, tokens: in.Tokens}
	for _, p := range c.Params() {
		n.params[p.Name] = ConvertDType(params[p.Name], paramDType(p, dtype))
	}
	var class *Node
	if c.ClassEmbedType != nil {
		class = c.sinusoidsOf(in.Class)
	}
	return n.forward(in.X, c.sinusoidsOf(in.T), class, n.tell(in.Text))
}

// sinusoidsOf are the embeddings of timesteps [N] in a graph.
func (c Config) sinusoidsOf(t *Node) *Node {
	f := c.frequencies()
	shape := []int{t.Shape().Dimensions[0], len(f)}
	angles := Mul(BroadcastToDims(ExpandAxes(t, -1), shape...),
		BroadcastToDims(Reshape(Const(t.Graph(), f), 1, -1), shape...))
	parts := []*Node{Sin(angles), Cos(angles)}
	if c.FlipSinToCos {
		slices.Reverse(parts)
	}
	if c.BlockOutChannels[0]%2 == 1 {
		parts = append(parts, Zeros(t.Graph(), shapes.Make(dtypes.Float32, shape[0], 1)))
	}
	return Concatenate(parts, -1)
}

// filled repeats the last of x [N,L,C] until there are as many as given.
func filled(x *Node, tokens int) *Node {
	d := x.Shape().Dimensions
	if tokens <= d[1] {
		return x
	}
	last := Slice(x, AxisRange(), AxisRange(d[1]-1), AxisRange())
	return Concatenate([]*Node{x, BroadcastToDims(last, d[0], tokens-d[1], d[2])}, 1)
}

// paramDType is the dtype that a parameter is kept in: float32 for what is small or belongs to embeddings.
func paramDType(p nn.Param, dtype dtypes.DType) dtypes.DType {
	module, _, _ := strings.Cut(p.Name, ".")
	if len(p.Shape) == 1 || module == "time_embedding" || module == "class_embedding" || module == "add_embedding" {
		return dtypes.Float32
	}
	return dtype
}

func (n *network) narrow(x *Node) *Node { return ConvertDType(x, n.dtype) }

func wide(x *Node) *Node { return ConvertDType(x, dtypes.Float32) }

func (n *network) act(x *Node) *Node { return activate(&n.config.ActFn, x) }

// along gives a vector [C] or a matrix [N,C] the shape of x [N,…,C].
func along(v, x *Node) *Node {
	d := x.Shape().Dimensions
	shape := make([]int, len(d))
	for i := range shape {
		shape[i] = 1
	}
	shape[len(d)-1] = d[len(d)-1]
	if v.Rank() == 2 {
		shape[0] = d[0]
	}
	return BroadcastToShape(Reshape(v, shape...), x.Shape())
}

// conv is a convolution that keeps the size, and its bias.
func (n *network) conv(name string, x *Node) *Node {
	w := n.params[name+".weight"]
	pad := w.Shape().Dimensions[2] / 2
	y := ConvGeneral(x, w, nn.KernelOIHW(), nil, [][2]int{{pad, pad}, {pad, pad}}, nil, nil, 1, 1)
	return Add(y, along(n.narrow(n.params[name+".bias"]), y))
}

func (n *network) dot(x, y *Node) *DotBuilder {
	if n.training {
		return nn.TrainingDot(x, y)
	}
	return Dot(x, y)
}

// linear is a product along the last axis, and its bias; x has the weight's dtype.
func (n *network) linear(name string, x *Node) *Node {
	y := n.dot(x, n.params[name+".weight"]).General([]int{-1}, nil, []int{1}, nil)
	return Add(y, along(ConvertDType(n.params[name+".bias"], y.DType()), y))
}

// groupNorm is group normalization (Wu & He 2018, arXiv:1803.08494) of x [N,…,C], in float32. What is large is summed
// over pixels only, channel by channel.
func (n *network) groupNorm(name string, x *Node, groups int, eps float64) *Node {
	return n.groupNormShifted(name, x, groups, eps, nil, nil)
}

// groupNormShifted is the norm times 1 + scale, and shift added, [N,C] each or nil. All of it is one factor and one
// summand for each channel of an image, so that going backwards large arrays are summed twice only.
func (n *network) groupNormShifted(name string, x *Node, groups int, eps float64, scale, shift *Node) *Node {
	d := x.Shape().Dimensions
	batch, channels := d[0], d[len(d)-1]
	var pixels []int
	for a := 1; a < len(d)-1; a++ {
		pixels = append(pixels, a)
	}
	x = wide(x)
	mean := func(x *Node) *Node { // of the groups, [N,C]
		m := ReduceAndKeep(Reshape(ReduceMean(x, pixels...), batch, groups, -1), ReduceMean, -1)
		return Reshape(BroadcastToDims(m, batch, groups, channels/groups), batch, channels)
	}
	each := func(v *Node) *Node { return BroadcastToDims(Reshape(v, 1, channels), batch, channels) }
	m := mean(x)
	variance := mean(Square(Sub(x, along(StopGradient(m), x)))) // which does not change with the mean
	factor := Mul(nn.InvSqrt(AddScalar(variance, eps)), each(n.params[name+".weight"]))
	summand := Sub(each(n.params[name+".bias"]), Mul(m, factor))
	if scale != nil {
		scale = AddScalar(scale, 1)
		factor, summand = Mul(factor, scale), Add(Mul(summand, scale), shift)
	}
	return Add(Mul(x, along(factor, x)), along(summand, x))
}

// layerNorm is layer normalization (Ba et al. 2016, arXiv:1607.06450) along the last axis, in float32.
func (n *network) layerNorm(name string, x *Node) *Node {
	x = wide(x)
	centred := Sub(x, ReduceAndKeep(x, ReduceMean, -1))
	variance := ReduceAndKeep(Square(centred), ReduceMean, -1)
	x = Mul(centred, nn.InvSqrt(AddScalar(variance, attentionEps)))
	return Add(Mul(x, along(n.params[name+".weight"], x)), along(n.params[name+".bias"], x))
}

// many says that the key at a place stands for so many equal ones.
type many struct{ at, times int }

// more is what the last of a text's keys stands for, if they begin with that number of others.
func (n *network) more(first int, keys *Node) many {
	last := keys.Shape().Dimensions[1] - 1
	return many{first + last, max(1, n.tokens-last)}
}

// attend is scaled dot-product attention (Vaswani et al. 2017, arXiv:1706.03762) of queries [N,Q,C] on keys and values
// [N,K,C]. A key that stands for m equal ones has log m added to its scores: its share is then theirs together.
func (n *network) attend(query, key, value *Node, heads int, m many) *Node {
	split := func(x *Node) *Node {
		d := x.Shape().Dimensions
		return Reshape(x, d[0], d[1], heads, d[2]/heads)
	}
	d := query.Shape().Dimensions
	query, key, value = split(query), split(key), split(value)
	scale := 1 / math.Sqrt(float64(d[2]/heads))
	apart := func() *Node {
		scores := MulScalar(wide(n.dot(query, key).Einsum("nqhd,nkhd->nhqk")), scale)
		if m.times > 1 {
			each := make([]float32, key.Shape().Dimensions[1])
			each[m.at] = float32(math.Log(float64(m.times)))
			scores = Add(scores, BroadcastToShape(ExpandLeftToRank(Const(scores.Graph(), each), 4), scores.Shape()))
		}
		return n.dot(ConvertDType(nn.SoftmaxOfLast(scores), value.DType()), value).Einsum("nhqk,nkhd->nqhd")
	}
	if n.training || m.times > 1 { // the gradient needs the scores
		return Reshape(apart(), d...)
	}
	y, _ := InternalFusedOpCaller(func() *Node {
		y, _ := BackendFusedScaledDotProductAttention(query, key, value, compute.AxesLayoutBSHD,
			&compute.ScaledDotProductAttentionConfig{Scale: scale})
		return y
	}, apart, true)
	return Reshape(y, d...)
}

// embedding is the two layers behind sinusoidal embeddings.
func (n *network) embedding(name string, x *Node) *Node {
	return n.linear(name+".linear_2", n.act(n.linear(name+".linear_1", x)))
}

// pooled is what the text adds to the time embedding: the attention of the text's mean on the text (attention pooling,
// DeepFloyd IF).
func (n *network) pooled(text *Node) *Node {
	const pool = "add_embedding.pool."
	x := n.layerNorm("add_embedding.norm1", text)
	mean := ReduceAndKeep(filled(x, n.tokens), ReduceMean, 1)
	mean = Add(mean, along(Reshape(n.params[pool+"positional_embedding"], -1), mean))
	m := n.more(1, x)
	x = Concatenate([]*Node{mean, x}, 1)
	y := n.attend(n.linear(pool+"q_proj", mean), n.linear(pool+"k_proj", x), n.linear(pool+"v_proj", x),
		n.config.AdditionEmbedTypeNumHeads, m)
	return n.layerNorm("add_embedding.norm2", n.linear("add_embedding.proj", Reshape(y, y.Shape().Dimensions[0], -1)))
}

// timeEmbedding joins what the resnets are told: time and class are sinusoidal embeddings [N,C], pooled is of the text.
func (n *network) timeEmbedding(time, class, pooled *Node) *Node {
	c := n.config
	emb := activate(c.TimestepPostAct, n.embedding("time_embedding", time))
	if c.ClassEmbedType != nil {
		emb = Add(emb, n.embedding("class_embedding", class))
	}
	if c.AdditionEmbedType != nil {
		emb = Add(emb, pooled)
	}
	return activate(c.TimeEmbeddingActFn, emb)
}

// resized is x [N,H,W,C] after a change of size.
func (n *network) resized(x *Node, to resample) *Node {
	d := x.Shape().Dimensions
	switch to {
	case halve:
		cells := Reshape(x, d[0], d[1]/2, 2, d[2]/2, 2, d[3])
		var sum *Node
		for i := range 4 { // slices are added in one pass; a reduction over both axes takes two
			pixel := wide(Slice(cells, AxisRange(), AxisRange(), AxisElem(i/2), AxisRange(), AxisElem(i%2),
				AxisRange()))
			if sum == nil {
				sum = pixel
			} else {
				sum = Add(sum, pixel)
			}
		}
		return Reshape(ConvertDType(MulScalar(sum, 0.25), x.DType()), d[0], d[1]/2, d[2]/2, d[3])
	case double:
		if n.training { // sums over a pixel's copies are added slices then, not reductions
			x = Reshape(Concatenate([]*Node{x, x}, -1), d[0], d[1], 2*d[2]*d[3])
			return Reshape(Concatenate([]*Node{x, x}, -1), d[0], 2*d[1], 2*d[2], d[3])
		}
		x = BroadcastToDims(Reshape(x, d[0], d[1], 1, d[2], 1, d[3]), d[0], d[1], 2, d[2], 2, d[3])
		return Reshape(x, d[0], 2*d[1], 2*d[2], d[3])
	}
	return x
}

func (n *network) resnet(r resnet, x, emb *Node) *Node {
	c := n.config
	h := n.narrow(n.act(n.groupNorm(r.name+".norm1", x, *c.NormNumGroups, c.NormEps)))
	x, h = n.resized(x, r.resample), n.resized(h, r.resample)
	h = wide(n.conv(r.name+".conv1", h))

	if !c.ResnetSkipTimeAct {
		emb = n.act(emb)
	}
	t := wide(n.linear(r.name+".time_emb_proj", n.narrow(emb)))
	if c.ResnetTimeScaleShift == scaleShift {
		parts := Split(t, 1, 2)
		h = n.groupNormShifted(r.name+".norm2", h, *c.NormNumGroups, c.NormEps, parts[0], parts[1])
	} else {
		h = n.groupNorm(r.name+".norm2", Add(h, along(t, h)), *c.NormNumGroups, c.NormEps)
	}
	h = n.conv(r.name+".conv2", n.narrow(n.act(h)))

	if r.in != r.out {
		x = n.conv(r.name+".conv_shortcut", x)
	}
	return MulScalar(Add(x, h), 1/r.scale)
}

// keyValue are what pixels attend to in a text, [N,L,C] each, of one attention.
type keyValue struct{ key, value *Node }

// crossed makes keys and values of the text [N,L,E].
func (n *network) crossed(a attention, text *Node) keyValue {
	switch {
	case n.config.CrossAttentionNorm == nil:
	case *n.config.CrossAttentionNorm == "layer_norm":
		text = n.layerNorm(a.name+".norm_cross", text)
	default: // the tokens count as pixels
		text = n.groupNorm(a.name+".norm_cross", filled(text, n.tokens), crossNormGroups, attentionEps)
	}
	text = n.narrow(text)
	return keyValue{n.linear(a.name+".add_k_proj", text), n.linear(a.name+".add_v_proj", text)}
}

// attention lets the pixels of x [N,H,W,C] attend to a text and, unless onlyCross, to each other.
func (n *network) attention(a attention, x *Node, text keyValue) *Node {
	d := x.Shape().Dimensions
	h := n.narrow(n.groupNorm(a.name+".group_norm", Reshape(x, d[0], d[1]*d[2], d[3]), *n.config.NormNumGroups,
		attentionEps))
	key, value, m := text.key, text.value, n.more(0, text.key)
	if !a.onlyCross {
		key = Concatenate([]*Node{key, n.linear(a.name+".to_k", h)}, 1)
		value = Concatenate([]*Node{value, n.linear(a.name+".to_v", h)}, 1)
	}
	h = n.attend(n.linear(a.name+".to_q", h), key, value, a.channels/a.headDim, m)
	return Add(x, Reshape(n.linear(a.name+".to_out.0", h), d...))
}

// told is what the network makes of a text alone, once for all steps: what the time embedding is added [N,C], where the
// configuration has that, and keys and values for each attention by its name.
type told struct {
	pooled  *Node
	crossed map[string]keyValue
}

// toldBy takes what tell returns, in toldNodes' order, from next, which gets a name, a dtype and dimensions.
func (c Config) toldBy(dtype dtypes.DType, texts, tokens int,
	next func(name string, dtype dtypes.DType, dims ...int) *Node) told {
	t := told{crossed: map[string]keyValue{}}
	if c.AdditionEmbedType != nil {
		t.pooled = next("pooled", dtypes.Float32, texts, c.timeDim())
	}
	for _, a := range c.attentions() {
		key := next(a.name+" key", dtype, texts, tokens, a.channels)
		t.crossed[a.name] = keyValue{key, next(a.name+" value", dtype, texts, tokens, a.channels)}
	}
	return t
}

func (c Config) toldNodes(t told) []*Node {
	var all []*Node
	if t.pooled != nil {
		all = append(all, t.pooled)
	}
	for _, a := range c.attentions() {
		all = append(all, t.crossed[a.name].key, t.crossed[a.name].value)
	}
	return all
}

// tell reads a text [N,L,E].
func (n *network) tell(text *Node) told {
	t := told{crossed: map[string]keyValue{}}
	if n.config.AdditionEmbedType != nil {
		t.pooled = n.pooled(text)
	}
	if !n.config.ReadsText() {
		return t
	}
	text = n.narrow(text)
	if n.config.EncoderHidDim != nil {
		text = n.linear("encoder_hid_proj", text)
	}
	for _, a := range n.config.attentions() {
		t.crossed[a.name] = n.crossed(a, text)
	}
	return t
}

// forward maps x [N,C,H,W] and the sinusoidal embeddings time and class to [N,C',H,W], all float32.
func (n *network) forward(x, time, class *Node, text told) *Node {
	c := n.config
	emb := n.timeEmbedding(time, class, text.pooled)
	if c.CenterInputSample {
		x = AddScalar(MulScalar(x, 2), -1)
	}
	x = n.conv("conv_in", n.narrow(TransposeAllAxes(x, 0, 2, 3, 1)))

	down, mid, up := c.blocks()
	skips := []*Node{x}
	for _, b := range down {
		for i, r := range b.resnets {
			x = n.resnet(r, x, emb)
			if b.attentions != nil {
				x = n.attention(b.attentions[i], x, text.crossed[b.attentions[i].name])
			}
			skips = append(skips, x)
		}
		if b.resampler != nil {
			x = n.resnet(*b.resampler, x, emb)
			skips = append(skips, x)
		}
	}
	if mid.resnets != nil {
		x = n.resnet(mid.resnets[0], x, emb)
		x = n.attention(mid.attentions[0], x, text.crossed[mid.attentions[0].name])
		x = n.resnet(mid.resnets[1], x, emb)
	}
	for _, b := range up {
		for i, r := range b.resnets {
			last := len(skips) - 1
			x = n.resnet(r, Concatenate([]*Node{x, skips[last]}, -1), emb)
			skips = skips[:last]
			if b.attentions != nil {
				x = n.attention(b.attentions[i], x, text.crossed[b.attentions[i].name])
			}
		}
		if b.resampler != nil {
			x = n.resnet(*b.resampler, x, emb)
		}
	}

	x = n.narrow(n.act(n.groupNorm("conv_norm_out", x, *c.NormNumGroups, c.NormEps)))
	return TransposeAllAxes(wide(n.conv("conv_out", x)), 0, 3, 1, 2)
}
