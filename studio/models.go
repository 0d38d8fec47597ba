package studio

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/unnoise/unnoise/illusion"
	"github.com/unnoise/unnoise/jobs"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/registry"
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
	Larger     string         `json:"larger,omitempty" doc:"the second stage that it comes with"`
	Seconds    []string       `json:"second_stages" doc:"models that may make its images larger"`
}

// View is a view of a picture, for anagrams.
type View struct {
	Name       string               `json:"name"`
	Text       string               `json:"text"`
	Parameters []illusion.Parameter `json:"parameters,omitempty" doc:"numbers that may follow the name, as in jigsaw:7"`
}

// models are those that a studio draws with. Trainings add some.
type models struct {
	lab    *lab.Lab
	wanted []string // names of models that were asked for

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

// open serves a model, and the second stage that it comes with.
func (m *models) open(name string) error {
	if larger, ok := registry.Larger(name); ok {
		if _, err := m.add(larger, larger); err != nil {
			return err
		}
	}
	_, err := m.add(name, name)
	return err
}

// missing lists the models that are not on this machine: those that were asked for, and others that the program knows.
// Of those that were asked for, the ones that came to be here since are served from now on.
func (m *models) missing() []registry.Source {
	all := []registry.Source{}
	for _, name := range slices.Concat(m.wanted, registry.Released()) {
		if slices.ContainsFunc(all, func(s registry.Source) bool { return s.Model == name }) {
			continue
		}
		if _, err := registry.Find(name); err != nil {
			all = append(all, registry.SourceOf(name))
		} else if _, served := m.path(name); !served && slices.Contains(m.wanted, name) {
			if err := m.open(name); err != nil {
				all = append(all, registry.Source{Model: name, Text: err.Error()})
			}
		}
	}
	return all
}

// add opens a model by path and serves it under a name, in place of the one that had it.
func (m *models) add(name, path string) (Model, error) {
	spec, sampling, err := m.lab.About(lab.Request{Model: path})
	if err != nil {
		return Model{}, fmt.Errorf("the model %s: %w", name, err)
	}
	one := Model{Name: name, Family: spec.Family, Channels: spec.Channels, Height: spec.Height, Width: spec.Width,
		Vocabulary: spec.Vocabulary, Texts: spec.Texts, Samplers: spec.Samplers, Defaults: sampling,
		Upscales: spec.Upscales, Bytes: spec.WeightBytes, Views: []View{}, Seconds: []string{}}
	if larger, ok := registry.Larger(path); ok {
		one.Larger = larger
	}
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
	all := slices.Clone(m.list)
	for i, one := range all {
		for _, o := range m.list {
			if o.Upscales && !one.Upscales && o.Channels == one.Channels && o.Height > one.Height {
				all[i].Seconds = append(slices.Clip(all[i].Seconds), o.Name)
			}
		}
	}
	return all
}

// drawable lists the models that draw from noise.
func (m *models) drawable() []Model {
	return slices.DeleteFunc(m.all(), func(o Model) bool { return o.Upscales })
}

// path is what a model is opened by. A recipe names a checkpoint of a run: where that is gone, the run's newest one
// serves.
func (m *models) path(name string) (path string, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if path, ok = m.served[name]; ok {
		return path, ok
	}
	for run, newest := range m.served {
		if !runName.MatchString(run) || !strings.Contains(filepath.ToSlash(name), "/"+run+"/") {
			continue
		}
		dir, base := filepath.Dir(newest), filepath.Base(name)
		if e, err := os.ReadDir(dir); err == nil && slices.ContainsFunc(e, func(e os.DirEntry) bool {
			return e.Name() == base
		}) {
			newest = filepath.Join(dir, base)
		}
		if one := (jobs.Able{Model: newest}); !slices.Contains(m.ids, one) { // its name is its path
			m.ids = append(m.ids, one)
		}
		return newest, true
	}
	return "", false
}
