package picture

import (
	"bytes"
	"embed"
	"fmt"
	"image"
	"path"
	"strings"
)

//go:embed examples/*.jpg examples/*.png
var examples embed.FS

// Examples returns the names of the photographs and drawings that come with the program; see examples/README.md for
// their origins.
func Examples() []string {
	files, err := examples.ReadDir("examples")
	if err != nil {
		panic(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name(), path.Ext(f.Name())))
	}
	return names
}

// Example returns one of the [Examples]; their shorter side is 160 or 256 pixels.
func Example(name string) (image.Image, error) {
	data, ok := example(name)
	if !ok {
		return nil, fmt.Errorf("there is no example %q, expected one of %s", name, strings.Join(Examples(), ", "))
	}
	m, _, err := image.Decode(bytes.NewReader(data))
	return m, err
}

// example returns an example's file.
func example(name string) ([]byte, bool) {
	for _, ending := range []string{".jpg", ".png"} {
		if data, err := examples.ReadFile("examples/" + name + ending); err == nil {
			return data, true
		}
	}
	return nil, false
}
