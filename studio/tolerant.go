package studio

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"mime"
	"net/http"
	"strconv"
	"strings"

	"github.com/unnoise/unnoise/jobs"
	"github.com/unnoise/unnoise/model"
)

// What the APIs of others have in common: their clients send nulls, zeros, numbers as texts, and fields that nobody
// knows.

// number is a number that may be written as text. What is no number is none.
type number struct {
	Value float64
	Given bool
}

// UnmarshalJSON implements [json.Unmarshaler].
func (n *number) UnmarshalJSON(text []byte) error {
	v, err := strconv.ParseFloat(strings.Trim(string(text), `" `), 64)
	if err == nil && !math.IsInf(v, 0) && !math.IsNaN(v) {
		*n = number{v, true}
	}
	return nil
}

// seed is a seed, where one was given: −1 asks for a random one.
func (n number) seed() *uint64 {
	if !n.Given || n.Value < 0 || n.Value >= 1<<53 {
		return nil
	}
	seed := uint64(n.Value)
	return &seed
}

// or is the number where it is positive.
func (n number) or(other int) int {
	if n.Value >= 1 && n.Value <= 1e9 {
		return int(n.Value)
	}
	return other
}

// flag is true or false, perhaps as text. What is neither is false.
type flag bool

// UnmarshalJSON implements [json.Unmarshaler].
func (f *flag) UnmarshalJSON(text []byte) error {
	*f = flag(strings.EqualFold(strings.Trim(string(text), `" `), "true"))
	return nil
}

// texts are a text or a list of them. A number is taken as it is written, and a picture by the address in its image_url.
type texts []string

// UnmarshalJSON implements [json.Unmarshaler].
func (t *texts) UnmarshalJSON(text []byte) error {
	all := []json.RawMessage{text}
	if json.Unmarshal(text, &all) != nil {
		all = []json.RawMessage{text}
	}
	*t = nil
	for _, one := range all {
		var s *string
		var n json.Number
		var of struct {
			URL string `json:"image_url"`
		}
		switch {
		case json.Unmarshal(one, &s) == nil:
		case json.Unmarshal(one, &n) == nil:
			s = (*string)(&n)
		case json.Unmarshal(one, &of) == nil:
			s = &of.URL
		default:
			return fmt.Errorf("expected a text, or a list of texts, found %.40s", one)
		}
		if s != nil && *s != "" {
			*t = append(*t, *s)
		}
	}
	return nil
}

// text is a text, or the first one of a list.
type text string

// UnmarshalJSON implements [json.Unmarshaler].
func (t *text) UnmarshalJSON(data []byte) error {
	var all texts
	err := all.UnmarshalJSON(data)
	if *t = ""; len(all) > 0 {
		*t = text(all[0])
	}
	return err
}

// readTolerantly reads a body in JSON.
func readTolerantly(w http.ResponseWriter, r *http.Request, to any) error {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, Limits.Body))
	if err != nil {
		return err
	}
	return parse(data, to)
}

// parse reads a JSON object, and says what is wrong with it in words for people.
func parse(data []byte, to any) error {
	err := json.Unmarshal(data, to)
	var kind *json.UnmarshalTypeError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &kind) && kind.Field != "":
		name := kind.Field[strings.LastIndex(kind.Field, ".")+1:]
		return model.Errorf(name, "a JSON %s has no meaning here", kind.Value)
	case errors.As(err, &kind):
		return fmt.Errorf("expected a JSON object, found a JSON %s", kind.Value)
	}
	return fmt.Errorf("expected a JSON object: %w", err)
}

// readForm reads a body in JSON or as a form: fields as in JSON, and files by the names of their fields.
func readForm(w http.ResponseWriter, r *http.Request, to any) (files map[string][][]byte, err error) {
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "multipart/form-data" {
		return nil, readTolerantly(w, r, to)
	}
	r.Body = http.MaxBytesReader(w, r.Body, Limits.Body)
	if err := r.ParseMultipartForm(Limits.Body); err != nil { // all of it is in memory: nothing is written to a disk
		return nil, err
	}
	fields := map[string]any{}
	for name, values := range r.MultipartForm.Value {
		fields[strings.TrimSuffix(name, "[]")] = values
		if len(values) == 1 {
			fields[name] = values[0]
		}
	}
	data, err := json.Marshal(fields)
	if err == nil {
		err = parse(data, to)
	}
	if err != nil {
		return nil, err
	}
	files = map[string][][]byte{}
	for name, headers := range r.MultipartForm.File {
		name = strings.TrimSuffix(name, "[]")
		for _, h := range headers {
			f, err := h.Open()
			if err != nil {
				return nil, err
			}
			data, err := io.ReadAll(f)
			f.Close()
			if err != nil {
				return nil, err
			}
			if len(data) == 0 {
				return nil, model.Errorf(name, "expected a picture, found an empty file")
			}
			files[name] = append(files[name], data)
		}
	}
	return files, nil
}

// base64Picture reads a picture that may begin as a data address.
func base64Picture(field, text string) ([]byte, error) {
	if _, rest, ok := strings.Cut(text, ";base64,"); ok && strings.HasPrefix(text, "data:") {
		text = rest
	}
	data, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(data) == 0 {
		return nil, model.Errorf(field, "expected a picture in base64")
	}
	return data, nil
}

// statusOf is the HTTP status of an error, and the field that is to blame.
func statusOf(err error) (status int, field string) {
	var of *model.FieldError
	var large *http.MaxBytesError
	switch {
	case errors.Is(err, jobs.ErrFull):
		return http.StatusTooManyRequests, ""
	case errors.Is(err, jobs.ErrClosed), errors.As(err, new(errNoWorker)):
		return http.StatusServiceUnavailable, ""
	case errors.As(err, &large):
		return http.StatusRequestEntityTooLarge, ""
	case errors.As(err, &of):
		return http.StatusBadRequest, of.Field
	}
	return http.StatusInternalServerError, ""
}

func answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value) // who is gone needs no answer
}
