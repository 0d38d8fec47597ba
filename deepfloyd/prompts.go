package deepfloyd

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"

	"github.com/unnoise/unnoise/deepfloyd/tokenizer"
	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/weights"
	"github.com/unnoise/unnoise/weights/pth"
)

// Prompts are prompts and what a text encoder makes of them.
type Prompts struct {
	Texts  []string
	Embeds model.Embeddings // one of each text
	// [N,Tokens], 1 for a text's own tokens and 0 for the filling; nil where it isn't known. Stages are not told it
	Mask []int32
}

// Find returns which of the texts are a text: those that equal it or, where none does, those that
// [tokenizer.Preprocess] makes the same of.
func (p Prompts) Find(text string) (found []int) {
	for _, form := range []func(string) string{func(t string) string { return t }, tokenizer.Preprocess} {
		want := form(text)
		for i, t := range p.Texts {
			if form(t) == want {
				found = append(found, i)
			}
		}
		if found != nil {
			break
		}
	}
	return found
}

// Select returns the embeddings of texts, one of each, as [Prompts.Find] finds them.
func (p Prompts) Select(texts ...string) (model.Embeddings, error) {
	e := p.Embeds
	e.N, e.Data = 0, nil
	for _, text := range texts {
		found := p.Find(text)
		if len(found) == 0 {
			return model.Embeddings{}, fmt.Errorf("there are no embeddings of the prompt %q, only of %s", text,
				list(p.Texts))
		}
		one := p.Embeds.Slice(found[0], found[0]+1).Data
		for _, i := range found[1:] {
			if !slices.Equal(p.Embeds.Slice(i, i+1).Data, one) {
				return model.Embeddings{},
					fmt.Errorf("the prompt %q may be %q or %q, which have different embeddings: write it as one of "+
						"them is written", text, p.Texts[found[0]], p.Texts[i])
			}
		}
		e.Data = append(e.Data, one...)
		e.N++
	}
	return e, nil
}

// list writes some texts, and how many more there are.
func list(texts []string) string {
	const most = 10
	var words []string
	for _, t := range texts[:min(len(texts), most)] {
		words = append(words, fmt.Sprintf("%q", t))
	}
	if more := len(texts) - most; more > 0 {
		words = append(words, fmt.Sprintf("%d more", more))
	}
	return strings.Join(words, ", ")
}

// The tensors and the metadata of a file of prompts.
const (
	embedsName  = "embeds"
	maskName    = "mask"
	promptsName = "prompts"
)

// Write writes a safetensors file: embeds [N,Tokens,Dim], mask [N,Tokens] if it is known, and the texts as metadata
// prompts, a JSON list. metadata is added.
func (p Prompts) Write(path string, metadata map[string]string) error {
	texts, err := json.Marshal(p.Texts)
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	all := map[string]string{promptsName: string(texts)}
	maps.Copy(all, metadata)
	e := p.Embeds
	tensors := map[string]weights.Tensor{embedsName: weights.FromFloat32([]int{e.N, e.Tokens, e.Dim}, e.Data)}
	if p.Mask != nil {
		tensors[maskName] = weights.FromInt32([]int{e.N, e.Tokens}, p.Mask)
	}
	return weights.Write(path, tensors, all)
}

// ReadPrompts reads a safetensors file of prompts in one of three layouts. One is what [Prompts.Write] writes; where
// there are no metadata prompts, the texts are called 0, 1 and so on. The other, without a tensor named embeds, is a
// dictionary: a tensor [Tokens,Dim] or [1,Tokens,Dim] for each prompt, named by it. Such a dictionary may also be a
// .pth or .pt file of torch.save. A third is what diffusers' encode_prompt returned; see [pth.Encoded].
func ReadPrompts(path string) (Prompts, error) {
	switch ending := strings.ToLower(filepath.Ext(path)); ending {
	case ".pth", ".pt":
		return readTorch(path)
	case ".safetensors":
	default:
		return Prompts{}, fmt.Errorf("%s: prompts' embeddings are read from a .safetensors, .pth or .pt file, not "+
			"from a %q", path, ending)
	}
	f, err := weights.Open(path)
	if err != nil {
		return Prompts{}, err
	}
	defer f.Close()
	p, err := readPrompts(f)
	return p.checked(path, err)
}

// checked returns what was read from a file, and refuses embeddings that would make a network's results NaN.
func (p Prompts) checked(path string, err error) (Prompts, error) {
	if err != nil {
		return Prompts{}, fmt.Errorf("%s: %w", path, err)
	}
	for i, text := range p.Texts {
		if !diffusion.Finite(p.Embeds.Slice(i, i+1).Data) {
			return Prompts{}, fmt.Errorf("%s: the embeddings of the prompt %q hold NaN or infinite numbers: encode "+
				"it again, in float32 or bfloat16", path, text)
		}
	}
	return p, nil
}

func readPrompts(f *weights.File) (Prompts, error) {
	if slices.Contains(f.Names(), pth.EmbedsName) {
		tensors := map[string]weights.Tensor{}
		for _, name := range f.Names() {
			tensors[name], _ = f.Tensor(name) // of its own names
		}
		all, err := pth.Encoded(tensors)
		if err != nil {
			return Prompts{}, err
		}
		return joined(all)
	}
	if !slices.Contains(f.Names(), embedsName) {
		return dictionary(f.Names(), f.Tensor)
	}
	t, err := f.Tensor(embedsName)
	if err != nil {
		return Prompts{}, err
	}
	shape := t.Shape
	if len(shape) == 2 {
		shape = []int{1, shape[0], shape[1]}
	}
	if len(shape) != 3 || t.Size() == 0 {
		return Prompts{}, fmt.Errorf("tensor %q has shape %v, expected [N,Tokens,Dim]", embedsName, t.Shape)
	}
	p := Prompts{Embeds: model.Embeddings{N: shape[0], Tokens: shape[1], Dim: shape[2]}}
	if p.Embeds.Data, err = t.Float32(); err != nil {
		return Prompts{}, fmt.Errorf("tensor %q: %w", embedsName, err)
	}
	if text, ok := f.Metadata()[promptsName]; ok {
		if err := json.Unmarshal([]byte(text), &p.Texts); err != nil {
			return Prompts{}, fmt.Errorf("metadata %s are %q, expected a JSON list of texts", promptsName, text)
		}
	} else {
		for i := range p.Embeds.N {
			p.Texts = append(p.Texts, fmt.Sprint(i))
		}
	}
	if len(p.Texts) != p.Embeds.N {
		return Prompts{}, fmt.Errorf("metadata %s have %d texts, and tensor %q has %d", promptsName, len(p.Texts),
			embedsName, p.Embeds.N)
	}
	if !slices.Contains(f.Names(), maskName) {
		return p, nil
	}
	if t, err = f.Tensor(maskName); err != nil {
		return Prompts{}, err
	}
	if p.Mask, err = t.Int32(); err != nil || len(p.Mask) != p.Embeds.N*p.Embeds.Tokens {
		return Prompts{}, fmt.Errorf("tensor %q is %s %v, expected I32 [%d,%d]", maskName, t.DType, t.Shape, p.Embeds.N,
			p.Embeds.Tokens)
	}
	return p, nil
}

func readTorch(path string) (Prompts, error) {
	f, err := pth.Read(path)
	if err != nil {
		return Prompts{}, err
	}
	all, err := f.Prompts()
	if err != nil {
		return Prompts{}, err
	}
	p, err := joined(all)
	return p.checked(path, err)
}

// joined makes prompts of single ones.
func joined(all []pth.Prompt) (Prompts, error) {
	var texts []string
	var mask []int32
	embeddings := map[string]weights.Tensor{}
	for _, p := range all {
		texts = append(texts, p.Text)
		embeddings[p.Text] = p.Embedding
		mask = append(mask, p.Mask...)
	}
	p, err := dictionary(texts, func(text string) (weights.Tensor, error) { return embeddings[text], nil })
	if err != nil {
		return Prompts{}, err
	}
	if len(mask) == p.Embeds.N*p.Embeds.Tokens {
		p.Mask = mask
	}
	return p, nil
}

// dictionary joins the tensors of a dictionary from prompts to embeddings.
func dictionary(texts []string, tensor func(text string) (weights.Tensor, error)) (Prompts, error) {
	if len(texts) == 0 {
		return Prompts{}, errors.New("there are no tensors in it")
	}
	p := Prompts{Texts: texts}
	for i, text := range texts {
		t, err := tensor(text)
		if err != nil {
			return Prompts{}, err
		}
		shape := t.Shape
		if len(shape) == 3 && shape[0] == 1 {
			shape = shape[1:]
		}
		if len(shape) != 2 || t.Size() == 0 {
			return Prompts{}, fmt.Errorf("tensor %q has shape %v, expected [Tokens,Dim] or [1,Tokens,Dim] for each "+
				"prompt, or one tensor named %q", text, t.Shape, embedsName)
		}
		e := model.Embeddings{N: 1, Tokens: shape[0], Dim: shape[1]}
		if i == 0 {
			p.Embeds = model.Embeddings{Tokens: e.Tokens, Dim: e.Dim}
		}
		if e.Tokens != p.Embeds.Tokens || e.Dim != p.Embeds.Dim {
			return Prompts{}, fmt.Errorf(
				"tensor %q has shape %v, and %q has [%d,%d]: expected the same for all prompts", text, t.Shape,
				texts[0], p.Embeds.Tokens, p.Embeds.Dim)
		}
		values, err := t.Float32()
		if err != nil {
			return Prompts{}, fmt.Errorf("tensor %q: %w", text, err)
		}
		p.Embeds.N++
		p.Embeds.Data = append(p.Embeds.Data, values...)
	}
	return p, nil
}
