package pth

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/unnoise/unnoise/weights"
)

// Prompt is a text and what a text encoder makes of it.
type Prompt struct {
	Text      string
	Embedding weights.Tensor // [Tokens,Dim] of F16, BF16, F32 or F64
	Mask      []int32        // [Tokens], 1 for the text's own tokens and 0 for the filling; nil where the file has none
}

// Prompts finds the prompts in a file that is a dictionary of them. Each one's value is its embedding, a tensor
// [Tokens,Dim] or [1,Tokens,Dim], or a dictionary, list or tuple of the embedding and its attention mask, [Tokens] or
// [1,Tokens] of whole numbers or booleans.
//
// What diffusers' encode_prompt returns is taken too, as the pair of embeddings [N,Tokens,Dim] and negative ones or
// None, or under the names prompt_embeds and negative_prompt_embeds; see [Encoded].
func (f *File) Prompts() ([]Prompt, error) {
	fail := func(err error) ([]Prompt, error) {
		return nil, fmt.Errorf("%s: expected a dictionary from prompts to embeddings [Tokens,Dim] or [1,Tokens,Dim], "+
			"or the pair of encode_prompt: %w", f.path, err)
	}
	if tensors, ok, err := encoded(f.Value); ok {
		if err != nil {
			return fail(err)
		}
		prompts, err := Encoded(tensors)
		if err != nil {
			return fail(err)
		}
		return prompts, nil
	}
	dict, ok := f.Value.(*Dict)
	if !ok {
		return fail(fmt.Errorf("found %s", describe(f.Value)))
	}
	if len(dict.Items) == 0 {
		return fail(errors.New("found an empty one"))
	}
	var prompts []Prompt
	for _, item := range dict.Items {
		text, ok := item.Key.(string)
		if !ok {
			return fail(fmt.Errorf("found %s where a prompt was expected", describe(item.Key)))
		}
		p, err := prompt(text, item.Value)
		if err != nil {
			return fail(fmt.Errorf("prompt %.80q: %w", text, err))
		}
		prompts = append(prompts, p)
	}
	return prompts, nil
}

// The names of what diffusers' encode_prompt returns.
const (
	EmbedsName   = "prompt_embeds"
	negativeName = "negative_prompt_embeds"
)

// encoded returns what encode_prompt returned by its names; ok reports whether v is of it.
func encoded(v any) (tensors map[string]weights.Tensor, ok bool, err error) {
	tensors = map[string]weights.Tensor{}
	put := func(name string, v any) {
		t, isTensor := v.(weights.Tensor)
		switch {
		case isTensor:
			tensors[name] = t
		case v != nil && err == nil:
			err = fmt.Errorf("%s is %s", name, describe(v))
		}
	}
	var pair []any
	switch v := v.(type) {
	case Tuple:
		pair = v
	case *List:
		pair = v.Items
	case *Dict:
		for _, item := range v.Items {
			name, _ := item.Key.(string)
			put(name, item.Value)
			ok = ok || name == EmbedsName
		}
		return tensors, ok, err
	}
	if len(pair) != 2 {
		return nil, false, nil
	}
	put(EmbedsName, pair[0])
	put(negativeName, pair[1])
	return tensors, true, err
}

// Encoded finds the prompts in what diffusers' encode_prompt returned: prompt_embeds [N,Tokens,Dim] and
// negative_prompt_embeds, which may be missing. Attention masks are left out. As the texts are not told, the prompts
// are called 0, 1 and so on; the negative one, which must be the same for all, is the empty text, as it is by default.
func Encoded(tensors map[string]weights.Tensor) ([]Prompt, error) {
	rows := func(name string) (prompts []Prompt, err error) {
		t, there := tensors[name]
		if !there {
			return nil, nil
		}
		if len(t.Shape) == 2 {
			t.Shape = []int{1, t.Shape[0], t.Shape[1]}
		}
		if len(t.Shape) != 3 || t.Size() == 0 {
			return nil, fmt.Errorf("found %s %v, expected [N,Tokens,Dim]", name, t.Shape)
		}
		for row := range slices.Chunk(t.Data, len(t.Data)/t.Shape[0]) {
			p, err := prompt(strconv.Itoa(len(prompts)), weights.Tensor{DType: t.DType, Shape: t.Shape[1:], Data: row})
			if err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
			prompts = append(prompts, p)
		}
		return prompts, nil
	}
	prompts, err := rows(EmbedsName)
	if err != nil {
		return nil, err
	}
	negative, err := rows(negativeName)
	if err != nil {
		return nil, err
	}
	for name := range tensors {
		if name != EmbedsName && name != negativeName && !strings.HasSuffix(name, "mask") {
			return nil, fmt.Errorf("found %q beside %s, which is not understood", name, EmbedsName)
		}
	}
	if prompts == nil {
		return nil, fmt.Errorf("found no %s", EmbedsName)
	}
	for i, p := range negative {
		if p.Text = ""; i == 0 {
			prompts = append(prompts, p)
		} else if !bytes.Equal(p.Embedding.Data, negative[0].Embedding.Data) {
			return nil, errors.New("found different negative prompts: save each pair in a file of its own")
		}
	}
	return prompts, nil
}

func prompt(text string, v any) (Prompt, error) {
	p := Prompt{Text: text}
	var parts []any
	container := true
	switch v := v.(type) {
	case *Dict:
		for _, item := range v.Items {
			parts = append(parts, item.Value)
		}
	case *List:
		parts = v.Items
	case Tuple:
		parts = v
	default:
		parts, container = []any{v}, false
	}
	var mask *weights.Tensor
	for _, part := range parts {
		t, ok := part.(weights.Tensor)
		switch shape := unbatched(t.Shape); {
		case part == nil && container: // a mask, or a negative prompt, that was left out
		case ok && slices.Contains(floats, t.DType) && len(shape) == 2 && t.Size() > 0 && p.Embedding.Data == nil:
			p.Embedding = weights.Tensor{DType: t.DType, Shape: shape, Data: t.Data}
		case ok && slices.Contains(wholes, t.DType) && mask == nil && container:
			mask = &t
		case ok && slices.Contains(floats, t.DType) && p.Embedding.Data != nil:
			return p, fmt.Errorf("found a second embedding, %s: is it the negative prompt's? Save it as a prompt of "+
				"its own", describe(part))
		default:
			return p, fmt.Errorf("found %s", describe(part))
		}
	}
	if p.Embedding.Data == nil {
		return p, fmt.Errorf("found no embedding in %s", describe(v))
	}
	if mask == nil {
		return p, nil
	}
	tokens := p.Embedding.Shape[0]
	if shape := mask.Shape; !slices.Equal(shape, []int{tokens}) && !slices.Equal(shape, []int{1, tokens}) {
		return p, fmt.Errorf("found a mask of shape %v for %d tokens", shape, tokens)
	}
	size := mask.DType.Size()
	for element := range slices.Chunk(mask.Data, size) {
		if element[0] > 1 || slices.ContainsFunc(element[1:], func(b byte) bool { return b != 0 }) {
			return p, errors.New("found a mask with other numbers than 0 and 1")
		}
		p.Mask = append(p.Mask, int32(element[0]))
	}
	return p, nil
}

var (
	floats = []weights.DType{weights.F16, weights.BF16, weights.F32, weights.F64}
	wholes = []weights.DType{weights.I64, weights.I32, weights.I16, weights.I8, weights.U8, weights.BOOL}
)

// unbatched is a shape without a first axis of one, if it has three.
func unbatched(shape []int) []int {
	if len(shape) == 3 && shape[0] == 1 {
		return shape[1:]
	}
	return shape
}
