package course

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"time"

	"github.com/unnoise/unnoise/diffusion"
	"github.com/unnoise/unnoise/figure"
	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/internal/terminal"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/model"
	"github.com/unnoise/unnoise/registry"
	"github.com/unnoise/unnoise/weights"
)

// Artist draws requests and keeps what it drew in a folder: the same request, of the same model, is drawn once.
type Artist struct {
	Lab    *lab.Lab
	Dir    string            // empty: nothing is kept
	Update func(line string) // told how far a drawing is; may be nil
	Warn   func(string)      // may be nil
}

// drawn is what became of a request, with values from 0 to 1.
type drawn struct {
	request    lab.Request // completed: the recipe
	images     diffusion.Images
	frames     []figure.Frame // from noise to the result
	candidates diffusion.Images
	verdicts   []string // of the candidates, the best first: what is read, and the score
	time       time.Duration
	rows       []string // of a strip
	columns    []string
}

// kept is what is kept of a drawing beside its images.
type kept struct {
	Request    lab.Request   `json:"request"`
	Captions   []string      `json:"captions"`
	Candidates int           `json:"candidates"`
	Verdicts   []string      `json:"verdicts"`
	Time       time.Duration `json:"time"`
	Rows       []string      `json:"rows"`
	Columns    []string      `json:"columns"`
}

const keptVersion = 1

// draw draws a request, or reads what was drawn before. most is how many frames of the way are kept.
func (a *Artist) draw(ctx context.Context, name string, r lab.Request, most int) (d drawn, err error) {
	o, err := a.Lab.Complete(r)
	if err != nil {
		return d, fmt.Errorf("%s: %w", name, err)
	}
	path, err := a.path(o.Request, most)
	if err != nil {
		return d, err
	}
	if d, err := readDrawn(path); err == nil { // one that can't be read is drawn again
		return d, nil
	}
	film := lab.Film{Stage: lab.Drawing, Most: most}
	if r.Upscale != nil {
		film.Stage = lab.Upscaling
	}
	result, err := lab.Run(a.Lab.Draw(ctx, o.Request), func(e lab.Event) {
		if most > 1 {
			film.Add(e)
		}
		a.tell(name, e)
	})
	if err != nil {
		return d, fmt.Errorf("%s: %w", name, err)
	}
	show := func(x diffusion.Images) diffusion.Images { return result.Range.To(model.ZeroToOne, x) }
	grid := result.Request.Grid(result.Images, result.Range, 1)
	d = drawn{request: result.Request, images: grid.Images, frames: film.Frames, time: result.Duration}
	if result.Request.Strip != nil {
		d.rows, d.columns = grid.RowLabels, grid.ColumnLabels
	}
	if ranking := result.Ranking; ranking != nil {
		d.candidates = show(ranking.Images)
		d.verdicts = ranking.Captions()
	}
	return d, d.write(path)
}

func (a *Artist) tell(name string, e lab.Event) {
	if e.Warning != "" && a.Warn != nil {
		a.Warn(e.Warning)
	}
	if a.Update == nil {
		return
	}
	switch {
	case e.Loading != nil:
		a.Update(fmt.Sprintf("%s: reading the model, %s", name, terminal.Bytes(e.Loading.Done, e.Loading.Total)))
	case e.Step != nil:
		a.Update(fmt.Sprintf("%s: step %d/%d", name, e.Step.Index+1, e.Step.Total))
	case e.Judged != nil:
		a.Update(fmt.Sprintf("%s: judging %d/%d", name, e.Judged.Done, e.Judged.Total))
	}
}

// path is where a drawing is kept: its name says all that determines it.
func (a *Artist) path(r lab.Request, most int) (string, error) {
	if a.Dir == "" {
		return "", nil
	}
	recipe, err := r.JSON()
	if err != nil {
		return "", err
	}
	what := fmt.Sprintf("%d %d %s %s", keptVersion, most, recipe, identity(r.Model))
	if r.Upscale != nil {
		what += identity(r.Upscale.Model)
	}
	hash := sha256.Sum256([]byte(what))
	return filepath.Join(a.Dir, hex.EncodeToString(hash[:10])+".safetensors"), nil
}

// identity tells models of one name apart: those of the program by its commit, folders by when they were written.
func identity(name string) string {
	place, err := registry.Find(name)
	if err != nil || place.Dir == "" {
		return build.Commit()
	}
	var last time.Time
	_ = filepath.WalkDir(place.Dir, func(_ string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			if info, err := e.Info(); err == nil && info.ModTime().After(last) {
				last = info.ModTime()
			}
		}
		return nil
	})
	return place.Dir + last.UTC().Format(time.RFC3339Nano)
}

func (d drawn) write(path string) error {
	if path == "" {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return err
	}
	k := kept{Request: d.request, Candidates: d.candidates.N, Verdicts: d.verdicts, Time: d.time, Rows: d.rows,
		Columns: d.columns}
	all := map[string]weights.Tensor{"images": tensor(d.images)}
	if d.candidates.N > 0 {
		all["candidates"] = tensor(d.candidates)
	}
	if len(d.frames) > 0 {
		var x, x0 []diffusion.Images
		for _, f := range d.frames {
			k.Captions = append(k.Captions, f.Caption)
			x, x0 = append(x, f.X), append(x0, f.X0)
		}
		for name, parts := range map[string][]diffusion.Images{"frames": x, "estimates": x0} {
			joined, err := diffusion.Concat(parts...)
			if err != nil {
				return err
			}
			all[name] = tensor(joined)
		}
	}
	text, err := json.Marshal(k)
	if err != nil {
		return err
	}
	return weights.Write(path, all, map[string]string{"drawing": string(text)})
}

func tensor(x diffusion.Images) weights.Tensor {
	return weights.FromFloat32([]int{x.N, x.C, x.H, x.W}, x.Data)
}

func readDrawn(path string) (d drawn, err error) {
	f, err := weights.Open(path)
	if err != nil {
		return d, err
	}
	defer f.Close()
	var k kept
	if err := json.Unmarshal([]byte(f.Metadata()["drawing"]), &k); err != nil {
		return d, err
	}
	d = drawn{request: k.Request, verdicts: k.Verdicts, time: k.Time, rows: k.Rows, columns: k.Columns}
	read := func(name string, of *diffusion.Images) {
		t, e := f.Tensor(name)
		if e != nil || len(t.Shape) != 4 {
			err = cmp.Or(err, e, fmt.Errorf("%s: %s has shape %v", path, name, t.Shape))
			return
		}
		values, e := t.Float32()
		err = cmp.Or(err, e)
		*of = diffusion.Images{N: t.Shape[0], C: t.Shape[1], H: t.Shape[2], W: t.Shape[3], Data: values}
	}
	read("images", &d.images)
	if k.Candidates > 0 {
		read("candidates", &d.candidates)
	}
	if n := len(k.Captions); n > 0 {
		var x, x0 diffusion.Images
		read("frames", &x)
		read("estimates", &x0)
		if err != nil || x.N%n != 0 || !x.SameShape(x0) {
			return d, cmp.Or(err, fmt.Errorf("%s: the frames don't fit", path))
		}
		each := x.N / n
		for i, caption := range k.Captions {
			d.frames = append(d.frames, figure.Frame{Caption: caption, X: x.Slice(i*each, (i+1)*each),
				X0: x0.Slice(i*each, (i+1)*each)})
		}
	}
	return d, err
}
