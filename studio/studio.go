package studio

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"sync/atomic"
	"time"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/dataset/emoji"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/training/mnist"
)

// Options say how a studio is set up.
type Options struct {
	Dir     string   // the gallery's folder
	Models  []string // that may be drawn with; see [registry.Find]
	Data    []string // folders of captioned pictures or IDX files, besides MNIST, that may be trained on
	Writeup string   // a page of one file, which is served at /writeup; empty: none
	Token   string   // that clients must know; empty: none is asked for, and only loopback names are answered
	Lab     lab.Options
	Log     *slog.Logger // nil: none
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
	models  *models
	runs    *runs
	handler http.Handler
	chosen  atomic.Value    // the name of the model that AUTOMATIC1111's clients chose
	closing context.Context // ends when the last job has ended: then streams end too
	close   context.CancelFunc
}

// New sets a studio up. Models that can't be opened are an error.
func New(o Options) (*Studio, error) {
	s := &Studio{options: o, log: o.Log}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if s.gallery, err = OpenGallery(o.Dir, s.log); err != nil {
		return nil, fmt.Errorf("the gallery: %w", err)
	}
	s.plans = lab.New(o.Lab)
	s.models = &models{lab: s.plans, served: map[string]string{}}
	for _, name := range o.Models {
		if _, err = s.models.add(name, name); err != nil {
			break
		}
	}
	if err = cmp.Or(err, s.models.check()); err != nil {
		s.plans.Close()
		return nil, err
	}
	s.closing, s.close = context.WithCancel(context.Background())
	s.drawing = lab.New(o.Lab)
	s.board = newBoard(s.gallery, s.log)
	if s.runs, err = s.openRuns(); err != nil {
		s.plans.Close()
		return nil, err
	}
	s.queue = newLocal(Limits.Queue, drawWith(s.drawing), s.board)
	s.handler = guard(o.Token, s.routes())
	return s, nil
}

// ServeHTTP answers a request.
func (s *Studio) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.handler.ServeHTTP(w, r) }

// complete checks a request and fills it in.
func (s *Studio) complete(r lab.Request) (lab.Request, error) {
	if err := s.check(r); err != nil {
		return r, err
	}
	r.Branch = s.opened(r.Branch)
	r.Model, _ = s.models.path(r.Model)
	if r.Upscale != nil {
		u := *r.Upscale
		u.Model, _ = s.models.path(u.Model)
		r.Upscale = &u
	}
	r.Backend = cmp.Or(r.Backend, s.options.Lab.Backend)
	o, err := s.plans.Complete(r)
	if err != nil {
		return r, err
	}
	return o.Request, checkOutline(o)
}

// opened gives the drawings that a branch goes on from what their model is opened by.
func (s *Studio) opened(b *lab.Branch) *lab.Branch {
	if b == nil {
		return nil
	}
	c := *b
	c.From.Model, _ = s.models.path(b.From.Model)
	c.From.Branch = s.opened(b.From.Branch)
	return &c
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

// openRuns opens the trainings, and the sets that they may learn from.
func (s *Studio) openRuns() (*runs, error) {
	sets := []Set{{Name: mnist.Embedded}}
	for _, path := range s.options.Data {
		_, _, err := dataset.Open(path)
		set := Set{Name: filepath.Base(path), path: path, Captions: err != nil}
		if set.Captions {
			if _, _, err := emoji.OpenAny(path); err != nil {
				return nil, fmt.Errorf("the data %s: %w", path, err)
			}
		}
		sets = append(sets, set)
	}
	return newRuns(&runs{dir: filepath.Join(s.options.Dir, "runs"), sets: sets, models: s.models, lab: s.options.Lab,
		busy: s.board.Busy, log: s.log})
}

// Close takes no more jobs, waits for those that there are until ctx ends, and releases everything.
func (s *Studio) Close(ctx context.Context) error {
	s.runs.halt("")
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
