package main

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gomlx/compute"
	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/internal/duration"
	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/mnistunet"
	"github.com/unnoise/unnoise/weights"
	"github.com/unnoise/unnoise/writeup"
)

// drawings draws with models, and keeps what was drawn in a folder: what was drawn before, by the same model and in the same way, is
// only read.
type drawings struct {
	dir     string
	backend compute.Backend
	other   string // the backend's name, if it is not onednn
	dtype   dtypes.DType
	by      by
	p       *progress

	planned, done int  // drawings
	used          []by // what made them, each once

	opened string // folder of the model
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
	Frames   int     `json:"frames"`          // kept of the walk
	Input    string  `json:"input,omitempty"` // SHA-256 of the images, for a denoiser
}

// sample draws n images with the model in a folder, and returns it in at most so many frames; the last is the result.
func (d *drawings) sample(ctx context.Context, dir, name string, s sampling, labels []int, n, frames int) ([]writeup.Frame, error) {
	key := drawing{Sampler: s.sampler, Steps: s.steps, Eta: s.eta, Guidance: s.guidance, Seed: s.seed, Labels: labels, Count: n, Frames: frames}
	return d.draw(dir, name, key, func(m *mnistunet.Model, show func(string)) ([]writeup.Frame, error) {
		film := lab.Film{Stage: lab.Drawing, Most: frames}
		start := time.Now()
		_, _, err := s.run(ctx, m, labels, n, func(e lab.Event) {
			film.Add(e)
			if step := e.Step; step != nil {
				show(fmt.Sprintf("step %d/%d  %s left", step.Index+1, step.Total, duration.Left(start, step.Index+1, step.Total)))
			}
		})
		return film.Frames, err
	})
}

// denoise returns what the denoiser in a folder makes of images.
func (d *drawings) denoise(ctx context.Context, dir, name string, x diffusion.Images) (diffusion.Images, error) {
	h := sha256.New()
	h.Write(weights.FromFloat32([]int{len(x.Data)}, x.Data).Data)
	frames, err := d.draw(dir, name, drawing{Count: x.N, Input: hex.EncodeToString(h.Sum(nil))}, func(m *mnistunet.Model, _ func(string)) ([]writeup.Frame, error) {
		y, err := m.Denoise(ctx, x)
		return []writeup.Frame{{X: y}}, err
	})
	if err != nil {
		return diffusion.Images{}, err
	}
	return frames[0].X, nil
}

func (d *drawings) draw(dir, name string, key drawing, make func(m *mnistunet.Model, show func(string)) ([]writeup.Frame, error)) ([]writeup.Frame, error) {
	d.done++
	sum, err := fileSum(filepath.Join(dir, mnistunet.WeightsFile))
	if err != nil {
		return nil, fmt.Errorf("reading the model: %w", err)
	}
	config, err := fileSum(filepath.Join(dir, mnistunet.ConfigFile))
	if err != nil {
		return nil, fmt.Errorf("reading the model: %w", err)
	}
	key.Version, key.Model, key.Config, key.DType, key.Backend = 3, sum, config, engine.Name(d.dtype), d.other
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
	if d.opened != dir {
		d.close()
		if d.model, err = mnistunet.Load(d.backend, dir, d.dtype); err != nil {
			return nil, err
		}
		d.opened = dir
	}
	line := fmt.Sprintf("drawing %d/%d, %s", d.done, d.planned, name)
	d.p.update(func() string { return line })
	frames, err := make(d.model, func(s string) { d.p.update(func() string { return line + ": " + s }) })
	d.p.clear()
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
		d.model, d.opened = nil, ""
	}
}

func fileSum(path string) (string, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

func writeFrames(path, key string, b by, frames []writeup.Frame) error {
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
	return weights.Write(path, map[string]weights.Tensor{"frames": weights.FromFloat32([]int{len(frames), x.N, x.C, x.H, x.W}, values)},
		map[string]string{"drawing": key, "captions": string(asJSON), "by": string(maker)})
}

// readFrames reads what writeFrames wrote under the same key.
func readFrames(path, key string) (frames []writeup.Frame, b by, err error) {
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
	frames = make([]writeup.Frame, s[0])
	for i := range frames {
		size := len(values) / s[0]
		frames[i] = writeup.Frame{Caption: captions[i], X: diffusion.Images{N: s[1], C: s[2], H: s[3], W: s[4], Data: values[i*size : (i+1)*size]}}
	}
	return frames, b, nil
}
