// Package t5 is the encoder of T5 v1.1 (Raffel et al. 2019, arXiv:1910.10683; Shazeer 2020, arXiv:2002.05202), which
// reads prompts for DeepFloyd IF, as GoMLX graph functions. It is built from the config.json and the weights of a
// folder that transformers saves; parameters keep the hub's names and PyTorch's layouts.
package t5

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"
	"github.com/gomlx/compute/shapes"
	. "github.com/gomlx/gomlx/core/graph"

	"github.com/unnoise/unnoise/internal/hubfile"
	"github.com/unnoise/unnoise/internal/nn"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/weights"
)

// Encoder is an encoder with its values. It is safe for concurrent use.
type Encoder struct {
	Config  Config
	backend compute.Backend
	dtype   dtypes.DType
	file    *weights.File // the table of embeddings stays where it is mapped
	table   weights.Tensor
	bias    []float32 // [buckets, heads]
	params  []nn.Param
	values  []compute.Buffer // in the order of params

	mu    sync.Mutex
	evals map[shape]compute.Executable
}

// shape is what an evaluation is compiled for.
type shape struct{ texts, tokens int }

// Load reads a folder: config.json and the weights in one file or several; see [weights.OpenFolder] for the variant.
// dtype is what products compute in, and what their weights are kept in: Float32 or BFloat16. Weights of decoders are
// left out. progress, if not nil, is told what is read, which may be as late as in the first evaluation.
func Load(b compute.Backend, dir, variant string, dtype dtypes.DType, progress nn.Progress) (*Encoder, error) {
	if dtype != dtypes.Float32 && dtype != dtypes.BFloat16 {
		return nil, fmt.Errorf("the text encoder computes in Float32 or BFloat16, not %s", dtype)
	}
	c, err := ReadConfig(filepath.Join(dir, hubfile.Network))
	if err != nil {
		return nil, err
	}
	f, err := weights.OpenFolder(dir, variant)
	if err != nil {
		return nil, err
	}
	e := &Encoder{Config: c, backend: b, dtype: dtype, file: f, params: c.params(),
		evals: map[shape]compute.Executable{}}
	if err := e.load(progress); err != nil {
		e.Close()
		return nil, err
	}
	return e, nil
}

func (e *Encoder) load(progress nn.Progress) (err error) {
	c := e.Config
	if err := c.Check(e.file); err != nil {
		return err
	}
	if e.table, err = embeddingTable(e.file); err != nil {
		return err
	}
	if e.bias, err = c.bias().Read(e.file, ""); err != nil {
		return err
	}
	inGraph := e.file.Without(func(name string) bool {
		return name == tableName || name == tiedTableName || name == biasName || ofDecoder(name)
	})
	e.values, err = nn.Load(e.backend, e.params, func(p nn.Param) dtypes.DType { return paramDType(p, e.dtype) },
		inGraph, progress)
	return err
}

// Check reports whether a file has the encoder's tensors and, but for a decoder's, no others. Values are not read.
func (c Config) Check(f *weights.File) error {
	all := append(c.params(), c.bias())
	tables := 0
	for _, name := range f.Names() {
		if name == tableName || name == tiedTableName {
			all = append(all, nn.Param{Name: name, Shape: []int{c.VocabSize, c.DModel}})
			tables++
		}
	}
	if tables == 0 {
		return fmt.Errorf("%s has neither tensor %q nor %q, the table of embeddings", f.Path(), tableName,
			tiedTableName)
	}
	return nn.Check(all, f.Without(ofDecoder))
}

// ofDecoder reports whether a tensor is of the part of T5 that prompts don't need.
func ofDecoder(name string) bool {
	return name == "lm_head.weight" || strings.HasPrefix(name, "decoder.")
}

// embeddingTable finds the table under one of its names, or under both, if it is the same.
func embeddingTable(f *weights.File) (weights.Tensor, error) {
	table, err := f.Tensor(tableName)
	tied, tiedErr := f.Tensor(tiedTableName)
	switch {
	case tiedErr != nil:
		return table, err
	case err != nil:
		return tied, nil
	case table.DType != tied.DType || !bytes.Equal(table.Data, tied.Data):
		return table, fmt.Errorf("%s: tensors %q and %q differ; expected the same table of embeddings", f.Path(),
			tableName, tiedTableName)
	}
	return table, nil
}

// row returns the embedding of a token.
func (e *Encoder) row(id int32) ([]float32, error) {
	size := e.Config.DModel * e.table.DType.Size()
	return weights.Tensor{DType: e.table.DType, Shape: e.table.Shape[1:],
		Data: e.table.Data[int(id)*size:][:size]}.Float32()
}

// Close releases the values, the compiled graphs and the file.
func (e *Encoder) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.file == nil {
		return nil
	}
	nn.Finalize(e.values)
	e.values = nil
	for _, x := range e.evals {
		x.Finalize()
	}
	clear(e.evals)
	f := e.file
	e.file, e.table = nil, weights.Tensor{}
	return f.Close()
}

// Encode reads texts: for each its tokens' ids, and a mask that is 0 where there is only filling, which no other token
// attends to. All texts have the same length. What filling becomes so far behind a text that its distance makes no
// difference any more is computed once and repeated.
func (e *Encoder) Encode(ctx context.Context, ids, mask [][]int32) (model.Embeddings, error) {
	if err := ctx.Err(); err != nil {
		return model.Embeddings{}, err
	}
	if len(ids) == 0 || len(ids) != len(mask) || len(ids[0]) == 0 {
		return model.Embeddings{}, fmt.Errorf("got the ids of %d texts and the masks of %d, expected the same, and "+
			"at least one text of one token", len(ids), len(mask))
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.file == nil {
		return model.Embeddings{}, fmt.Errorf("the text encoder was closed")
	}
	out := model.Embeddings{N: len(ids), Tokens: len(ids[0]), Dim: e.Config.DModel}
	var x, hidden []float32
	for i := range ids {
		if len(ids[i]) != out.Tokens || len(mask[i]) != out.Tokens {
			return model.Embeddings{}, fmt.Errorf("text %d has %d ids and a mask of %d, expected %d as the first has",
				i, len(ids[i]), len(mask[i]), out.Tokens)
		}
		for _, id := range ids[i] {
			if id < 0 || int(id) >= e.Config.VocabSize {
				return model.Embeddings{},
					fmt.Errorf("text %d: id %d; the encoder knows 0 to %d: is the tokenizer another model's?", i, id,
						e.Config.VocabSize-1)
			}
			row, err := e.row(id)
			if err != nil {
				return model.Embeddings{}, err
			}
			x = append(x, row...)
		}
		hidden = append(hidden, Mask(mask[i])...)
	}
	s := shape{out.N, e.Config.distinct(ids, mask)}
	first := func(v []float32) []float32 { // of each text what is to be encoded
		all := make([]float32, 0, len(v)/out.Tokens*s.tokens)
		for text := range slices.Chunk(v, len(v)/out.N) {
			all = append(all, text[:len(text)/out.Tokens*s.tokens]...)
		}
		return all
	}
	y, err := e.evaluate(s, first(x), first(hidden))
	if err != nil {
		return out, err
	}
	for text := range slices.Chunk(y, s.tokens*out.Dim) {
		out.Data = append(append(out.Data, text...),
			slices.Repeat(text[len(text)-out.Dim:], out.Tokens-s.tokens)...)
	}
	return out, nil
}

// distinct is how many tokens are to be encoded of texts: what the last of them becomes, those behind it become too.
func (c Config) distinct(ids, mask [][]int32) int {
	const multiple = 8 // so that few lengths are compiled
	tokens, end := len(ids[0]), 0
	for i := range ids {
		own, filling := tokens, ids[i][tokens-1]
		for own > 0 && mask[i][own-1] == 0 && ids[i][own-1] == filling {
			own--
		}
		end = max(end, own)
	}
	far := 0 // from here on all distances are as one
	for d := range tokens {
		if c.bucket(-d) != c.bucket(-tokens) {
			far = d + 1
		}
	}
	return min(tokens, (end+far+multiple-1)/multiple*multiple)
}

// Mask is what is added to the scores of attention for a mask that is 0 where no token attends to.
func Mask(mask []int32) []float32 {
	scores := make([]float32, len(mask))
	for i, m := range mask {
		if m == 0 {
			scores[i] = -math.MaxFloat32
		}
	}
	return scores
}

// evaluate runs the network on x [N,L,C] with scores [N,L] that are added for each key.
func (e *Encoder) evaluate(s shape, x, mask []float32) ([]float32, error) {
	c := e.Config
	run, err := e.evaluator(s)
	if err != nil {
		return nil, err
	}
	in := []nn.Array{
		{Values: x, Shape: []int{s.texts, s.tokens, c.DModel}},
		{Values: c.positionBias(e.bias, s.tokens), Shape: []int{c.NumHeads, s.tokens, s.tokens}},
		{Values: mask, Shape: []int{s.texts, s.tokens}},
	}
	y := make([]float32, len(x))
	return y, nn.Run(e.backend, run, in, e.values, y)
}

// evaluator returns the compiled evaluation for a shape.
func (e *Encoder) evaluator(s shape) (compute.Executable, error) {
	if run := e.evals[s]; run != nil {
		return run, nil
	}
	c := e.Config
	run, err := nn.Compile(e.backend, fmt.Sprintf("t5 %v", s), func(g *Graph) []*Node {
		parameter := func(name string, dims ...int) *Node {
			return Parameter(g, name, shapes.Make(dtypes.Float32,
				dims...))
		}
		x := parameter("x", s.texts, s.tokens, c.DModel)
		position := parameter("position", c.NumHeads, s.tokens, s.tokens)
		mask := parameter("mask", s.texts, s.tokens)
		return []*Node{newNetwork(g, c, e.params, e.dtype).forward(x, position, mask)}
	})
	if err == nil {
		e.evals[s] = run
	}
	return run, err
}
