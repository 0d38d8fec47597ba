// Package hubfile reads the configuration files of the hub's model folders.
package hubfile

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/unnoise/unnoise/internal/modelfile"
	"github.com/unnoise/unnoise/internal/otherfile"
)

// Config is a config.json or scheduler_config.json: the name of a class and its settings.
type Config struct {
	Path  string
	Class string // _class_name
	data  []byte
}

// unclipped is how Python writes the default of lambda_min_clipped, which JSON has no number for.
var unclipped = regexp.MustCompile(`("lambda_min_clipped"\s*:\s*)-Infinity`)

// ReadConfig reads a file.
func ReadConfig(path string) (*Config, error) {
	data, err := modelfile.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("reading a model's configuration: %w", err)
	}
	return ParseConfig(path, data)
}

// ParseConfig reads a file's content.
func ParseConfig(path string, data []byte) (*Config, error) {
	c := &Config{Path: path, data: unclipped.ReplaceAll(data, []byte("${1}null"))}
	var class struct {
		Name string `json:"_class_name"`
	}
	if err := json.Unmarshal(c.data, &class); err != nil {
		return nil, fmt.Errorf("%s is not a model's configuration: %w", path, otherfile.Explain(data, err))
	}
	c.Class = class.Name
	return c, nil
}

// Decode fills in a struct's fields, which keep their values where the file does not set them. null is refused unless
// the field can tell it: pointers and the like become nil, and types of their own read it as they will. Settings that
// the struct has no field for are refused, except those that are null, those of other classes, whose names are given,
// and those with a leading underscore, which say where a file comes from.
func (c *Config) Decode(into any, ofOthers ...string) error {
	var settings map[string]json.RawMessage
	if err := json.Unmarshal(c.data, &settings); err != nil {
		return fmt.Errorf("%s is not a model's configuration: %w", c.Path, err)
	}
	fields, known := reflect.TypeOf(into).Elem(), map[string]bool{}
	for i := range fields.NumField() {
		f := fields.Field(i)
		known[f.Tag.Get("json")] = true
		if name := f.Tag.Get("json"); string(settings[name]) == "null" && !nullable(f.Type) {
			return fmt.Errorf("%s: %s is null, expected a %s; without the setting its default is taken", c.Path, name,
				f.Type.Kind())
		}
	}
	for name, value := range settings {
		if strings.HasPrefix(name, "_") || string(value) == "null" && !known[name] || slices.Contains(ofOthers, name) {
			delete(settings, name)
		}
	}
	data, err := json.Marshal(settings)
	if err != nil {
		return fmt.Errorf("%s: %w", c.Path, err)
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return fmt.Errorf("%s: %s", c.Path, strings.TrimPrefix(err.Error(), "json: "))
	}
	return nil
}

func nullable(t reflect.Type) bool {
	switch t.Kind() {
	case reflect.Pointer, reflect.Interface, reflect.Slice, reflect.Map:
		return true
	}
	return reflect.PointerTo(t).Implements(reflect.TypeFor[json.Unmarshaler]())
}
