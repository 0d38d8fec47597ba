package studio

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/danielgtaylor/huma/v2"
	"golang.org/x/image/draw"

	"github.com/unnoise/unnoise/internal/atomicfile"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/picture"
)

// sentSide is the side of the pictures that are kept to train on, at most.
const sentSide = 128

var setName = regexp.MustCompile(`^[a-z0-9][a-z0-9-]{0,39}$`)

// Captioned is a picture that is sent to be trained on.
type Captioned struct {
	Caption string `json:"caption" doc:"what it shows; several on lines of their own"`
	Data    []byte `json:"data" doc:"a PNG, JPEG, WebP, GIF, BMP or TIFF file"`
}

// sets are what can be trained on: what the command line named, and folders of pictures that were sent here.
type sets struct {
	dir string // of those that were sent

	mu  sync.Mutex // held while one is changed, so that one picture is decoded at a time
	all []Set
}

// openSets finds the sets that were sent before.
func openSets(dir string, named []Set) (*sets, error) {
	s := &sets{dir: dir, all: named}
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if path := filepath.Join(dir, e.Name()); e.IsDir() && setName.MatchString(e.Name()) {
			s.all = append(s.all, Set{Name: e.Name(), Captions: true, Sent: true, Pictures: pictures(path), path: path})
		}
	}
	return s, nil
}

// pictures counts those of a folder.
func pictures(dir string) int {
	files, _ := filepath.Glob(filepath.Join(dir, "*.png")) // the pattern is a good one
	return len(files)
}

func (s *sets) list() []Set {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

func (s *sets) find(name string) (Set, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.index(name)
	if i < 0 {
		return Set{}, false
	}
	return s.all[i], true
}

func (s *sets) index(name string) int {
	return slices.IndexFunc(s.all, func(o Set) bool { return o.Name == name })
}

// add adds pictures to a set that was sent, or begins one.
func (s *sets) add(name string, sent []Captioned) (Set, error) {
	if !setName.MatchString(name) {
		return Set{}, model.Errorf("name", "expected at most 40 small letters, digits and hyphens, found %q", name)
	}
	if err := checkSent(sent); err != nil {
		return Set{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.index(name)
	own := 0
	for _, o := range s.all {
		if o.Sent {
			own++
		}
	}
	switch {
	case i >= 0 && !s.all[i].Sent:
		return Set{}, model.Errorf("name", "%q was not sent to the studio", name)
	case i < 0 && own >= Limits.Sets:
		return Set{}, model.Errorf("name", "expected at most %d sets: delete one first", Limits.Sets)
	case i >= 0 && s.all[i].Pictures+len(sent) > Limits.SetPictures, len(sent) > Limits.SetPictures:
		return Set{}, model.Errorf("pictures", "expected at most %d in a set", Limits.SetPictures)
	}
	small := make([]image.Image, len(sent))
	for k, p := range sent {
		m, err := picture.Decode(p.Data)
		if err != nil {
			return Set{}, model.Errorf(fmt.Sprintf("pictures[%d]", k), "%w", err)
		}
		small[k] = square(m)
	}
	path := filepath.Join(s.dir, name)
	if err := os.MkdirAll(path, 0o777); err != nil {
		return Set{}, err
	}
	if i < 0 {
		i = len(s.all)
		s.all = append(s.all, Set{Name: name, Captions: true, Sent: true, Pictures: pictures(path), path: path})
	}
	for k, m := range small {
		file := filepath.Join(path, fmt.Sprintf("%05d", s.all[i].Pictures+1))
		text := strings.TrimSpace(sent[k].Caption) + "\n" // first: a picture without a caption makes the set unreadable
		if err := errors.Join(atomicfile.Write(file+".txt", func(w io.Writer) error {
			_, err := io.WriteString(w, text)
			return err
		}), atomicfile.Write(file+".png", func(w io.Writer) error { return png.Encode(w, m) })); err != nil {
			return s.all[i], err
		}
		s.all[i].Pictures++
	}
	return s.all[i], nil
}

// remove deletes a set that was sent.
func (s *sets) remove(name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := s.index(name)
	if i < 0 || !s.all[i].Sent {
		return errNoSet
	}
	err := os.RemoveAll(s.all[i].path)
	s.all = slices.Delete(s.all, i, i+1)
	return err
}

var (
	errNoSet   = errors.New("no set of this name was sent to the studio")
	errSetUsed = errors.New("a training learned from this set: delete the training first, or send the pictures under " +
		"another name")
)

// checkSent refuses pictures before any of them is decoded.
func checkSent(sent []Captioned) error {
	if len(sent) == 0 {
		return model.Errorf("pictures", "expected at least one")
	}
	pixels := 0
	for k, p := range sent {
		field := fmt.Sprintf("pictures[%d]", k)
		switch {
		case strings.TrimSpace(p.Caption) == "" || !utf8.ValidString(p.Caption):
			return model.Errorf(field, "expected a caption in UTF-8, found %q", p.Caption)
		case len(p.Caption) > Limits.Text:
			return model.Errorf(field, "expected at most %d bytes of caption, found %d", Limits.Text, len(p.Caption))
		}
		if err := checkPicture(field, p.Data); err != nil {
			return err
		}
		if c, _, err := image.DecodeConfig(bytes.NewReader(p.Data)); err == nil {
			pixels += c.Width * c.Height
		}
		if pixels > Limits.Pixels {
			return model.Errorf("pictures", "expected at most %d million pixels in one request", Limits.Pixels/1_000_000)
		}
	}
	return nil
}

// square is the square in the middle of a picture, of which training sees no more, made smaller where it is large.
func square(m image.Image) image.Image {
	r := m.Bounds()
	side := min(r.Dx(), r.Dy())
	from := image.Rect(0, 0, side, side).Add(r.Min).Add(image.Pt((r.Dx()-side)/2, (r.Dy()-side)/2))
	to := image.NewNRGBA(image.Rect(0, 0, min(side, sentSide), min(side, sentSide)))
	draw.CatmullRom.Scale(to, to.Rect, m, from, draw.Src, nil)
	return to
}

type (
	bySet struct {
		Name string `path:"name" doc:"of a set"`
	}
	withSet struct {
		Body Set
	}
)

// sending adds what is asked of sets.
func (s *Studio) sending(api huma.API, add func(method, path, id, summary string) huma.Operation) {
	huma.Register(api, add(http.MethodGet, "/api/data", "data", "The sets of images that can be trained on"),
		func(context.Context, *struct{}) (*withSets, error) { return &withSets{s.runs.sets.list()}, nil })
	huma.Register(api, add(http.MethodPost, "/api/data/{name}", "send-data",
		"Adds pictures with captions to a set to train on, or begins one; larger pictures are made smaller"),
		func(_ context.Context, in *struct {
			Name string `path:"name" doc:"of a set"`
			Body struct {
				Pictures []Captioned `json:"pictures"`
			}
		}) (*withSet, error) {
			if s.runs.learnedFrom(in.Name) {
				return nil, problem(errSetUsed)
			}
			set, err := s.runs.sets.add(in.Name, in.Body.Pictures)
			return &withSet{set}, problem(err)
		})
	huma.Register(api, add(http.MethodDelete, "/api/data/{name}", "remove-data", "Deletes a set that was sent"),
		func(_ context.Context, in *bySet) (*struct{}, error) {
			if s.runs.learnedFrom(in.Name) {
				return nil, problem(errSetUsed)
			}
			return nil, problem(s.runs.sets.remove(in.Name))
		})
}
