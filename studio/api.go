package studio

import (
	"context"
	"crypto/sha256"
	"embed"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/jobs"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/registry"
)

//go:embed page
var page embed.FS

// routes are all of the studio's.
func (s *Studio) routes() http.Handler {
	mux := http.NewServeMux()
	files, err := fs.Sub(page, "page")
	if err != nil {
		panic(err) // the embedded folder is there
	}
	mux.Handle("GET /", cached(files))
	mux.HandleFunc("GET /writeup", s.writeup)
	mux.HandleFunc("GET /writeup/{name}", s.writeupPicture)
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	s.observe(mux)
	s.native(mux)
	s.openAI(mux)
	s.automatic(mux)
	return mux
}

// cached has browsers ask whether a file is another than they have. Files in the program have no time of their own.
func cached(files fs.FS) http.Handler {
	sum := sha256.New()
	err := fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := fs.ReadFile(files, path)
		sum.Write(data)
		return err
	})
	if err != nil {
		panic(err) // embedded files can be read
	}
	tag := fmt.Sprintf(`"%x"`, sum.Sum(nil)[:12])
	serve := http.FileServerFS(files)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-cache")
		w.Header().Set("ETag", tag)
		serve.ServeHTTP(w, r)
	})
}

// The inputs and outputs of operations.
type (
	byID struct {
		ID string `path:"id" doc:"of a job"`
	}
	byName struct {
		Name string `path:"name" doc:"of a picture in the gallery"`
	}
	withStatus struct {
		Body Status
	}
	submission struct {
		Draft bool `query:"draft" doc:"the pictures are kept in memory for a while, and not in the gallery"`
		Body  lab.Request
	}
	withModels struct {
		Body []Model
	}
	withSources struct {
		Body []registry.Source
	}
	withFilm struct {
		Body jobs.Film
	}
	withList struct {
		Body []Status
	}
	withWorkers struct {
		Body []jobs.Presence
	}
	withSheet struct {
		Body *jobs.Sheet
	}
	listing struct {
		Before string `query:"before" doc:"only pictures older than the one of this name"`
		Limit  int    `query:"limit" default:"60" minimum:"1" maximum:"500"`
	}
	withGallery struct {
		Body struct {
			Pictures []Entry `json:"pictures" doc:"the newest first"`
			Total    int     `json:"total" doc:"pictures in the gallery"`
		}
	}
	upload struct {
		RawBody []byte `contentType:"image/png"`
	}
	withRequest struct {
		Body lab.Request
	}
	file struct {
		Type  string `header:"Content-Type"`
		Cache string `header:"Cache-Control"`
		Name  string `header:"Content-Disposition"`
		Body  []byte
	}
)

// native adds the studio's own API. Its description is at /openapi.json.
func (s *Studio) native(mux *http.ServeMux) {
	config := huma.DefaultConfig("unnoise studio", build.Commit())
	config.DocsPath, config.SchemasPath, config.CreateHooks = "", "", nil // their page loads scripts from elsewhere
	api := humago.New(mux, config)
	add := func(method, path, id, summary string) huma.Operation {
		return huma.Operation{Method: method, Path: path, OperationID: id, Summary: summary, MaxBodyBytes: Limits.Body,
			BodyReadTimeout: time.Minute}
	}
	accepted := add(http.MethodPost, "/api/jobs", "draw", "Puts a request into the queue")
	accepted.DefaultStatus = http.StatusAccepted
	huma.Register(api, accepted, func(_ context.Context, in *submission) (*withStatus, error) {
		status, err := s.submit(in.Body, in.Draft)
		return &withStatus{status}, problem(err)
	})
	huma.Register(api, add(http.MethodGet, "/api/jobs", "jobs",
		"The jobs that wait and are drawn, and those that ended last, the newest first"),
		func(context.Context, *struct{}) (*withList, error) { return &withList{s.board.List()}, nil })
	huma.Register(api, add(http.MethodGet, "/api/workers", "workers", "Who draws, and what is being loaded"),
		func(context.Context, *struct{}) (*withWorkers, error) { return &withWorkers{s.queue.Workers()}, nil })
	huma.Register(api, add(http.MethodGet, "/api/jobs/{id}", "job", "How far a job is"),
		func(_ context.Context, in *byID) (*withStatus, error) {
			return s.status(in.ID)
		})
	huma.Register(api, add(http.MethodDelete, "/api/jobs/{id}", "cancel", "Cancels a job"),
		func(_ context.Context, in *byID) (*withStatus, error) {
			s.queue.Cancel(in.ID)
			return s.status(in.ID)
		})
	huma.Register(api, add(http.MethodPost, "/api/jobs/{id}/keep", "keep", "Puts a draft's pictures into the gallery"),
		func(_ context.Context, in *byID) (*withStatus, error) {
			if err := s.board.Keep(in.ID); err != nil {
				return nil, problem(err)
			}
			return s.status(in.ID)
		})
	huma.Register(api, add(http.MethodGet, "/api/jobs/{id}/film", "film", "The moments of a drawing"),
		func(_ context.Context, in *byID) (*withFilm, error) {
			frames, ok := s.board.Film(in.ID)
			if !ok {
				return nil, huma.Error404NotFound("there is no job of this name any more")
			}
			return &withFilm{frames}, nil
		})
	huma.Register(api, add(http.MethodGet, "/api/jobs/{id}/steps", "steps",
		"The moments of a drawing that are kept, without their pictures"),
		func(_ context.Context, in *byID) (*withFilm, error) {
			frames, ok := s.board.Film(in.ID)
			if !ok {
				return nil, huma.Error404NotFound("there is no job of this name any more")
			}
			for i := range frames {
				frames[i].X, frames[i].X0, frames[i].Epsilon = nil, nil, nil
			}
			return &withFilm{frames}, nil
		})
	huma.Register(api, add(http.MethodGet, "/api/jobs/{id}/steps/{step}/{quantity}", "step",
		"What a step of a drawing is seen by"),
		func(_ context.Context, in *struct {
			ID       string `path:"id"`
			Step     int    `path:"step" minimum:"0" doc:"its index, from 0"`
			Quantity string `path:"quantity" enum:"x,x0,epsilon"`
		}) (*file, error) {
			frames, _ := s.board.Film(in.ID)
			for _, f := range frames {
				if f.Index == in.Step {
					data := map[string][]byte{"x": f.X, "x0": f.X0, "epsilon": f.Epsilon}[in.Quantity]
					return &file{Type: f.Type, Cache: "no-store", Body: data}, nil
				}
			}
			return nil, huma.Error404NotFound("this step of the job is not kept")
		})
	huma.Register(api, add(http.MethodGet, "/api/jobs/{id}/candidates", "candidates",
		"What is thought of a job's candidates so far"),
		func(_ context.Context, in *byID) (*withSheet, error) {
			sheet, ok := s.board.Sheet(in.ID)
			if !ok {
				return nil, huma.Error404NotFound("there is no such job any more, or none of its candidates is judged")
			}
			return &withSheet{sheet.Bare()}, nil
		})
	huma.Register(api, add(http.MethodGet, "/api/jobs/{id}/candidates/{seed}", "candidate",
		"A candidate's picture, as it was judged"),
		func(_ context.Context, in *struct {
			ID   string `path:"id"`
			Seed uint64 `path:"seed"`
		}) (*file, error) {
			if sheet, ok := s.board.Sheet(in.ID); ok {
				for _, c := range sheet.Candidates {
					if c.Seed == in.Seed {
						return &file{Type: "image/png", Cache: "no-store", Body: c.Picture}, nil
					}
				}
			}
			return nil, huma.Error404NotFound("there is no such candidate any more")
		})
	huma.Register(api, add(http.MethodGet, "/api/jobs/{id}/images/{n}", "job-image",
		"A picture of a job, a PNG with its recipe"),
		func(_ context.Context, in *struct {
			ID string `path:"id"`
			N  int    `path:"n" minimum:"1"`
		}) (*file, error) {
			data, ok := s.board.Picture(in.ID, in.N)
			if !ok {
				return nil, huma.Error404NotFound("there is no such picture any more")
			}
			return pngFile(nameOf(in.ID, in.N), data), nil
		})
	events := add(http.MethodGet, "/api/jobs/{id}/events", "events",
		"A job's states and frames as server-sent events, until it has ended")
	events.Responses = map[string]*huma.Response{"200": {Description: "events state, with a job's status, frame, and sheet, " +
		"with candidates",
		Content: map[string]*huma.MediaType{"text/event-stream": {}}}}
	huma.Register(api, events, func(_ context.Context, in *byID) (*huma.StreamResponse, error) {
		if _, err := s.status(in.ID); err != nil {
			return nil, err
		}
		return &huma.StreamResponse{Body: func(c huma.Context) {
			r, w := humago.Unwrap(c)
			s.stream(w, r, s.watchJob(in.ID))
		}}, nil
	})
	huma.Register(api, add(http.MethodGet, "/api/models", "models", "The models of the studio"),
		func(context.Context, *struct{}) (*withModels, error) {
			return &withModels{s.models.all()}, nil
		})
	huma.Register(api, add(http.MethodGet, "/api/missing", "missing",
		"Models that are not on this machine, and where they come from; or where the given one comes from"),
		func(_ context.Context, in *struct {
			Model string `query:"model" maxLength:"200"`
		}) (*withSources, error) {
			if in.Model != "" {
				return &withSources{[]registry.Source{registry.SourceOf(in.Model)}}, nil
			}
			return &withSources{s.models.missing()}, nil
		})
	huma.Register(api, add(http.MethodGet, "/api/gallery", "gallery", "The pictures in the gallery"),
		func(_ context.Context, in *listing) (*withGallery, error) {
			out := &withGallery{}
			out.Body.Pictures, out.Body.Total = s.gallery.List(in.Before, in.Limit)
			return out, nil
		})
	s.trainings(api, add)
	huma.Register(api,
		add(http.MethodGet, "/api/images/{name}", "image", "A picture in the gallery, a PNG with its recipe"),
		func(_ context.Context, in *byName) (*file, error) {
			data, ok, err := s.gallery.Read(in.Name)
			if !ok {
				return nil, huma.Error404NotFound("the gallery has no picture of this name")
			}
			return pngFile(in.Name, data), problem(err)
		})
	huma.Register(api, add(http.MethodDelete, "/api/images/{name}", "remove", "Deletes a picture in the gallery"),
		func(_ context.Context, in *byName) (*struct{}, error) {
			ok, err := s.gallery.Remove(in.Name)
			if !ok {
				return nil, huma.Error404NotFound("the gallery has no picture of this name")
			}
			return nil, problem(err)
		})
	huma.Register(api, add(http.MethodGet, "/api/about", "about", "What there is in this studio"), s.about)
	huma.Register(api, add(http.MethodGet, "/api/words", "words", "Words that a model's tokenizer knows"), s.wordsOf)
	huma.Register(api, add(http.MethodPost, "/api/perform", "perform",
		"The movement from a picture to what a view or band shows of it"), s.performs)
	huma.Register(api, add(http.MethodPost, "/api/recipe", "recipe", "The request that a PNG was drawn by"),
		func(_ context.Context, in *upload) (*withRequest, error) {
			r, err := recipeOf(in.RawBody)
			if err != nil {
				return nil, huma.Error422UnprocessableEntity(err.Error())
			}
			return &withRequest{r}, nil
		})
}

func (s *Studio) status(id string) (*withStatus, error) {
	status, ok := s.board.Status(id)
	if !ok {
		return nil, huma.Error404NotFound("there is no job of this name any more")
	}
	return &withStatus{status}, nil
}

func pngFile(name string, data []byte) *file {
	return &file{"image/png", "private, max-age=31536000, immutable", `inline; filename="` + name + `"`, data}
}

// problem is an error as the API tells it: a field's by its place in the request.
func problem(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, jobs.ErrFull):
		return huma.ErrorWithHeaders(huma.Error429TooManyRequests(err.Error()), http.Header{"Retry-After": {"5"}})
	case errors.Is(err, jobs.ErrClosed):
		return huma.Error503ServiceUnavailable(err.Error())
	case errors.Is(err, errNoRun), errors.Is(err, errNoSet):
		return huma.Error404NotFound(err.Error())
	case errors.Is(err, errTraining), errors.Is(err, errSetUsed):
		return huma.Error409Conflict(err.Error())
	}
	var field *model.FieldError
	var broken *lab.FileError
	if errors.As(err, &field) && !errors.As(err, &broken) {
		return huma.Error422UnprocessableEntity(field.Err.Error(),
			&huma.ErrorDetail{Message: field.Err.Error(), Location: "body." + field.Field})
	}
	return huma.Error500InternalServerError(err.Error())
}

// heartbeat is how often a stream tells that it is alive, so that connections that are gone are found.
const heartbeat = 15 * time.Second

// stream sends events that watch tells of, until it ends. Watch is begun anew whenever its context ended after a while.
func (s *Studio) stream(w http.ResponseWriter, r *http.Request,
	watch func(ctx context.Context, send func(event string, value any) error) error) {
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no")
	control := http.NewResponseController(w)
	write := func(text string) error {
		_ = control.SetWriteDeadline(time.Now().Add(heartbeat))
		if _, err := io.WriteString(w, text); err != nil {
			return err
		}
		return control.Flush()
	}
	send := func(event string, value any) error {
		text, err := json.Marshal(value)
		if err != nil {
			return err
		}
		return write(fmt.Sprintf("event: %s\ndata: %s\n\n", event, text))
	}
	ctx, stop := context.WithCancel(r.Context())
	defer stop()
	defer context.AfterFunc(s.closing, stop)()
	for beat := true; beat; {
		wait, end := context.WithTimeout(ctx, heartbeat)
		err := watch(wait, send)
		end()
		beat = errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil && write(": alive\n\n") == nil
	}
}

// watchJob sends a job's events. Frames are those that are the newest when the client has taken the one before.
func (s *Studio) watchJob(id string) func(context.Context, func(string, any) error) error {
	return func(ctx context.Context, send func(string, any) error) error {
		return s.board.Watch(ctx, id, func(now sight) error {
			if now.frame != nil {
				if err := send("frame", now.frame); err != nil {
					return err
				}
			}
			if now.sheet != nil {
				if err := send("sheet", now.sheet.Bare()); err != nil {
					return err
				}
			}
			return send("state", now.Status)
		})
	}
}
