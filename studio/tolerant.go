package studio

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"strconv"
	"strings"

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
	case errors.Is(err, ErrFull):
		return http.StatusTooManyRequests, ""
	case errors.Is(err, ErrClosed):
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
