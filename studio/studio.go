package studio

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"sync/atomic"
	"time"

	"github.com/unnoise/unnoise/illusion"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/model"
)

// Options say how a studio is set up.
type Options struct {
	Dir    string   // the gallery's folder
	Models []string // that may be drawn with; see [registry.Find]
	Token  string   // that clients must know; empty: none is asked for, and only loopback names are answered
	Lab    lab.Options
	Log    *slog.Logger // nil: none
}

// Studio is a server with its queue, its lab and its gallery.
type Studio struct {
	options Options
	log     *slog.Logger
	gallery *Gallery
	board   *board
	queue   Queue
	drawing *lab.Lab // draws
	plans   *lab.Lab // completes requests while the other draws
	models  []Model
	served  map[string]string // the names that a request may give a model, with those that it is opened by
	handler http.Handler
	chosen  atomic.Value    // the name of the model that AUTOMATIC1111's clients chose
	closing context.Context // ends when the last job has ended: then streams end too
	close   context.CancelFunc
}

// Model is a model of the studio, as forms need to know it.
type Model struct {
	Name       string         `json:"name"`
	Family     string         `json:"family"`
	Channels   int            `json:"channels"`
	Height     int            `json:"height"`
	Width      int            `json:"width"`
	Vocabulary []string       `json:"vocabulary,omitempty" doc:"the prompts that it understands, where they are few"`
	Texts      bool           `json:"texts" doc:"it understands any text"`
	Samplers   []string       `json:"samplers"`
	Defaults   model.Sampling `json:"defaults"`
	Upscales   bool           `json:"upscales" doc:"it makes images larger; a request names it as upscale.model"`
	Views      []View         `json:"views" doc:"that fit its images"`
	Bytes      int64          `json:"bytes,omitempty" doc:"of its weights in memory"`
}

// View is a view of a picture, for anagrams.
type View struct {
	Name string `json:"name"`
	Text string `json:"text"`
}

// New sets a studio up. Models that can't be opened are an error.
func New(o Options) (*Studio, error) {
	s := &Studio{options: o, log: o.Log, served: map[string]string{}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.gallery, err = OpenGallery(o.Dir, s.log); err != nil {
		return nil, fmt.Errorf("the gallery: %w", err)
	}
	s.plans = lab.New(o.Lab)
	if err := s.openModels(); err != nil {
		s.plans.Close()
		return nil, err
	}
	s.closing, s.close = context.WithCancel(context.Background())
	s.drawing = lab.New(o.Lab)
	s.board = newBoard(s.gallery, s.log)
	s.queue = newLocal(Limits.Queue, drawWith(s.drawing), s.board)
	s.handler = guard(o.Token, s.routes())
	return s, nil
}

func (s *Studio) openModels() error {
	for _, name := range s.options.Models {
		spec, sampling, err := s.plans.About(lab.Request{Model: name})
		if err != nil {
			return fmt.Errorf("the model %s: %w", name, err)
		}
		m := Model{Name: name, Family: spec.Family, Channels: spec.Channels, Height: spec.Height, Width: spec.Width,
			Vocabulary: spec.Vocabulary,
			Texts:      spec.Texts, Samplers: spec.Samplers, Defaults: sampling, Upscales: spec.Upscales,
			Bytes: spec.WeightBytes, Views: []View{}}
		for _, k := range illusion.Views() {
			v, err := illusion.ParseView(k.Name)
			if err == nil && k.Name != "identity" && illusion.Fits(v, spec.Channels, spec.Height, spec.Width) == nil {
				m.Views = append(m.Views, View{k.Name, k.Text})
			}
		}
		s.models = append(s.models, m)
		s.served[name], s.served[spec.ID] = name, name
	}
	if len(s.drawable()) == 0 {
		return errors.New("expected at least one model that draws from noise")
	}
	return nil
}

// ServeHTTP answers a request.
func (s *Studio) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// complete checks a request and fills it in.
func (s *Studio) complete(r lab.Request) (lab.Request, error) {
	if err := s.check(r); err != nil {
		return r, err
	}
	r.Model = s.served[r.Model]
	if r.Upscale != nil {
		u := *r.Upscale
		u.Model = s.served[u.Model]
		r.Upscale = &u
	}
	r.Backend = cmp.Or(r.Backend, s.options.Lab.Backend)
	o, err := s.plans.Complete(r)
	if err != nil {
		return r, err
	}
	return o.Request, checkOutline(o)
}

// submit puts a request into the queue.
func (s *Studio) submit(r lab.Request, draft bool) (Status, error) {
	r, err := s.complete(r)
	if err != nil {
		return Status{}, err
	}
	j := s.board.add(r, draft)
	if err := s.queue.Put(j); err != nil {
		s.board.drop(j.ID)
		return Status{}, err
	}
	status, _ := s.board.Status(j.ID)
	return status, nil
}

// draw draws a request and waits for its end. When ctx ends, the job is cancelled.
func (s *Studio) draw(ctx context.Context, r lab.Request) (Status, []Picture, error) {
	status, err := s.submit(r, false)
	if err != nil {
		return status, nil, err
	}
	err = s.board.Watch(ctx, status.ID, func(now sight) error { status = now.Status; return nil })
	if err != nil {
		s.queue.Cancel(status.ID)
		return status, nil, err
	}
	pictures := s.board.Pictures(status.ID)
	switch {
	case status.State == Failed:
		return status, nil, status.Error.err()
	case len(pictures) == 0:
		return status, nil, errors.New("the job was cancelled")
	}
	return status, pictures, nil
}

// Close takes no more jobs, waits for those that there are until ctx ends, and releases everything.
func (s *Studio) Close(ctx context.Context) error {
	err := s.queue.Close(ctx)
	s.close()
	s.drawing.Close()
	s.plans.Close()
	return err
}

// How long a server takes at most.
const (
	drainTime = time.Minute     // to draw what waits, when it shuts down
	closeTime = 5 * time.Second // to end connections after that
)

// Serve serves a listener until ctx ends, then draws what waits and closes the studio.
func (s *Studio) Serve(ctx context.Context, l net.Listener) error {
	server := &http.Server{Handler: s, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 1 << 16,
		ErrorLog:       slog.NewLogLogger(s.log.Handler(), slog.LevelWarn)}
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(l) }()
	var err error
	select {
	case err = <-failed:
	case <-ctx.Done():
	}
	s.log.Info("shutting down: waiting jobs are drawn first", "at most", drainTime)
	drain, stop := context.WithTimeout(context.Background(), drainTime)
	defer stop()
	if closed := s.Close(drain); closed != nil {
		s.log.Warn("jobs were cancelled", "reason", closed)
	}
	end, stopEnd := context.WithTimeout(context.Background(), closeTime)
	defer stopEnd()
	if server.Shutdown(end) != nil {
		server.Close()
	}
	return err
}

// drawable lists the models that draw from noise.
func (s *Studio) drawable() []Model {
	return slices.DeleteFunc(slices.Clone(s.models), func(m Model) bool { return m.Upscales })
}
