package jobs

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/model"
)

// Job is a drawing that was asked for.
type Job struct {
	ID      string      `json:"id"`
	Owner   string      `json:"owner"` // the queue that it was put into
	Draft   bool        `json:"draft,omitempty"`
	Request lab.Request `json:"request"`          // completed
	Shared  bool        `json:"shared,omitempty"` // other workers do parts of it too
	Parent  string      `json:"parent,omitempty"` // the job that this is a part of
	Share   Stored      `json:"share"`            // what is to be done of it
}

// Reports is told of a queue's jobs. Its methods are called one at a time. Ended may be called again for a job, also
// after the program was started anew, and has to come to the same then.
type Reports interface {
	Found(j Job)                 // a job that was put into the queue before the program began
	Placed(id string, place int) // waiting jobs, the next one is 1; 0: it is at work
	Stranded(id string, is bool) // a waiting job that no worker has the model of, for a while; false: not any more
	Updated(id string, u Update)
	Ended(id string, draft bool, d Drawn, err error) error // an error: it is to be told again later
}

// Why a job is not taken, or ended without a picture.
var (
	ErrFull      = errors.New("the queue is full: try again when a job has ended")
	ErrClosed    = errors.New("the studio is shutting down")
	ErrCancelled = errors.New("the job was cancelled")
	ErrGone      = errors.New("the job's result is not there any more: draw it again")
)

// Patience is how long a job waits for a worker with its model before that is told.
const Patience = 15 * time.Second

// errStops is the cause of a drawing that another worker shall make, as this one stops.
var errStops = errors.New("the worker stops")

// Fault is why a job failed.
type Fault struct {
	Field   string `json:"field,omitempty" doc:"of the request that is to blame"`
	Message string `json:"message"`
}

// FaultOf tells people what an error says.
func FaultOf(err error) *Fault {
	var field *model.FieldError
	if errors.As(err, &field) {
		return &Fault{field.Field, field.Err.Error()}
	}
	text, _, _ := strings.Cut(err.Error(), "\n")
	return &Fault{Message: text}
}

// Err is the fault as an error again.
func (f *Fault) Err() error {
	if f.Field != "" {
		return model.Errorf(f.Field, "%s", f.Message)
	}
	return errors.New(f.Message)
}

// End is how a job ended.
type End struct {
	ID        string      `json:"id"`
	Draft     bool        `json:"draft,omitempty"`
	Cancelled bool        `json:"cancelled,omitempty"`
	Fault     *Fault      `json:"fault,omitempty"`
	Request   lab.Request `json:"request"` // with what was chosen while it was drawn
	Seconds   float64     `json:"seconds,omitempty"`
	Pictures  int         `json:"pictures,omitempty"`
	Result    Stored      `json:"result"`
}

func (e End) err() error {
	switch {
	case e.Cancelled:
		return ErrCancelled
	case e.Fault != nil:
		return e.Fault.Err()
	}
	return nil
}

// Work is what a worker does.
type Work interface {
	// Draw draws a job, and tells what happens meanwhile. spread, which may be nil, has parts of it done elsewhere.
	Draw(ctx context.Context, r lab.Request, spread lab.Spread, tell func(Update)) (Drawn, error)
	// Share does a part of another worker's job.
	Share(ctx context.Context, s lab.Share) (lab.Shared, error)
}
