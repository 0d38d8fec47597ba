package studio

import (
	"fmt"
	"slices"
	"sync"

	"github.com/unnoise/unnoise/illusion"
	"github.com/unnoise/unnoise/jobs"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/model"
)

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
	Name       string               `json:"name"`
	Text       string               `json:"text"`
	Parameters []illusion.Parameter `json:"parameters,omitempty" doc:"numbers that may follow the name, as in jigsaw:7"`
}

// models are those that a studio draws with. Trainings add some.
type models struct {
	lab *lab.Lab

	mu     sync.Mutex
	list   []Model
	served map[string]string // the names that a request may give a model, with those that it is opened by
	ids    []jobs.Able       // what recipes call them
}

func newModels(l *lab.Lab) *models { return &models{lab: l, served: map[string]string{}} }

// able is what a worker in this process draws with.
func (m *models) able() []jobs.Able {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.ids)
}

// add opens a model by path and serves it under a name, in place of the one that had it.
func (m *models) add(name, path string) (Model, error) {
	spec, sampling, err := m.lab.About(lab.Request{Model: path})
	if err != nil {
		return Model{}, fmt.Errorf("the model %s: %w", name, err)
	}
	one := Model{Name: name, Family: spec.Family, Channels: spec.Channels, Height: spec.Height, Width: spec.Width,
		Vocabulary: spec.Vocabulary, Texts: spec.Texts, Samplers: spec.Samplers, Defaults: sampling,
		Upscales: spec.Upscales, Bytes: spec.WeightBytes, Views: []View{}}
	for _, k := range illusion.Views() {
		v, err := illusion.ParseView(k.Name)
		if err == nil && k.Name != "identity" && illusion.Fits(v, spec.Channels, spec.Height, spec.Width) == nil {
			one.Views = append(one.Views, View{k.Name, k.Text, k.Parameters})
		}
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	m.served[name], m.served[spec.ID] = path, path
	if one := (jobs.Able{Model: spec.ID, Upscales: spec.Upscales}); !slices.Contains(m.ids, one) {
		m.ids = append(m.ids, one)
	}
	if i := slices.IndexFunc(m.list, func(o Model) bool { return o.Name == name }); i >= 0 {
		m.list[i] = one
	} else {
		m.list = append(m.list, one)
	}
	return one, nil
}

// remove serves a model no more.
func (m *models) remove(name string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.list = slices.DeleteFunc(m.list, func(o Model) bool { return o.Name == name })
	delete(m.served, name)
}

// all lists the models.
func (m *models) all() []Model {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.list)
}

// drawable lists the models that draw from noise.
func (m *models) drawable() []Model {
	return slices.DeleteFunc(m.all(), func(o Model) bool { return o.Upscales })
}

// path is what a model is opened by.
func (m *models) path(name string) (path string, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	path, ok = m.served[name]
	return path, ok
}
