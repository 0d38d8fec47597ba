// Package emoji has a captioned set of pictures for small text-to-image models: some 1,400 things in up to four styles,
// made from emoji with free licences. Build makes its folder; Open draws training examples from it, alone on a ground
// or composed, with captions that say what was composed.
package emoji

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"

	"github.com/unnoise/unnoise/dataset/captioned"
	"github.com/unnoise/unnoise/internal/cachedir"
)

// Styles are the styles of the set, as its metadata names them.
var Styles = []string{"noto", "twemoji", "flat", "3d"}

// UsualStyle is that of pictures whose caption tells none.
const UsualStyle = "noto"

// infoName is the file that says what a folder was made from.
const infoName = "emoji.json"

// version is that of the files in a folder.
const version = 1

// Info says what a folder was made from.
type Info struct {
	Version  int      `json:"version"`
	Pictures int      `json:"pictures"`
	Concepts int      `json:"concepts"`
	Pixels   int      `json:"pixels"`   // of the longer side of a picture
	LeftOut  []string `json:"left_out"` // pictures that could not be drawn: label, style
	Sources  []Source `json:"sources"`
}

// Source is a package that pictures or words were taken from.
type Source struct {
	Package  string `json:"package"`
	Version  string `json:"version"`
	License  string `json:"license"`
	Notice   string `json:"notice"`
	Style    string `json:"style,omitempty"`
	Pictures int    `json:"pictures,omitempty"`
}

// Picture is a line of the metadata: a thing in a style, on a transparent ground.
type Picture struct {
	File     string     `json:"file_name"`
	Text     string     `json:"text"`
	Name     string     `json:"name"`  // the usual name, which concepts may share
	Names    []string   `json:"names"` // "~" before a name: it takes no article and no plural
	Keywords []string   `json:"keywords"`
	Label    string     `json:"label"` // Unicode's
	Category string     `json:"category"`
	Group    string     `json:"group"` // a part of the category
	Style    string     `json:"style"`
	Concept  string     `json:"concept"` // code points, as in 1f436
	Weight   float64    `json:"weight"`  // how often its concept is drawn beside others
	Color    string     `json:"color"`   // a color word, or "" where none fits
	Tint     [3]float64 `json:"tint"`    // lightness, chroma and hue (OKLab) of what is recolored; 0, 0, 0: nothing
	Edge     [3]float64 `json:"edge"`    // lightness, chroma and hue of the outline, on the average
	Split    string     `json:"split"`   // train, or test where name and style together are held out
}

// DefaultDir is where the set is made where no folder is named.
func DefaultDir() (string, error) { return cachedir.Path("data", "emoji") }

// Everyday reports whether a picture shows something that everyone knows by its name.
func (p Picture) Everyday() bool { return p.Weight >= everydayWeight }

// Is reports whether dir is a folder that Build made.
func Is(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, infoName))
	return err == nil
}

// readPictures reads the metadata.
func readPictures(dir string) ([]Picture, error) {
	path := filepath.Join(dir, infoName)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("opening the emoji set: %w", err)
	}
	var info Info
	if err := json.Unmarshal(text, &info); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if info.Version != version {
		return nil, fmt.Errorf("%s: expected version %d, found %d: build the set again", path, version, info.Version)
	}
	rows, err := captioned.ReadMetadata(dir)
	if err != nil {
		return nil, err
	}
	pictures := make([]Picture, len(rows))
	for i, row := range rows {
		p := &pictures[i]
		err := json.Unmarshal(row.JSON, p)
		if err == nil && (p.Name == "" || len(p.Names) == 0 || p.Style == "" || p.Concept == "" || !(p.Weight > 0)) {
			err = fmt.Errorf("expected name, names, style, concept and a weight above 0, found %s", row.JSON)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", row.Where, err)
		}
	}
	return pictures, nil
}

// share is a fixed number from 0 to 1 for some words: what is held out is chosen by it.
func share(words ...string) float64 {
	h := fnv.New64a()
	for _, w := range words {
		h.Write([]byte(w + "\x00"))
	}
	x := h.Sum64() // FNV's high bits alone depend little on the last bytes
	x ^= x >> 32
	x *= 0x9e3779b97f4a7c15
	x ^= x >> 29
	return float64(x>>11) / (1 << 53)
}
