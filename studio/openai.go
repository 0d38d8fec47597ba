package studio

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/draw"
	"image/png"
	"net/http"
	"time"

	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/picture"

	xdraw "golang.org/x/image/draw"
)

// generation is the body of OpenAI's images/generations, with fields that theirs has not: a negative prompt, a seed,
// steps, guidance. Models here have one size of images, so that size is not heeded; the answer tells it.
type generation struct {
	Model          string `json:"model"`
	Prompt         texts  `json:"prompt"`
	NegativePrompt string `json:"negative_prompt"`
	N              number `json:"n"`
	Seed           number `json:"seed"`
	Steps          number `json:"steps"`
	Guidance       number `json:"guidance"`
	ResponseFormat string `json:"response_format"`
	Stream         bool   `json:"stream"`
	PartialImages  number `json:"partial_images"`
}

func (g generation) request(s *Studio) (lab.Request, error) {
	r := lab.Request{Model: cmp.Or(g.Model, s.models.drawable()[0].Name), Prompts: g.Prompt, Negative: g.NegativePrompt,
		Count: g.N.or(0), Seed: g.Seed.seed()}
	if r.Steps = g.Steps.or(0); g.Guidance.Given && g.Guidance.Value > 0 {
		r.Guidance = &g.Guidance.Value
	}
	if len(g.Prompt) == 0 {
		return r, model.Errorf("prompts", "expected a prompt, found nothing")
	}
	return r, nil
}

// openAI adds the part of OpenAI's API that draws.
func (s *Studio) openAI(mux *http.ServeMux) {
	mux.HandleFunc("GET /v1/models", func(w http.ResponseWriter, _ *http.Request) {
		data := []any{}
		for _, m := range s.models.drawable() {
			data = append(data, openAIModel(m))
		}
		answer(w, http.StatusOK, map[string]any{"object": "list", "data": data})
	})
	mux.HandleFunc("GET /v1/models/{name}", func(w http.ResponseWriter, r *http.Request) {
		for _, m := range s.models.drawable() {
			if m.Name == r.PathValue("name") {
				answer(w, http.StatusOK, openAIModel(m))
				return
			}
		}
		openAIError(w, model.Errorf("model", "%q is no model of this studio; see /v1/models", r.PathValue("name")))
	})
	mux.HandleFunc("POST /v1/images/generations", func(w http.ResponseWriter, r *http.Request) {
		var g generation
		if err := readTolerantly(w, r, &g); err != nil {
			openAIError(w, &model.FieldError{Err: err})
			return
		}
		request, err := g.request(s)
		if err != nil {
			openAIError(w, err)
			return
		}
		if g.Stream {
			s.streamOpenAI(w, r, request, min(g.PartialImages.or(0), 3))
			return
		}
		status, pictures, err := s.draw(r.Context(), request)
		if err != nil {
			openAIError(w, err)
			return
		}
		data := []map[string]any{}
		for i, p := range pictures {
			if g.ResponseFormat == "url" {
				data = append(data, map[string]any{"url": "http://" + r.Host + status.Images[i]})
			} else {
				data = append(data, map[string]any{"b64_json": p.Data})
			}
		}
		answer(w, http.StatusOK, map[string]any{"created": time.Now().Unix(), "data": data, "output_format": "png",
			"size": sizeOf(pictures[0]),
			"seed": *status.Request.Seed})
	})
}

func openAIModel(m Model) map[string]any {
	return map[string]any{"id": m.Name, "object": "model", "created": 0, "owned_by": "unnoise"}
}

func sizeOf(p Picture) string { return fmt.Sprintf("%dx%d", p.Width, p.Height) }

// openAIError answers as OpenAI's API tells of errors.
func openAIError(w http.ResponseWriter, err error) {
	status, field := statusOf(err)
	answer(w, status, openAIFault(err, status, field))
}

func openAIFault(err error, status int, field string) map[string]any {
	kind, code := "invalid_request_error", any(nil)
	switch {
	case field == "model":
		code = "model_not_found"
	case status == http.StatusTooManyRequests:
		kind, code = "rate_limit_error", "rate_limit_exceeded"
	case status >= 500:
		kind = "server_error"
	}
	param := any(nil)
	switch field {
	case "":
	case "prompts":
		param = "prompt"
	case "count":
		param = "n"
	default:
		param = field
	}
	return map[string]any{"error": map[string]any{"message": faultOf(err).Message, "type": kind, "param": param,
		"code": code}}
}

// streamOpenAI draws with OpenAI's events: so many partial images of the first picture on the way, then each picture.
func (s *Studio) streamOpenAI(w http.ResponseWriter, r *http.Request, request lab.Request, partial int) {
	status, err := s.submit(request, false)
	if err != nil {
		openAIError(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	control := http.NewResponseController(w)
	send := func(kind string, fields map[string]any) error {
		fields["type"], fields["created_at"], fields["output_format"] = kind, time.Now().Unix(), "png"
		text, err := json.Marshal(fields)
		if err != nil {
			return err
		}
		if _, err = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", kind, text); err != nil {
			return err
		}
		return control.Flush()
	}
	sent := 0
	err = s.board.Watch(r.Context(), status.ID, func(now sight) error {
		f := now.frame
		status = now.Status
		if f == nil || sent >= partial || (f.Index+1)*(partial+1) < (sent+1)*f.Total {
			return nil
		}
		data, size, err := firstOf(f)
		if err != nil {
			return err
		}
		sent++
		return send("image_generation.partial_image", map[string]any{"b64_json": data, "partial_image_index": sent - 1,
			"size": size})
	})
	if err != nil {
		s.queue.Cancel(status.ID)
		return
	}
	if status.State != Done {
		err := errors.New("the job was cancelled")
		if status.Error != nil {
			err = status.Error.err()
		}
		_ = send("error", openAIFault(err, http.StatusInternalServerError, ""))
		return
	}
	for _, p := range s.board.Pictures(status.ID) {
		if send("image_generation.completed", map[string]any{"b64_json": p.Data, "size": sizeOf(p),
			"seed": *status.Request.Seed}) != nil {
			return
		}
	}
}

// firstOf is what a moment expects the first picture to become, as a PNG file in its size.
func firstOf(f *Frame) (data []byte, size string, err error) {
	m, err := picture.Decode(f.X0)
	if err != nil {
		return nil, "", err
	}
	b := m.Bounds()
	b.Max.X = b.Min.X + b.Dx()/f.Images
	scale := enlargement(b.Dy(), b.Dx())
	large := image.NewRGBA(image.Rect(0, 0, b.Dx()*scale, b.Dy()*scale))
	xdraw.NearestNeighbor.Scale(large, large.Rect, m, b, draw.Src, nil)
	var out bytes.Buffer
	err = png.Encode(&out, large)
	return out.Bytes(), fmt.Sprintf("%dx%d", large.Rect.Dx(), large.Rect.Dy()), err
}
