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

// texts is a text or a list of texts.
type texts []string

// UnmarshalJSON implements [json.Unmarshaler].
func (t *texts) UnmarshalJSON(text []byte) error {
	var one string
	if err := json.Unmarshal(text, &one); err == nil {
		if *t = nil; one != "" {
			*t = texts{one}
		}
		return nil
	}
	var all []*string
	if err := json.Unmarshal(text, &all); err != nil {
		return errors.New("expected a text or a list of texts")
	}
	*t = nil
	for _, s := range all {
		if s != nil && *s != "" {
			*t = append(*t, *s)
		}
	}
	return nil
}

// readTolerantly reads a body in JSON.
func readTolerantly(w http.ResponseWriter, r *http.Request, to any) error {
	data, err := io.ReadAll(http.MaxBytesReader(w, r.Body, Limits.Body))
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, to); err != nil {
		return fmt.Errorf("expected a JSON object: %w", err)
	}
	return nil
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
	text, err := json.Marshal(fields)
	if err == nil {
		err = json.Unmarshal(text, to)
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
