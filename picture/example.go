package picture

import (
	"bytes"
	"embed"
	"fmt"
	"image"
	"image/jpeg"
	"strings"
)

//go:embed examples/*.jpg
var examples embed.FS

// Examples returns the names of the photographs that come with the program; see examples/README.md for their origins.
func Examples() []string {
	files, err := examples.ReadDir("examples")
	if err != nil {
		panic(err)
	}
	var names []string
	for _, f := range files {
		names = append(names, strings.TrimSuffix(f.Name(), ".jpg"))
	}
	return names
}

// Example returns one of the [Examples]; their shorter side is 256 pixels.
func Example(name string) (image.Image, error) {
	data, err := examples.ReadFile("examples/" + name + ".jpg")
	if err != nil {
		return nil, fmt.Errorf("there is no example %q, expected one of %s", name, strings.Join(Examples(), ", "))
	}
	return jpeg.Decode(bytes.NewReader(data))
}
