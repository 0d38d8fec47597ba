package studio

import (
	"bytes"
	"cmp"
	"fmt"
	"image/png"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"

	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/internal/atomicfile"
	"github.com/unnoise/unnoise/jobs"
	"github.com/unnoise/unnoise/lab"
)

// Gallery is a folder of pictures, each of them a PNG file with its recipe.
type Gallery struct {
	dir string

	mu      sync.Mutex
	entries []Entry // the oldest first
}

// Entry is a picture in the gallery.
type Entry struct {
	Name   string   `json:"name" doc:"of the file, which begins with the time in UTC"`
	URL    string   `json:"url"`
	Width  int      `json:"width"`
	Height int      `json:"height"`
	Model  string   `json:"model"`
	Shows  []string `json:"shows" doc:"the prompts"`
	Kind   string   `json:"kind" enum:"draw,edit,inpaint,branch,illusion,strip"`
	Seed   uint64   `json:"seed"`
}

var pictureName = regexp.MustCompile(`^\d{8}-\d{6}-[0-9a-f]{8}-\d{1,4}\.png$`)

// OpenGallery opens a folder, and makes it where it is missing. Files that are no pictures of a studio are left alone.
func OpenGallery(dir string, log *slog.Logger) (*Gallery, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	if err := atomicfile.Clean(dir); err != nil {
		return nil, err
	}
	g := &Gallery{dir: dir}
	files, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		if !pictureName.MatchString(f.Name()) || !f.Type().IsRegular() {
			continue
		}
		e, err := g.read(f.Name())
		if err != nil {
			log.Warn("a picture in the gallery can't be read", "name", f.Name(), "error", err)
			continue
		}
		g.entries = append(g.entries, e)
	}
	slices.SortFunc(g.entries, inOrder)
	return g, nil
}

// inOrder orders pictures by their jobs' times, and a job's by their numbers.
func inOrder(a, b Entry) int {
	return cmp.Or(cmp.Compare(a.Name[:24], b.Name[:24]), cmp.Compare(len(a.Name), len(b.Name)),
		cmp.Compare(a.Name, b.Name))
}

func (g *Gallery) read(name string) (Entry, error) {
	path := filepath.Join(g.dir, name)
	r, err := lab.ReadRecipe(path)
	if err != nil {
		return Entry{}, err
	}
	f, err := os.Open(path)
	if err != nil {
		return Entry{}, err
	}
	defer f.Close()
	c, err := png.DecodeConfig(f)
	if err != nil {
		return Entry{}, err
	}
	return entry(name, r, c.Width, c.Height), nil
}

func entry(name string, r lab.Request, width, height int) Entry {
	e := Entry{Name: name, URL: "/api/images/" + name, Width: width, Height: height, Model: r.Model, Shows: r.Prompts,
		Kind: "draw"}
	if r.Seed != nil {
		e.Seed = *r.Seed
	}
	switch {
	case r.Strip != nil:
		e.Kind = "strip"
	case r.Branch != nil:
		e.Kind = "branch"
	case r.Edit != nil:
		e.Kind = "edit"
	case r.Inpaint != nil:
		e.Kind = "inpaint"
	case r.Illusion != nil:
		e.Kind = "illusion"
		for _, p := range slices.Concat(r.Illusion.Views, r.Illusion.Bands) {
			e.Shows = append(e.Shows, p.As+": "+strings.Join(p.Prompts, ", "))
		}
	}
	if e.Shows == nil {
		e.Shows = []string{}
	}
	return e
}

// nameOf is the name of a job's n-th picture, from 1.
func nameOf(id string, n int) string { return fmt.Sprintf("%s-%d.png", id, n) }

// Add writes a job's pictures, which are named by it: added again, they take their own places. It returns their
// addresses.
func (g *Gallery) Add(id string, d jobs.Drawn) (urls []string, err error) {
	var added []Entry
	for i, p := range d.Pictures {
		name := nameOf(id, i+1)
		err := atomicfile.Write(filepath.Join(g.dir, name), func(w io.Writer) error {
			_, err := w.Write(p.Data)
			return err
		})
		if err != nil {
			return nil, err
		}
		e := entry(name, d.Request, p.Width, p.Height)
		added, urls = append(added, e), append(urls, e.URL)
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range added {
		if i := g.index(e.Name); i >= 0 {
			g.entries[i] = e
		} else {
			g.entries = append(g.entries, e)
		}
	}
	slices.SortFunc(g.entries, inOrder)
	return urls, nil
}

// List returns at most limit pictures, the newest first, that are older than the one of that name. Empty: from the
// newest on.
func (g *Gallery) List(before string, limit int) (list []Entry, total int) {
	g.mu.Lock()
	defer g.mu.Unlock()
	list = []Entry{}
	from := len(g.entries)
	if before != "" {
		from = max(g.index(before), 0)
	}
	for i := from - 1; i >= 0 && len(list) < limit; i-- {
		list = append(list, g.entries[i])
	}
	return list, len(g.entries)
}

// Of returns the addresses of a job's pictures that are there.
func (g *Gallery) Of(id string) (urls []string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, e := range g.entries {
		if strings.HasPrefix(e.Name, id+"-") {
			urls = append(urls, e.URL)
		}
	}
	return urls
}

func (g *Gallery) index(name string) int {
	return slices.IndexFunc(g.entries, func(e Entry) bool { return e.Name == name })
}

// Read returns a picture's file. ok is false where the list has none of that name.
func (g *Gallery) Read(name string) (data []byte, ok bool, err error) {
	g.mu.Lock()
	ok = g.index(name) >= 0
	g.mu.Unlock()
	if !ok {
		return nil, false, nil
	}
	data, err = os.ReadFile(filepath.Join(g.dir, name))
	return data, true, err
}

// Remove deletes a picture. ok is false where the list has none of that name.
func (g *Gallery) Remove(name string) (ok bool, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	i := g.index(name)
	if i < 0 {
		return false, nil
	}
	if err := os.Remove(filepath.Join(g.dir, name)); err != nil && !os.IsNotExist(err) {
		return true, err
	}
	g.entries = slices.Delete(g.entries, i, i+1)
	return true, nil
}

// recipeOf reads the request in a PNG file.
func recipeOf(data []byte) (lab.Request, error) {
	p, err := figure.ReadParameters(bytes.NewReader(data))
	if err != nil {
		return lab.Request{}, err
	}
	text, ok := p.Get(lab.RecipeKey)
	if !ok {
		return lab.Request{}, fmt.Errorf("the picture carries no recipe: it was drawn by another program, or saved " +
			"again without its texts")
	}
	return lab.ParseRequest([]byte(text))
}
