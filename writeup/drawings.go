package writeup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/evaluation"
	"github.com/unnoise/unnoise/internal/duration"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/weights"
)

// Drawer is what a page's images are drawn by.
type Drawer struct {
	Backend     compute.Backend
	BackendName string // if it is not onednn
	DType       dtypes.DType
	Device      string // what computes, for people
	Draw        evaluation.Draw
	Update      func(line func() string) // told how far it is
}

// drawings draws with models, and keeps what was drawn in a folder: what was drawn before, by the same model and in the
// same way, is only read.
type drawings struct {
	dir string
	Drawer
	by by

	planned, done int  // drawings
	used          []by // what made them, each once

	opened stored // where the model lies
	model  *mnistunet.Model
}

// by is what made a drawing; it is kept with it.
type by struct {
	Software string `json:"software"`
	Engine   string `json:"engine"`
}

// drawing is all that determines a drawing.
type drawing struct {
	Version  int     `json:"version"`
	Model    string  `json:"model"`  // SHA-256 of its weights
	Config   string  `json:"config"` // and of its configuration, which has the schedule
	DType    string  `json:"dtype"`
	Backend  string  `json:"backend,omitempty"` // if it is not onednn
	Sampler  string  `json:"sampler,omitempty"`
	Steps    int     `json:"steps,omitempty"`
	Eta      float64 `json:"eta,omitempty"`
	Guidance float64 `json:"guidance,omitempty"`
	Seed     uint64  `json:"seed"`
	Labels   []int   `json:"labels,omitempty"`
	Count    int     `json:"count"`
	Frames   int     `json:"frames"`          // kept of the steps
	Input    string  `json:"input,omitempty"` // SHA-256 of the images, for a denoiser
}

// sample draws images with a model.
func (d *drawings) sample(ctx context.Context, of stored, name string, what evaluation.Drawing) ([]Frame, error) {
	s := what.Sampling
	key := drawing{Sampler: s.Sampler, Steps: s.Steps, Eta: s.Eta, Guidance: s.Guidance, Seed: s.Seed,
		Labels: what.Labels, Count: what.Count, Frames: what.Frames}
	return d.draw(of, name, key, func(m *mnistunet.Model, show func(string)) ([]Frame, error) {
		start := time.Now()
		what.OnStep = func(done, total int) {
			show(fmt.Sprintf("step %d/%d  %s left", done, total, duration.Left(start, done, total)))
		}
		return d.Draw(ctx, m, what)
	})
}

// denoise returns what a denoiser makes of images.
func (d *drawings) denoise(ctx context.Context, of stored, name string, x diffusion.Images) (diffusion.Images, error) {
	h := sha256.New()
	h.Write(weights.FromFloat32([]int{len(x.Data)}, x.Data).Data)
	frames, err := d.draw(of, name, drawing{Count: x.N, Input: hex.EncodeToString(h.Sum(nil))},
		func(m *mnistunet.Model, _ func(string)) ([]Frame, error) {
			y, err := m.Denoise(ctx, x)
			return []Frame{{X: y}}, err
		})
	if err != nil {
		return diffusion.Images{}, err
	}
	return frames[0].X, nil
}

func (d *drawings) draw(of stored, name string, key drawing, make func(m *mnistunet.Model, show func(string)) ([]Frame,
	error)) ([]Frame, error) {
	d.done++
	sum, config, err := of.checksums()
	if err != nil {
		return nil, err
	}
	key.Version, key.Model, key.Config, key.DType, key.Backend = 3, sum, config, engine.Name(d.DType), d.BackendName
	text, err := json.Marshal(key)
	if err != nil {
		return nil, err
	}
	hash := sha256.Sum256(text)
	path := filepath.Join(d.dir, hex.EncodeToString(hash[:8])+".safetensors")
	if frames, by, err := readFrames(path, string(text)); err == nil { // one that can't be read is drawn again
		d.use(by)
		return frames, nil
	}
	if d.opened != of {
		d.close()
		if d.model, err = of.load(d.Backend, d.DType); err != nil {
			return nil, err
		}
		d.opened = of
	}
	line := fmt.Sprintf("drawing %d/%d, %s", d.done, d.planned, name)
	d.Update(func() string { return line })
	frames, err := make(d.model, func(s string) { d.Update(func() string { return line + ": " + s }) })
	if err != nil {
		return nil, err
	}
	d.use(d.by)
	return frames, writeFrames(path, string(text), d.by, frames)
}

func (d *drawings) use(b by) {
	if !slices.Contains(d.used, b) {
		d.used = append(d.used, b)
	}
}

// all lists something of what made the drawings.
func (d *drawings) all(of func(by) string) string {
	var words []string
	for _, b := range d.used {
		if word := of(b); word != "" && !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	return strings.Join(words, "; ")
}

// close releases the model.
func (d *drawings) close() {
	if d.model != nil {
		d.model.Close()
		d.model, d.opened = nil, stored{}
	}
}

func writeFrames(path, key string, b by, frames []Frame) error {
	x := frames[0].X
	var captions []string
	var values []float32
	for _, f := range frames {
		captions = append(captions, f.Caption)
		values = append(values, f.X.Data...)
	}
	asJSON, err := json.Marshal(captions)
	if err != nil {
		return err
	}
	maker, err := json.Marshal(b)
	if err != nil {
		return err
	}
	return weights.Write(path,
		map[string]weights.Tensor{"frames": weights.FromFloat32([]int{len(frames), x.N, x.C, x.H, x.W}, values)},
		map[string]string{"drawing": key, "captions": string(asJSON), "by": string(maker)})
}

// readFrames reads what writeFrames wrote under the same key.
func readFrames(path, key string) (frames []Frame, b by, err error) {
	f, err := weights.Open(path)
	if err != nil {
		return nil, b, err
	}
	defer f.Close()
	json.Unmarshal([]byte(f.Metadata()["by"]), &b) // earlier programs wrote none
	var captions []string
	if err := json.Unmarshal([]byte(f.Metadata()["captions"]), &captions); err != nil {
		return nil, b, err
	}
	t, err := f.Tensor("frames")
	if err != nil {
		return nil, b, err
	}
	values, err := t.Float32()
	if err != nil {
		return nil, b, err
	}
	s := t.Shape
	if f.Metadata()["drawing"] != key || len(s) != 5 || s[0] != len(captions) || len(values) == 0 {
		return nil, b, fmt.Errorf("%s holds another drawing", path)
	}
	frames = make([]Frame, s[0])
	for i := range frames {
		size := len(values) / s[0]
		frames[i] = Frame{Caption: captions[i], X: diffusion.Images{N: s[1], C: s[2], H: s[3], W: s[4],
			Data: values[i*size : (i+1)*size]}}
	}
	return frames, b, nil
}
