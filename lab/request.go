package lab

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"unicode/utf8"

	"github.com/unnoise/unnoise/model"
)

// RequestVersion is that of the requests which this program writes.
const RequestVersion = 1

// Request says what to draw. Each field's zero value is the model's default; [Lab.Complete] fills all of them in. A
// completed request is a recipe: drawn on the same machine it gives the same picture again, to the bit.
type Request struct {
	Version  int    `json:"version"`
	Model    string `json:"model"`              // what [registry.Find] finds
	Revision string `json:"revision,omitempty"` // the hub's commit of it; a recipe's is heeded
	Variant  string `json:"variant,omitempty"`  // of the hub's weights, such as fp16

	Prompts  []string `json:"prompts,omitempty"` // what the images show; "all" is a small vocabulary's every word
	Negative string   `json:"negative,omitempty"`
	// file with the prompts' embeddings, instead of the model's text encoder
	Embeds string  `json:"embeds,omitempty"`
	Count  int     `json:"count,omitempty"` // images of each prompt
	Order  Order   `json:"order,omitempty"`
	Seed   *uint64 `json:"seed,omitempty"` // of PyTorch's random numbers; chosen at random where it is not given

	model.Sampling
	Edit     *Edit     `json:"edit,omitempty"`     // start from a picture
	Branch   *Branch   `json:"branch,omitempty"`   // go on from a moment of another drawing
	Inpaint  *Inpaint  `json:"inpaint,omitempty"`  // draw a part of a picture anew
	Illusion *Illusion `json:"illusion,omitempty"` // show several things at once, instead of prompts
	Strip    *Strip    `json:"strip,omitempty"`    // show the process on a picture
	Upscale  *Upscale  `json:"upscale,omitempty"`  // make the images larger
	Vary     []Vary    `json:"vary,omitempty"`     // draw several times, side by side

	DType   string `json:"dtype,omitempty"`   // bf16, f32 or auto
	Backend string `json:"backend,omitempty"` // what computes, if it is not onednn
	Batch   int    `json:"batch,omitempty"`   // images in one evaluation, guided ones counted twice
}

// Upscale says how images are made larger by a stage of super-resolution.
type Upscale struct {
	Model    string `json:"model"`
	Revision string `json:"revision,omitempty"`
	Variant  string `json:"variant,omitempty"`
	model.Sampling
	NoiseLevel *int `json:"noise_level,omitempty"` // timestep that the small images are noised to before
}

// Order says which image shows which prompt.
type Order string

// The orders.
const (
	ByPrompt Order = "prompts" // all images of a prompt, then those of the next; for prompts of any text
	InRounds Order = "rounds"  // one image of each prompt, again and again; for small vocabularies
)

// Images returns how many images a completed request asks for.
func (r Request) Images() int {
	if r.Strip != nil && r.Strip.times != nil {
		rows, columns := r.Strip.shape()
		return rows * columns
	}
	switch i := r.Illusion; {
	case i == nil:
		return max(len(r.Prompts), 1) * r.Count
	case i.Candidates > 0:
		return i.Groups() * i.Keep
	default:
		return i.Groups() * r.Count
	}
}

// PromptOf returns the prompt that an image shows.
func (r Request) PromptOf(image int) string {
	if len(r.Prompts) == 0 {
		return ""
	}
	return r.Prompts[r.promptOf(image)]
}

func (r Request) promptOf(image int) int {
	switch {
	case len(r.Prompts) == 0:
		return 0
	case r.Order == InRounds:
		return image % len(r.Prompts)
	}
	return image / r.Count
}

// ParseRequest reads a request in JSON. Unknown fields and newer versions are refused by name.
func ParseRequest(text []byte) (Request, error) {
	var version struct{ Version int }
	if err := json.Unmarshal(text, &version); err != nil {
		return Request{}, fmt.Errorf("a request is a JSON object: %w", err)
	}
	if version.Version != RequestVersion {
		return Request{}, fmt.Errorf("the request's version is %d, expected %d: was it written by a newer program?",
			version.Version, RequestVersion)
	}
	var r Request
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&r); err != nil {
		return Request{}, fmt.Errorf("the request: %w", err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return Request{}, errors.New("the request: something follows the JSON object")
	}
	return r, nil
}

// JSON writes the request on one line.
func (r Request) JSON() ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(r)
	return bytes.TrimSpace(b.Bytes()), err
}

// Indented writes the request for people.
func (r Request) Indented() (string, error) {
	text, err := r.JSON()
	if err != nil {
		return "", err
	}
	var b bytes.Buffer
	err = json.Indent(&b, text, "", "  ")
	return b.String(), err
}

func (r *Request) completeVersion() error {
	if r.Version != 0 && r.Version != RequestVersion {
		return model.Errorf("version", "expected %d, found %d: was it written by a newer program?", RequestVersion,
			r.Version)
	}
	r.Version = RequestVersion
	return nil
}

// completePrompts checks the prompts against what a model understands.
func (r *Request) completePrompts(spec model.Spec) error {
	if r.Illusion != nil {
		if len(r.Prompts) > 0 || r.Embeds != "" {
			return model.Errorf("prompts", "an illusion's views and bands have their own, expected none beside them")
		}
		r.Order = ByPrompt
		return nil
	}
	if r.Strip != nil {
		if err := r.completeStripPrompt(spec); err != nil {
			return err
		}
	}
	if slices.Equal(r.Prompts, []string{"all"}) && len(spec.Vocabulary) > 0 {
		r.Prompts = slices.Clone(spec.Vocabulary)
	}
	if len(r.Prompts) == 0 && len(spec.Vocabulary) > 0 && r.Strip == nil {
		r.Prompts = slices.Clone(spec.Vocabulary)
	}
	for field, texts := range map[string][]string{"prompts": r.Prompts, "negative": {r.Negative}} {
		for _, text := range texts {
			if !utf8.ValidString(text) {
				return model.Errorf(field, "%q is not text: it has invalid UTF-8", text)
			}
			if err := spec.CheckPrompt(text); err != nil {
				return &model.FieldError{Field: field, Err: err}
			}
		}
	}
	if len(r.Prompts) == 0 && spec.Texts && r.Embeds == "" && (r.Strip == nil || !r.Strip.Forward) {
		return model.Errorf("prompts", "expected a prompt, found nothing")
	}
	if r.Order == "" {
		r.Order = ByPrompt
		if len(spec.Vocabulary) > 0 {
			r.Order = InRounds
		}
	}
	if r.Order != ByPrompt && r.Order != InRounds {
		return model.Errorf("order", "expected %s or %s, found %q", ByPrompt, InRounds, r.Order)
	}
	return nil
}

// completeStripPrompt settles what the network is told of a strip's picture: without a prompt, as little as there is.
func (r *Request) completeStripPrompt(spec model.Spec) error {
	s := r.Strip
	switch {
	case len(r.Prompts) > 1 || r.Count > 1:
		return model.Errorf("prompts", "a strip is of one picture and one prompt at most")
	case s.Forward && (len(r.Prompts) > 0 || r.Negative != ""):
		return model.Errorf("prompts", "the forward process takes none")
	case len(r.Prompts) > 0 || s.Forward || r.Embeds != "":
	case spec.Texts:
		r.Prompts = []string{"a high quality photo"}
	case r.Guidance == nil:
		r.Guidance = new(float64)
		*r.Guidance = 1
	}
	return nil
}

// The bounds of a request, against slips of the finger.
const (
	maxCount  = 100_000
	maxImages = 100_000
)

func (r *Request) completeCount() error {
	if r.Count == 0 {
		r.Count = 1
	}
	if r.Count < 1 || r.Count > maxCount {
		return model.Errorf("count", "expected 1 to %d, found %d", maxCount, r.Count)
	}
	if n := r.Images(); n > maxImages {
		return model.Errorf("count", "%d prompts with %d images each are %d images, expected at most %d",
			len(r.Prompts), r.Count, n, maxImages)
	}
	if r.Batch < 0 {
		return model.Errorf("batch", "expected 1 or more, or 0 for the model's own, found %d", r.Batch)
	}
	return nil
}

// FileError says that a file which a field names is at fault, and not the field: the model is not there, or is damaged.
type FileError struct{ Err error }

func (e *FileError) Error() string { return e.Err.Error() }
func (e *FileError) Unwrap() error { return e.Err }

func inFile(field string, err error) error {
	return &model.FieldError{Field: field, Err: &FileError{err}}
}

// under puts a part's name before the field that an error names.
func under(part string, err error) error {
	var field *model.FieldError
	if errors.As(err, &field) {
		return &model.FieldError{Field: part + "." + field.Field, Err: field.Err}
	}
	return err
}
