package studio

import (
	"context"
	"net/http"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"
)

type (
	byRun struct {
		ID string `path:"id" doc:"of a training"`
	}
	withRun struct {
		Body Run
	}
	withRuns struct {
		Body []Run
	}
	withLosses struct {
		Body []Loss
	}
	withSets struct {
		Body []Set
	}
)

// trainings adds what is asked of trainings.
func (s *Studio) trainings(api huma.API, add func(method, path, id, summary string) huma.Operation) {
	told := func(run Run, err error) (*withRun, error) { return &withRun{run}, problem(err) }
	s.sending(api, add)
	begin := add(http.MethodPost, "/api/trainings", "train", "Begins a training; it answers once a step is made")
	begin.DefaultStatus = http.StatusCreated
	huma.Register(api, begin, func(_ context.Context, in *struct{ Body TrainRequest }) (*withRun, error) {
		return told(s.runs.begin(in.Body))
	})
	huma.Register(api, add(http.MethodGet, "/api/trainings", "trainings", "All trainings, the newest first"),
		func(context.Context, *struct{}) (*withRuns, error) { return &withRuns{s.runs.list()}, nil })
	huma.Register(api, add(http.MethodGet, "/api/trainings/{id}", "training", "How far a training is"),
		func(_ context.Context, in *byRun) (*withRun, error) { return told(s.runs.get(in.ID)) })
	huma.Register(api, add(http.MethodGet, "/api/trainings/{id}/losses", "losses", "A training's curve"),
		func(_ context.Context, in *struct {
			ID     string `path:"id"`
			Points int    `query:"points" default:"500" minimum:"1" maximum:"5000" doc:"at most; each is a mean"`
		}) (*withLosses, error) {
			losses, err := s.runs.losses(in.ID, in.Points)
			return &withLosses{losses}, problem(err)
		})
	huma.Register(api, add(http.MethodPost, "/api/trainings/{id}/stop", "stop",
		"Stops a training after the step at hand; it answers when it can go on from there"),
		func(_ context.Context, in *byRun) (*withRun, error) {
			s.runs.halt(in.ID)
			return told(s.runs.get(in.ID))
		})
	huma.Register(api, add(http.MethodPost, "/api/trainings/{id}/resume", "resume", "Goes on with a training"),
		func(_ context.Context, in *byRun) (*withRun, error) { return told(s.runs.resume(in.ID)) })
	huma.Register(api, add(http.MethodDelete, "/api/trainings/{id}", "remove-training",
		"Deletes a training with its models"),
		func(_ context.Context, in *byRun) (*struct{}, error) { return nil, problem(s.runs.remove(in.ID)) })
	huma.Register(api, add(http.MethodGet, "/api/trainings/{id}/samples/{name}", "sample",
		"A sheet of samples that was drawn when a model was kept"),
		func(_ context.Context, in *struct {
			ID   string `path:"id"`
			Name string `path:"name"`
		}) (*file, error) {
			data, ok := s.runs.sample(in.ID, in.Name)
			if !ok {
				return nil, huma.Error404NotFound("the training has no such samples")
			}
			return pngFile(in.Name, data), nil
		})
	events := add(http.MethodGet, "/api/trainings/{id}/events", "training-events",
		"A training's states as server-sent events, until it goes on no more")
	events.Responses = map[string]*huma.Response{"200": {Description: "events state",
		Content: map[string]*huma.MediaType{"text/event-stream": {}}}}
	huma.Register(api, events, func(_ context.Context, in *byRun) (*huma.StreamResponse, error) {
		if _, err := s.runs.get(in.ID); err != nil {
			return nil, problem(err)
		}
		return &huma.StreamResponse{Body: func(c huma.Context) {
			r, w := humago.Unwrap(c)
			s.stream(w, r, func(ctx context.Context, send func(string, any) error) error {
				return s.runs.watch(ctx, in.ID, func(run Run) error { return send("state", run) })
			})
		}}, nil
	})
}
