package evaluation

import (
	"encoding/json"
	"fmt"
	"os"

	"github.com/unnoise/unnoise/internal/atomicfile"
	"github.com/unnoise/unnoise/internal/otherfile"
	"github.com/unnoise/unnoise/mnistunet"
)

// Report is what an evaluation found, as JSON. Accuracies are shares from 0 to 1, distances those of [FrechetDistance].
type Report struct {
	Version    int                `json:"version"`           // of this format: 1
	Complete   bool               `json:"complete"`          // false: it was stopped, and holds what was finished
	Model      string             `json:"model,omitempty"`   // the model's folder
	Config     *mnistunet.Config  `json:"config,omitempty"`  // the model's
	Samples    string             `json:"samples,omitempty"` // the file, for samples made elsewhere
	Commit     string             `json:"commit,omitempty"`  // of the program that measured
	Data       string             `json:"data"`              // name of the set
	DType      string             `json:"dtype,omitempty"`   // f32 or bf16, what the model computed in
	Threads    int                `json:"threads"`
	Backend    string             `json:"backend,omitempty"` // as --backend names it, if it is not onednn
	Seed       *uint64            `json:"seed,omitempty"`    // of the noise
	Classifier *ClassifierInfo    `json:"classifier,omitempty"`
	Baselines  []BaselineDistance `json:"floors,omitempty"`
	Rows       []Row              `json:"rows,omitempty"`
	Denoising  []NoiseLevel       `json:"denoising,omitempty"` // for models of condition none
}

// ReportVersion is the version of Report.
const ReportVersion = 1

// ClassifierInfo tells which classifier judged.
type ClassifierInfo struct {
	Recipe   int     `json:"recipe"`
	Seed     uint64  `json:"seed"`
	Accuracy float64 `json:"test_accuracy"`
	Path     string  `json:"path"`
	Sum      string  `json:"sha256"` // of the file: distances are comparable where it is the same
}

// BaselineDistance is the Fréchet distance of training images to the test set.
type BaselineDistance struct {
	Images  int     `json:"images"`         // of each group
	Groups  int     `json:"groups"`         // of which it is the mean
	Even    bool    `json:"even,omitempty"` // going round the classes, as samples of classes do
	Frechet float64 `json:"frechet_distance"`
	// standard deviation of the groups' distances, and about that of a perfect model's
	Deviation float64 `json:"deviation,omitempty"`
}

// Row is one way of drawing samples, and what they are worth.
type Row struct {
	Sampler         string   `json:"sampler,omitempty"`
	Steps           int      `json:"steps,omitempty"`
	Guidance        *float64 `json:"guidance,omitempty"`              // nil where the model has no classes
	Evaluations     int      `json:"evaluations_per_image,omitempty"` // of the network; guidance doubles them
	Seconds         float64  `json:"seconds,omitempty"`               // for drawing
	ImagesPerSecond float64  `json:"images_per_s,omitempty"`
	Score
}

// Score is what samples are worth.
type Score struct {
	Images int `json:"images"`
	// the share that is read as the class that was asked for; nil if none was
	Accuracy *float64     `json:"accuracy,omitempty"`
	Frechet  float64      `json:"frechet_distance"`
	Classes  []ClassScore `json:"classes"` // those that the images compared with have
}

// ClassScore counts the images of one class.
type ClassScore struct {
	Class    int      `json:"class"`
	Asked    int      `json:"asked"`
	Correct  int      `json:"correct"` // of those asked for
	Read     int      `json:"read"`    // among all images
	Accuracy *float64 `json:"accuracy,omitempty"`
}

// ReadReport reads what Write wrote.
func ReadReport(path string) (r Report, err error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return r, fmt.Errorf("reading the report: %w", err)
	}
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fmt.Errorf("%s is not an evaluation's report: %w", path, otherfile.Explain(b, err))
	}
	if r.Version != ReportVersion {
		return r, fmt.Errorf("%s is not an evaluation's report of version %d: its version is %d", path, ReportVersion,
			r.Version)
	}
	if len(r.Rows)+len(r.Denoising) == 0 {
		return r, fmt.Errorf("%s is a report of nothing: the evaluation was stopped before it had measured", path)
	}
	return r, nil
}

// Write writes the report to a file.
func (r Report) Write(path string) error {
	return atomicfile.WriteJSON(path, r)
}
