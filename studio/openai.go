package studio

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"image/color"
	"net/http"
	"slices"
	"time"

	"github.com/unnoise/unnoise/jobs"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/model"
)

// generation is the body of OpenAI's images/generations, with fields that theirs has not: a negative prompt, a seed,
// steps, guidance. Models here have one size of images, so that size is not heeded; the answer tells it.
type generation struct {
	Model          text   `json:"model"`
	Prompt         texts  `json:"prompt"`
	NegativePrompt text   `json:"negative_prompt"`
	N              number `json:"n"`
	Seed           number `json:"seed"`
	Steps          number `json:"steps"`
	Guidance       number `json:"guidance"`
	ResponseFormat text   `json:"response_format"`
	Stream         flag   `json:"stream"`
	PartialImages  number `json:"partial_images"`
}

func (g generation) request(s *Studio) (lab.Request, error) {
	r := lab.Request{Model: cmp.Or(string(g.Model), s.models.drawable()[0].Name), Prompts: g.Prompt,
		Negative: string(g.NegativePrompt), Count: g.N.or(0), Seed: g.Seed.seed()}
	if r.Steps = g.Steps.or(0); g.Guidance.Given && g.Guidance.Value > 0 {
		r.Guidance = &g.Guidance.Value
	}
	if len(g.Prompt) == 0 {
		return r, model.Errorf("prompts", "expected a prompt, found nothing")
	}
	return r, nil
}

// edition is the body of images/edits. In a form pictures are files, in JSON data addresses.
type edition struct {
	generation
	Strength number `json:"strength"` // of an edit without a mask: ours
	Image    texts  `json:"image"`
	Images   texts  `json:"images"`
	Mask     texts  `json:"mask"`
}

// request makes a request of the body: with a mask what is transparent there is drawn anew, without one the whole
// picture is drawn on from (SDEdit).
func (e edition) request(s *Studio, files map[string][][]byte) (lab.Request, error) {
	r, err := e.generation.request(s)
	if err != nil {
		return r, err
	}
	pictures := files["image"]
	for _, address := range slices.Concat(e.Image, e.Images) {
		data, err := base64Picture("image", address)
		if err != nil {
			return r, err
		}
		pictures = append(pictures, data)
	}
	if len(pictures) != 1 {
		return r, model.Errorf("image", "expected one picture, found %d", len(pictures))
	}
	source := lab.Picture{Data: pictures[0]}
	mask, err := e.mask(files)
	switch {
	case err != nil:
	case mask != nil:
		r.Inpaint = &lab.Inpaint{Picture: source, Mask: lab.Mask{Data: mask}}
	default:
		r.Edit = &lab.Edit{Picture: source}
		if e.Strength.Given {
			r.Edit.Strength = e.Strength.Value
		}
	}
	return r, err
}

// mask returns the mask, light where something is to be drawn, or nil.
func (e edition) mask(files map[string][][]byte) ([]byte, error) {
	masks := files["mask"]
	for _, address := range e.Mask {
		data, err := base64Picture("mask", address)
		if err != nil {
			return nil, err
		}
		masks = append(masks, data)
	}
	switch {
	case len(masks) == 0:
		return nil, nil
	case len(masks) > 1:
		return nil, model.Errorf("mask", "expected one mask, found %d", len(masks))
	}
	data := masks[0]
	return regray(data, func(c color.NRGBA, opaque bool) uint8 {
		if opaque { // a mask of black and white: its light part
			return color.GrayModel.Convert(c).(color.Gray).Y
		}
		return 255 - c.A
	})
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
	mux.HandleFunc("GET /v1/models/{name...}", func(w http.ResponseWriter, r *http.Request) {
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
			openAIError(w, blamed(err))
			return
		}
		request, err := g.request(s)
		s.answerOpenAI(w, r, "image_generation", g, request, err)
	})
	mux.HandleFunc("POST /v1/images/edits", func(w http.ResponseWriter, r *http.Request) {
		var e edition
		files, err := readForm(w, r, &e)
		if err != nil {
			openAIError(w, blamed(err))
			return
		}
		request, err := e.request(s, files)
		s.answerOpenAI(w, r, "image_edit", e.generation, request, err)
	})
}

// answerOpenAI draws a request that was read without err. kind is what events of a stream are called by.
func (s *Studio) answerOpenAI(w http.ResponseWriter, r *http.Request, kind string, g generation, request lab.Request,
	err error) {
	if err == nil && bool(g.Stream) {
		s.streamOpenAI(w, r, kind, request, min(g.PartialImages.or(0), 3))
		return
	}
	var status Status
	var pictures []jobs.Picture
	if err == nil {
		status, pictures, err = s.draw(r.Context(), request)
	}
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
		"size": sizeOf(pictures[0]), "seed": *status.Request.Seed})
}

// blamed is an error that a body is to blame for.
func blamed(err error) error {
	var field *model.FieldError
	if errors.As(err, &field) {
		return err
	}
	return &model.FieldError{Err: err}
}

func openAIModel(m Model) map[string]any {
	return map[string]any{"id": m.Name, "object": "model", "created": 0, "owned_by": "unnoise"}
}

func sizeOf(p jobs.Picture) string { return fmt.Sprintf("%dx%d", p.Width, p.Height) }

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
	return map[string]any{"error": map[string]any{"message": jobs.FaultOf(err).Message, "type": kind, "param": param,
		"code": code}}
}

// streamOpenAI draws with OpenAI's events: so many partial images of the first picture on the way, then each picture.
func (s *Studio) streamOpenAI(w http.ResponseWriter, r *http.Request, kind string, request lab.Request, partial int) {
	status, err := s.submit(request, false)
	if err != nil {
		openAIError(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	control := http.NewResponseController(w)
	send := func(event string, fields map[string]any) error {
		fields["type"], fields["created_at"], fields["output_format"] = event, time.Now().Unix(), "png"
		text, err := json.Marshal(fields)
		if err != nil {
			return err
		}
		if _, err = fmt.Fprintf(w, "event: %s\ndata: %s\n\n", event, text); err != nil {
			return err
		}
		return control.Flush()
	}
	sent := 0
	var pictures []jobs.Picture
	err = s.board.Watch(r.Context(), status.ID, func(now sight) error {
		f := now.frame
		status, pictures = now.Status, now.pictures
		if f == nil || sent >= partial || (f.Index+1)*(partial+1) < (sent+1)*f.Total {
			return nil
		}
		data, size, err := f.First()
		if err != nil {
			return err
		}
		sent++
		return send(kind+".partial_image", map[string]any{"b64_json": data, "partial_image_index": sent - 1,
			"size": fmt.Sprintf("%dx%d", size.X, size.Y)})
	})
	if err != nil {
		s.queue.Cancel(status.ID)
		return
	}
	if status.State != Done {
		err := jobs.ErrCancelled
		if status.Error != nil {
			err = status.Error.Err()
		}
		_ = send("error", openAIFault(err, http.StatusInternalServerError, ""))
		return
	}
	for _, p := range pictures {
		if send(kind+".completed", map[string]any{"b64_json": p.Data, "size": sizeOf(p),
			"seed": *status.Request.Seed}) != nil {
			return
		}
	}
}
