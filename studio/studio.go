package studio

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/unnoise/unnoise/dataset"
	"github.com/unnoise/unnoise/dataset/emoji"
	"github.com/unnoise/unnoise/internal/atomicfile"
	"github.com/unnoise/unnoise/jobs"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/registry"
	"github.com/unnoise/unnoise/training/mnist"
	"github.com/unnoise/unnoise/weights/hub"
)

// Options say how a studio is set up.
type Options struct {
	Dir     string   // the gallery's folder
	Models  []string // that may be drawn with; see [registry.Find]
	Data    []string // folders of captioned pictures or IDX files, besides MNIST, that may be trained on
	Writeup string   // a page of one file, which is served at /writeup; empty: none
	Token   string   // that clients must know; empty: none is asked for, and only loopback names are answered
	Queue   int      // jobs that wait or are drawn; 0: as [Limits] says

	NATS     string // address of a NATS server to use; empty: one in this process
	NATSAddr string // where workers of other processes reach the one in this process; empty: they don't
	NoWorker bool   // leave drawing to other workers
	Pprof    bool   // serve /debug/pprof/
	Lab      lab.Options
	Log      *slog.Logger // nil: none
}

// Studio is a server with its queue, its lab and its gallery.
type Studio struct {
	options Options
	log     *slog.Logger
	gallery *Gallery
	board   *board
	metrics *metrics
	queue   *jobs.Queue
	server  *jobs.Server // nil: it is another process's
	nats    *nats.Conn
	drawing *lab.Lab // draws
	stop    func()   // the worker
	plans   *lab.Lab // completes requests while the other draws
	models  *models
	runs    *runs
	handler http.Handler
	chosen  atomic.Value    // the name of the model that AUTOMATIC1111's clients chose
	closing context.Context // ends when the last job has ended: then streams end too
	close   context.CancelFunc
}

// New sets a studio up. Models that can't be opened are an error, but for those of the hub that are not fetched yet.
func New(o Options) (_ *Studio, err error) {
	s := &Studio{options: o, log: o.Log, metrics: newMetrics(), stop: func() {}}
	if s.log == nil {
		s.log = slog.New(slog.DiscardHandler)
	}
	s.closing, s.close = context.WithCancel(context.Background())
	defer func() {
		if err != nil {
			s.release()
		}
	}()
	if s.gallery, err = OpenGallery(o.Dir, s.log); err != nil {
		return nil, fmt.Errorf("the gallery: %w", err)
	}
	s.plans, s.drawing = lab.New(o.Lab), lab.New(o.Lab)
	s.models = newModels(s.plans)
	s.models.wanted = o.Models
	for _, name := range o.Models {
		_, missing := registry.Find(name)
		switch err := s.models.open(name); {
		case err != nil && missing != nil && hub.IsRepo(name):
			s.log.Warn("a model is not on this machine", "model", name, "fetch", registry.SourceOf(name).Command)
		case err != nil:
			return nil, err
		}
	}
	if len(s.models.drawable()) == 0 {
		return nil, errors.New("expected at least one model that draws from noise")
	}
	kept, err := openEndings(filepath.Join(o.Dir, "ended"), s.log)
	if err != nil {
		return nil, fmt.Errorf("the jobs that ended: %w", err)
	}
	s.board = newBoard(s.gallery, kept, s.lacks, s.metrics, s.log)
	if s.runs, err = s.openRuns(); err != nil {
		return nil, err
	}
	if err := s.openQueue(); err != nil {
		return nil, fmt.Errorf("the queue: %w", err)
	}
	s.handler = guard(o.Token, s.routes())
	return s, nil
}

// openQueue opens the queue and starts to draw what is in it.
func (s *Studio) openQueue() (err error) {
	o := s.options
	if o.NATS != "" {
		s.nats, err = jobs.Connect(o.NATS)
	} else if s.server, err = jobs.Serve(filepath.Join(o.Dir, "queue"), o.NATSAddr, o.Token); err == nil {
		s.nats, err = s.server.Connect()
	}
	if err != nil {
		return err
	}
	owner, err := ownerOf(filepath.Join(o.Dir, "owner"))
	if err != nil {
		return err
	}
	if s.queue, err = jobs.Open(s.nats, owner, cmp.Or(o.Queue, Limits.Queue), s.board, s.log); err != nil || o.NoWorker {
		return err
	}
	w, err := jobs.NewWorker(s.nats, s.models.able, jobs.DrawWith(s.drawing), s.log)
	if err != nil {
		return err
	}
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- w.Run(ctx) }()
	s.stop = func() {
		stop()
		<-done
	}
	return nil
}

// ownerOf reads what the queue calls this studio, or invents it.
func ownerOf(path string) (string, error) {
	text, err := os.ReadFile(path)
	if err == nil && ownerName.Match(text) {
		return string(text), nil
	}
	if err != nil && !os.IsNotExist(err) {
		return "", err
	}
	name := rand.Text()
	return name, atomicfile.Write(path, func(w io.Writer) error {
		_, err := io.WriteString(w, name)
		return err
	})
}

var ownerName = regexp.MustCompile(`^[A-Z2-7]{26}$`)

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
	j := jobs.Job{ID: newID(), Draft: draft, Request: r}
	s.board.Found(j)
	if err := s.queue.Put(j); err != nil {
		s.board.drop(j.ID)
		return Status{}, err
	}
	status, _ := s.board.Status(j.ID)
	return status, nil
}

// lacks says that no worker has a request's model, and how to start one.
func (s *Studio) lacks(r lab.Request) string {
	models := r.Model
	if r.Upscale != nil {
		models += "," + r.Upscale.Model
	}
	at := "--nats-addr 127.0.0.1:4222, and then 'unnoise worker"
	switch o := s.options; {
	case o.NATS != "":
		at = "'unnoise worker --nats ADDRESS, that of this studio's --nats"
	case o.NATSAddr != "" && o.Token != "":
		at = "'unnoise worker --nats nats://TOKEN@" + s.server.Addr().String()
	case o.NATSAddr != "":
		at = "'unnoise worker --nats nats://" + s.server.Addr().String()
	default:
		at = "the studio without --no-worker, or with " + at
	}
	return fmt.Sprintf("no worker has the model %s: start %s --models %s'", models, at, models)
}

// errNoWorker says that nobody draws what was asked for.
type errNoWorker string

func (e errNoWorker) Error() string { return string(e) }

// draw draws a request and waits for its end. When ctx ends, the job is cancelled, and where no worker has its model.
func (s *Studio) draw(ctx context.Context, r lab.Request) (Status, []jobs.Picture, error) {
	status, err := s.submit(r, false)
	if err != nil {
		return status, nil, err
	}
	var pictures []jobs.Picture
	err = s.board.Watch(ctx, status.ID, func(now sight) error {
		if status, pictures = now.Status, now.pictures; status.Waits != "" {
			return errNoWorker(status.Waits)
		}
		return nil
	})
	switch {
	case err != nil:
		s.queue.Cancel(status.ID)
		return status, nil, err
	case status.State == Failed:
		return status, nil, status.Error.Err()
	case len(pictures) == 0:
		return status, nil, jobs.ErrCancelled
	}
	return status, pictures, nil
}

// openRuns opens the trainings, and the sets that they may learn from.
func (s *Studio) openRuns() (*runs, error) {
	named := []Set{{Name: mnist.Embedded}}
	for _, path := range s.options.Data {
		_, _, err := dataset.Open(path)
		set := Set{Name: filepath.Base(path), path: path, Captions: err != nil}
		if set.Captions {
			if _, _, err := emoji.OpenAny(path); err != nil {
				return nil, fmt.Errorf("the data %s: %w", path, err)
			}
		}
		named = append(named, set)
	}
	sets, err := openSets(filepath.Join(s.options.Dir, "data"), named)
	if err != nil {
		return nil, err
	}
	return newRuns(&runs{dir: filepath.Join(s.options.Dir, "runs"), sets: sets, models: s.models, lab: s.options.Lab,
		busy: s.board.Busy, log: s.log})
}

// Close takes no more jobs, waits for those that there are until ctx ends, and releases everything. Jobs that wait then
// are drawn when a studio is opened in the folder again.
func (s *Studio) Close(ctx context.Context) error {
	s.runs.halt("")
	err := s.queue.Close(ctx)
	s.release()
	return err
}

// release releases what there is.
func (s *Studio) release() {
	s.close()
	s.stop()
	if s.nats != nil {
		s.nats.Close()
	}
	if s.server != nil {
		if err := s.server.Close(); err != nil {
			s.log.Warn("the queue's server did not close well", "error", err)
		}
	}
	for _, l := range []*lab.Lab{s.drawing, s.plans} {
		if l != nil {
			l.Close()
		}
	}
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
