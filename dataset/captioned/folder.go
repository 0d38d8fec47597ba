package captioned

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/color"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"unicode/utf8"

	"golang.org/x/image/draw"

	"github.com/unnoise/unnoise/picture"
)

// Metadata is the file that names the pictures of a folder and their captions, in the Hugging Face "imagefolder"
// layout: a JSON object on each line, with file_name and text.
const Metadata = "metadata.jsonl"

// cacheBytes bounds how much memory the pictures of a folder may take once they are resized.
const cacheBytes = 1 << 30

// Row is a line of the metadata. Other fields are left to those who know them.
type Row struct {
	File     string   // file_name: relative to the folder that was opened
	Captions []string // text: a caption, or a list of captions of which training takes one at a time
	Split    string   // split: "train" or nothing for training, anything else is held out
	Where    string   // file and line it stands in
	JSON     []byte   // the whole line
}

// ReadMetadata reads the metadata of a folder. Errors name file and line.
func ReadMetadata(dir string) ([]Row, error) {
	path := filepath.Join(dir, Metadata)
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the metadata: %w", err)
	}
	defer f.Close()
	var rows []Row
	lines := bufio.NewReader(f)
	for n := 1; ; n++ {
		line, err := lines.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return nil, fmt.Errorf("%s:%d: %w", path, n, err)
		}
		if n == 1 {
			line = bytes.TrimPrefix(line, []byte("\ufeff"))
		}
		if len(bytes.TrimSpace(line)) > 0 {
			row, err := parseRow(line)
			row.Where = fmt.Sprintf("%s:%d", path, n)
			if err != nil {
				return nil, fmt.Errorf("%s: %w", row.Where, err)
			}
			rows = append(rows, row)
		}
		if err == io.EOF {
			return rows, nil
		}
	}
}

func parseRow(line []byte) (Row, error) {
	var x struct {
		File  string          `json:"file_name"`
		Text  json.RawMessage `json:"text"`
		Split string          `json:"split"`
	}
	if err := json.Unmarshal(line, &x); err != nil {
		return Row{}, fmt.Errorf("expected a JSON object: %w", err)
	}
	if x.File == "" {
		return Row{}, errors.New("expected a file_name, found none")
	}
	if !filepath.IsLocal(filepath.FromSlash(x.File)) {
		return Row{}, fmt.Errorf("file_name %q: expected a file in this folder", x.File)
	}
	row := Row{File: x.File, Split: x.Split, JSON: bytes.TrimSpace(line)}
	var one string
	switch {
	case x.Text == nil:
		return Row{}, errors.New("expected a caption named text, found none")
	case json.Unmarshal(x.Text, &one) == nil:
		row.Captions = []string{one}
	case json.Unmarshal(x.Text, &row.Captions) != nil:
		return Row{}, fmt.Errorf("text: expected a caption or a list of captions, found %s", x.Text)
	}
	return row, checkCaptions(row.Captions)
}

func checkCaptions(captions []string) error {
	if len(captions) == 0 {
		return errors.New("expected a caption, found none")
	}
	for _, c := range captions {
		if strings.TrimSpace(c) == "" || !utf8.ValidString(c) {
			return fmt.Errorf("expected a caption in UTF-8, found %q", c)
		}
	}
	return nil
}

// Folder is a folder of pictures with captions. The square in the middle of each picture is taken, on white where it is
// transparent.
type Folder struct {
	dir  string
	rows []Row

	mu     sync.Mutex
	epochs map[[2]uint64][]int32 // orders of the latest epochs
	cached map[cacheKey]*image.RGBA
	bytes  int
}

type cacheKey struct{ row, size int }

// Open reads which pictures and captions a folder has: from its metadata.jsonl, from those in its folders train, test
// and validation, or else from a text file beside each picture, a caption on each of its lines. Pictures are PNG,
// JPEG, WebP, GIF, BMP or TIFF, and are read when they are asked for. heldout are those whose split, in the metadata or
// by the folder, is not train; it is nil if there are none.
func Open(dir string) (train, heldout *Folder, err error) {
	info, err := os.Stat(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("opening the data folder: %w", err)
	}
	if !info.IsDir() {
		return nil, nil, fmt.Errorf("%s is a file; expected a folder of pictures with captions", dir)
	}
	rows, err := ReadMetadata(dir)
	if errors.Is(err, fs.ErrNotExist) {
		if rows, err = readSplits(dir); err == nil && rows == nil {
			rows, err = readBeside(dir)
		}
	}
	if err != nil {
		return nil, nil, err
	}
	train, heldout = newFolder(dir), newFolder(dir)
	for _, row := range rows {
		if info, err := os.Stat(filepath.Join(dir, filepath.FromSlash(row.File))); err != nil || info.IsDir() {
			return nil, nil, fmt.Errorf("%s: expected the picture %s, found none", row.Where, row.File)
		}
		if row.Split == "" || row.Split == "train" {
			train.rows = append(train.rows, row)
		} else {
			heldout.rows = append(heldout.rows, row)
		}
	}
	if len(train.rows) == 0 {
		return nil, nil, fmt.Errorf("%s: expected pictures for training with a %s or a .txt beside each, found none",
			dir, Metadata)
	}
	if len(heldout.rows) == 0 {
		heldout = nil
	}
	return train, heldout, nil
}

func newFolder(dir string) *Folder {
	return &Folder{dir: dir, epochs: map[[2]uint64][]int32{}, cached: map[cacheKey]*image.RGBA{}}
}

// readSplits reads the metadata of each split that has a folder of its own.
func readSplits(dir string) (all []Row, err error) {
	for _, split := range []string{"train", "test", "validation"} {
		rows, err := ReadMetadata(filepath.Join(dir, split))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, row := range rows {
			row.File, row.Split = split+"/"+row.File, split
			all = append(all, row)
		}
	}
	return all, nil
}

var pictureEndings = []string{".png", ".jpg", ".jpeg", ".webp", ".gif", ".bmp", ".tif", ".tiff"}

// readBeside finds pictures and the text files beside them, in all folders beneath dir.
func readBeside(dir string) (rows []Row, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() && path != dir && strings.HasPrefix(d.Name(), ".") {
			return filepath.SkipDir
		}
		ending := filepath.Ext(path)
		if d.IsDir() || strings.HasPrefix(d.Name(), ".") || !slices.Contains(pictureEndings, strings.ToLower(ending)) {
			return nil
		}
		beside := strings.TrimSuffix(path, ending) + ".txt"
		text, err := os.ReadFile(beside)
		if err != nil {
			return fmt.Errorf("%s: expected its caption in a text file beside it, or in %s: %w",
				path, filepath.Join(dir, Metadata), err)
		}
		var captions []string
		for line := range strings.Lines(strings.TrimPrefix(string(text), "\ufeff")) {
			if line = strings.TrimSpace(line); line != "" {
				captions = append(captions, line)
			}
		}
		if err := checkCaptions(captions); err != nil {
			return fmt.Errorf("%s: %w", beside, err)
		}
		name, err := filepath.Rel(dir, path)
		rows = append(rows, Row{File: filepath.ToSlash(name), Captions: captions, Where: beside})
		return err
	})
	return rows, err
}

// Len returns the number of pictures.
func (f *Folder) Len() int { return len(f.rows) }

// Row returns the line of picture k, from 0 to Len-1.
func (f *Folder) Row(k int) Row { return f.rows[k] }

// Caption returns the caption of example i.
func (f *Folder) Caption(seed uint64, i int) (string, error) {
	captions := f.rows[f.pick(seed, i)].Captions
	return captions[Random(seed, i, "caption").IntN(len(captions))], nil
}

// At returns example i: each epoch has every picture once, in an order of its own.
func (f *Folder) At(seed uint64, i, size int) (Example, error) {
	caption, err := f.Caption(seed, i)
	if err != nil {
		return Example{}, err
	}
	m, err := f.Picture(f.pick(seed, i), size)
	return Example{Image: m, Caption: caption, Mirror: Mirrorable(caption)}, err
}

// pick returns which picture example i has.
func (f *Folder) pick(seed uint64, i int) int {
	n := len(f.rows)
	key := [2]uint64{seed, uint64(i / n)}
	f.mu.Lock()
	defer f.mu.Unlock()
	order, ok := f.epochs[key]
	if !ok {
		order = make([]int32, n)
		for k := range order {
			order[k] = int32(k)
		}
		r := Random(seed, i/n, "epoch")
		r.Shuffle(n, func(a, b int) { order[a], order[b] = order[b], order[a] })
		if len(f.epochs) > 3 {
			clear(f.epochs)
		}
		f.epochs[key] = order
	}
	return int(order[i%n])
}

// Picture returns picture k, from 0 to Len-1, as size×size pixels.
func (f *Folder) Picture(k, size int) (*image.RGBA, error) {
	key := cacheKey{k, size}
	f.mu.Lock()
	m := f.cached[key]
	f.mu.Unlock()
	if m == nil {
		var err error
		if m, err = f.read(k, size); err != nil {
			return nil, err
		}
		f.mu.Lock()
		if f.bytes+len(m.Pix) <= cacheBytes && f.cached[key] == nil {
			f.cached[key] = m
			f.bytes += len(m.Pix)
		}
		f.mu.Unlock()
	}
	return &image.RGBA{Pix: slices.Clone(m.Pix), Stride: m.Stride, Rect: m.Rect}, nil
}

func (f *Folder) read(k, size int) (*image.RGBA, error) {
	m, err := picture.Open(filepath.Join(f.dir, filepath.FromSlash(f.rows[k].File)))
	if err != nil {
		return nil, fmt.Errorf("%s: reading its picture: %w", f.rows[k].Where, err)
	}
	return square(m, size), nil
}

// square scales the square in the middle of m, on white.
func square(m image.Image, size int) *image.RGBA {
	r := m.Bounds()
	side := min(r.Dx(), r.Dy())
	r.Min.X += (r.Dx() - side) / 2
	r.Min.Y += (r.Dy() - side) / 2
	r.Max = r.Min.Add(image.Pt(side, side))
	dst := image.NewRGBA(image.Rect(0, 0, size, size))
	draw.Draw(dst, dst.Rect, image.NewUniform(color.White), image.Point{}, draw.Src)
	draw.CatmullRom.Scale(dst, dst.Rect, m, r, draw.Over, nil)
	return dst
}
