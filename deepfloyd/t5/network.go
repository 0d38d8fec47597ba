package t5

import (
	"fmt"
	"math"

	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/internal/nn"
)

// activations are those of transformers.
var activations = map[string]func(*Node) *Node{
	"gelu":     nn.GELU,
	"gelu_new": geluNew,
	"relu":     func(x *Node) *Node { return MaxScalar(x, 0) },
	"silu":     silu,
	"swish":    silu,
}

const activationNames = "gelu gelu_new relu silu swish"

// geluNew is x·Φ(x) with Φ approximated by a tanh (Hendrycks & Gimpel 2016, arXiv:1606.08415).
func geluNew(x *Node) *Node {
	cubic := Mul(x, AddScalar(MulScalar(Square(x), 0.044715), 1))
	return Mul(MulScalar(x, 0.5), AddScalar(Tanh(MulScalar(cubic, math.Sqrt(2/math.Pi))), 1))
}

func silu(x *Node) *Node { return Mul(x, Logistic(x)) }

// The tensors that are no parameters of the graph: the tables that Encode looks up in.
const (
	tableName     = "shared.weight"
	tiedTableName = "encoder.embed_tokens.weight" // the same table, as it is also kept
	biasName      = "encoder.block.0.layer.0.SelfAttention.relative_attention_bias.weight"
)

func attentionName(block int) string   { return fmt.Sprintf("encoder.block.%d.layer.0.", block) }
func feedForwardName(block int) string { return fmt.Sprintf("encoder.block.%d.layer.1.", block) }

const finalNorm = "encoder.final_layer_norm"

// params lists what the graph of an evaluation has, in PyTorch's layout [out, in]. Initial values are transformers'.
func (c Config) params() []nn.Param {
	var all []nn.Param
	normal := func(name string, out, in int, sigma float64) {
		all = append(all, nn.Normal(name+".weight", sigma, out, in))
	}
	norm := func(name string) { all = append(all, nn.Gain(name+".weight", c.DModel)) }
	inner := c.NumHeads * c.DKV
	gated, _ := c.activation()
	each := func(n int) float64 { return 1 / math.Sqrt(float64(n)) }
	for i := range c.NumLayers {
		a, f := attentionName(i), feedForwardName(i)
		normal(a+"SelfAttention.q", inner, c.DModel, each(c.DModel*c.DKV))
		normal(a+"SelfAttention.k", inner, c.DModel, each(c.DModel))
		normal(a+"SelfAttention.v", inner, c.DModel, each(c.DModel))
		normal(a+"SelfAttention.o", c.DModel, inner, each(inner))
		norm(a + "layer_norm")
		if gated {
			normal(f+"DenseReluDense.wi_0", c.DFF, c.DModel, each(c.DModel))
			normal(f+"DenseReluDense.wi_1", c.DFF, c.DModel, each(c.DModel))
		} else {
			normal(f+"DenseReluDense.wi", c.DFF, c.DModel, each(c.DModel))
		}
		normal(f+"DenseReluDense.wo", c.DModel, c.DFF, each(c.DFF))
		norm(f + "layer_norm")
	}
	norm(finalNorm)
	return all
}

// bias is the table of how attention depends on distance.
func (c Config) bias() nn.Param {
	return nn.Normal(biasName, 1/math.Sqrt(float64(c.DModel)), c.RelativeAttentionNumBuckets, c.NumHeads)
}

// tableRate multiplies the learning rate of the words' embeddings. They begin some 20 times as large as other
// parameters, and a step of Adam is as large for all of them: rare words would hardly change.
const tableRate = 16

// Params lists what the encoder has, its tables too.
func (c Config) Params() []nn.Param {
	table := nn.Normal(tableName, 1, c.VocabSize, c.DModel)
	table.Rate = tableRate
	return append(c.params(), table, c.bias())
}

// Shapes returns the shape of each tensor of the encoder's file, by name, in PyTorch's layout.
func (c Config) Shapes() map[string][]int {
	shapes := nn.Shapes(c.params())
	shapes[tableName] = []int{c.VocabSize, c.DModel}
	shapes[biasName] = c.bias().Shape
	return shapes
}

// paramDType is the dtype that a parameter is kept in: that of products, and float32 for norms.
func paramDType(p nn.Param, dtype dtypes.DType) dtypes.DType {
	if len(p.Shape) == 1 {
		return dtypes.Float32
	}
	return dtype
}

// network builds one application of the encoder. Products are of dtype; norms, activations, softmax and what goes from
// layer to layer are float32.
type network struct {
	config   Config
	dtype    dtypes.DType
	params   map[string]*Node
	training bool
}

func newNetwork(g *Graph, c Config, params []nn.Param, dtype dtypes.DType) *network {
	n := &network{config: c, dtype: dtype, params: map[string]*Node{}}
	for _, p := range params {
		n.params[p.Name] = Parameter(g, p.Name, shapes.Make(paramDType(p, dtype), p.Shape...))
	}
	return n
}

// Apply is the encoder in a graph that is to be differentiated: params are float32, by name, as [Config.Params] lists
// them, and are narrowed to dtype where products take them. ids [N,L] are the tokens', int32; mask [N,L] is added to
// the scores of attention, see [Mask]. The result is [N,L,d_model], float32.
func (c Config) Apply(params map[string]*Node, dtype dtypes.DType, ids, mask *Node) *Node {
	n := &network{config: c, dtype: dtype, params: map[string]*Node{}, training: true}
	for _, p := range c.params() {
		n.params[p.Name] = ConvertDType(params[p.Name], paramDType(p, dtype))
	}
	length := ids.Shape().Dimensions[1]
	// One-hot rows instead of a look-up, whose gradient would be a scatter.
	choose := make([]float32, length*length*c.RelativeAttentionNumBuckets)
	for query := range length {
		for key := range length {
			choose[(query*length+key)*c.RelativeAttentionNumBuckets+c.bucket(key-query)] = 1
		}
	}
	rows := Reshape(Const(ids.Graph(), choose), length*length, c.RelativeAttentionNumBuckets)
	position := Dot(params[biasName], rows).General([]int{0}, nil, []int{1}, nil) // [H, L·L]
	x := Gather(params[tableName], ExpandAxes(ids, -1))
	return n.forward(x, Reshape(position, c.NumHeads, length, length), mask)
}

func (n *network) narrow(x *Node) *Node { return ConvertDType(x, n.dtype) }

func wide(x *Node) *Node { return ConvertDType(x, dtypes.Float32) }

// norm scales x to a root mean square of one (Zhang & Sennrich 2019, arXiv:1910.07467), without offsets.
func (n *network) norm(name string, x *Node) *Node {
	w := n.params[name+".weight"]
	x = Mul(x, nn.InvSqrt(AddScalar(ReduceAndKeep(Square(x), ReduceMean, -1), n.config.LayerNormEpsilon)))
	return Mul(x, BroadcastToShape(ExpandLeftToRank(w, x.Rank()), x.Shape()))
}

func (n *network) dot(x, y *Node) *DotBuilder {
	if n.training {
		return nn.TrainingDot(x, y)
	}
	return Dot(x, y)
}

// linear is a product along the last axis; T5 has no biases.
func (n *network) linear(name string, x *Node) *Node {
	return n.dot(x, n.params[name+".weight"]).General([]int{-1}, nil, []int{1}, nil)
}

// attention is of x [N,L,C] on itself. Its scores are not scaled; bias [N,H,L,L] is added to them.
func (n *network) attention(name string, x, bias *Node) *Node {
	d := x.Shape().Dimensions
	split := func(part string) *Node {
		return Reshape(n.linear(name+part, x), d[0], d[1], n.config.NumHeads, n.config.DKV)
	}
	scores := Add(wide(n.dot(split("q"), split("k")).Einsum("nqhd,nkhd->nhqk")), bias)
	y := n.dot(n.narrow(nn.SoftmaxOfLast(scores)), split("v")).Einsum("nhqk,nkhd->nqhd")
	return n.linear(name+"o", Reshape(y, d[0], d[1], -1))
}

func (n *network) feedForward(name string, x *Node) *Node {
	gated, activation := n.config.activation()
	act := activations[activation]
	if !gated {
		return n.linear(name+"wo", n.narrow(act(wide(n.linear(name+"wi", x)))))
	}
	h := Mul(act(wide(n.linear(name+"wi_0", x))), wide(n.linear(name+"wi_1", x)))
	return n.linear(name+"wo", n.narrow(h))
}

// forward maps the tokens' embeddings x [N,L,C] to the last hidden states [N,L,C]. position [H,L,L] and mask [N,L] are
// added to the scores of attention.
func (n *network) forward(x, position, mask *Node) *Node {
	p, m := position.Shape().Dimensions, mask.Shape().Dimensions
	scores := []int{m[0], p[0], p[1], p[2]}
	bias := Add(BroadcastToDims(Reshape(position, 1, p[0], p[1], p[2]), scores...),
		BroadcastToDims(Reshape(mask, m[0], 1, 1, m[1]), scores...))
	for i := range n.config.NumLayers {
		a, f := attentionName(i), feedForwardName(i)
		x = Add(x, wide(n.attention(a+"SelfAttention.", n.narrow(n.norm(a+"layer_norm", x)), bias)))
		x = Add(x, wide(n.feedForward(f+"DenseReluDense.", n.narrow(n.norm(f+"layer_norm", x)))))
	}
	return n.norm(finalNorm, x)
}

// bucket is the number of the relative position that is key - query, for attention in both directions: one each for the
// near ones, and ever wider ones up to the largest distance (Raffel et al. 2019, arXiv:1910.10683, section 2.1). It is
// computed in float32, as PyTorch does.
func (c Config) bucket(relative int) int {
	half := c.RelativeAttentionNumBuckets / 2
	exact := half / 2
	first := 0
	if relative > 0 {
		first = half
	} else {
		relative = -relative
	}
	if relative < exact {
		return first + relative
	}
	log := float32(math.Log(float64(float32(relative) / float32(exact))))
	width := float32(math.Log(float64(c.RelativeAttentionMaxDistance) / float64(exact)))
	return first + min(exact+int(float32(log/width)*float32(half-exact)), half-1)
}

// positionBias looks the bias of each head, query and key up in the table [buckets, heads].
func (c Config) positionBias(table []float32, length int) []float32 {
	bias := make([]float32, c.NumHeads*length*length)
	for query := range length {
		for key := range length {
			row := table[c.bucket(key-query)*c.NumHeads:]
			for h := range c.NumHeads {
				bias[(h*length+query)*length+key] = row[h]
			}
		}
	}
	return bias
}
