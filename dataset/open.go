package dataset

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/unnoise/unnoise/internal/otherfile"
)

// Open reads a set in four IDX files: train-images-idx3-ubyte, train-labels-idx1-ubyte and the same with t10k or test.
// Their names may have a set's name before them, as EMNIST's and QMNIST's (emnist-letters-train-images-idx3-ubyte), a
// dot before idx and .gz behind; QMNIST's integer labels (idx2-int) are read too. Whether a file is gzipped is told by
// its first bytes. The files lie in the folder or in ones below it, as torchvision (MNIST/raw) and Kaggle (a folder for
// each file) have them. Where there are several sets, FOLDER/emnist-letters names one. Errors name the file.
//
// EMNIST's own files, which emnist- in their names tells, hold their images transposed; they are turned upright.
func Open(dir string) (train, test *Labeled, err error) {
	info, err := os.Stat(dir)
	set := ""
	if errors.Is(err, fs.ErrNotExist) { // a set's name behind a folder
		if above, statErr := os.Stat(filepath.Dir(dir)); statErr == nil && above.IsDir() {
			found, _ := find(os.DirFS(filepath.Dir(dir)))
			if slices.ContainsFunc(found, func(f files) bool { return f.set == filepath.Base(dir) }) {
				dir, set = filepath.Dir(dir), filepath.Base(dir)
				info, err = above, nil
			}
		}
	}
	if err != nil {
		return nil, nil, fmt.Errorf("opening the data folder: %w", err)
	}
	if !info.IsDir() {
		return nil, nil, fmt.Errorf("%s is a file: %w", dir,
			otherfile.ExplainFile(dir,
				errors.New("expected a folder with train-images-idx3-ubyte and the other three IDX files")))
	}
	return open(os.DirFS(dir), dir, set)
}

// files are the paths of a set's files, by what they hold: train-images, train-labels, test-images, test-labels.
type files struct {
	folder, set string
	paths       map[string]string
}

var contents = []string{"train-images", "train-labels", "test-images", "test-labels"}

// lacking returns what there is no file of.
func (f files) lacking() (names []string) {
	for _, c := range contents {
		if f.paths[c] == "" {
			names = append(names, c)
		}
	}
	return names
}

// depth is how far below the folder the set lies.
func (f files) depth() int {
	if f.folder == "." {
		return 0
	}
	return strings.Count(f.folder, "/") + 1
}

func (f files) String() string { return path.Join(f.folder, f.set) }

// fileName matches a set's name, which may be empty, the split, what the file holds, and its format.
var fileName = regexp.MustCompile(
	`^(?:(.*?)[-_])?(train|test|t10k)-(images|labels)[-.](idx[123]-(?:ubyte|int))(\.gz)?$`)

// Bounds of the search: a home folder is no data folder.
const (
	maxDepth   = 3
	maxEntries = 20_000
)

// find lists the sets in a folder, whole ones first; where it has no whole one, those in folders below too.
func find(dir fs.FS) ([]files, error) {
	found, err := findTo(dir, 0)
	if err == nil && (len(found) == 0 || len(found[0].lacking()) > 0) {
		return findTo(dir, maxDepth)
	}
	return found, err
}

func findTo(dir fs.FS, deepest int) ([]files, error) {
	plain := func(name string) string { return strings.ReplaceAll(strings.TrimSuffix(name, ".gz"), ".", "-") }
	type key struct{ folder, set string }
	sets := map[key]files{}
	entries := 0
	take := func(at string) {
		m := fileName.FindStringSubmatch(path.Base(at))
		if m == nil {
			return
		}
		folder := path.Dir(at)
		if plain(path.Base(folder)) == plain(path.Base(at)) { // one for each file
			folder = path.Dir(folder)
		}
		k := key{folder, m[1]}
		if sets[k].paths == nil {
			sets[k] = files{folder, m[1], map[string]string{}}
		}
		what := strings.Replace(m[2], "t10k", "test", 1) + "-" + m[3]
		if old := sets[k].paths[what]; old == "" || len(at) < len(old) { // plain before gzipped
			sets[k].paths[what] = at
		}
	}
	var walk func(folder string, depth int) error
	walk = func(folder string, depth int) error {
		in, err := fs.ReadDir(dir, folder)
		if err != nil && depth > 0 { // another program's
			return nil
		}
		for _, e := range in {
			if entries++; deepest > 0 && entries > maxEntries {
				return fmt.Errorf("it has more than %d files and folders: name the one with the set", maxEntries)
			}
			at := path.Join(folder, e.Name())
			isFolder := e.IsDir()
			if info, err := fs.Stat(dir, at); e.Type()&fs.ModeSymlink != 0 && err == nil {
				isFolder = info.IsDir()
			}
			switch {
			case !isFolder:
				take(at)
			case depth < deepest && !strings.HasPrefix(e.Name(), "."):
				if err := walk(at, depth+1); err != nil {
					return err
				}
			}
		}
		return err
	}
	err := walk(".", 0)
	return slices.SortedFunc(maps.Values(sets), func(a, b files) int {
		return cmp.Or(cmp.Compare(len(a.lacking()), len(b.lacking())), cmp.Compare(a.depth(), b.depth()),
			cmp.Compare(a.String(), b.String()))
	}), err
}

// open reads the one set in a folder, or the named one. Errors call the folder name.
func open(dir fs.FS, name, set string) (train, test *Labeled, err error) {
	found, err := find(dir)
	if err != nil {
		return nil, nil, fmt.Errorf("looking for images in %s: %w", name, err)
	}
	if set != "" {
		found = slices.DeleteFunc(found, func(f files) bool { return f.set != set })
	}
	const expected = "expected train-images-idx3-ubyte, train-labels-idx1-ubyte and the same with t10k, each plain " +
		"or .gz"
	if len(found) == 0 {
		return nil, nil, fmt.Errorf("%s has no set of images: %s; found %s", name, expected, some(dir))
	}
	first := found[0]
	if missing := first.lacking(); len(missing) > 0 {
		return nil, nil, fmt.Errorf("%s has no %s: %s", filepath.Join(name, first.folder),
			strings.Join(missing, " and no "), expected)
	}
	var several []string
	for _, f := range found {
		if len(f.lacking()) == 0 && f.depth() == first.depth() {
			several = append(several, filepath.Join(name, f.String()))
		}
	}
	if len(several) > 1 && first.String() != "." { // what has no name of its own goes first
		return nil, nil, fmt.Errorf("%s has several sets: name one, %s", name, strings.Join(several, " or "))
	}
	if train, err = first.split(dir, name, "train"); err != nil {
		return nil, nil, err
	}
	if test, err = first.split(dir, name, "test"); err != nil {
		return nil, nil, err
	}
	if train.Rows != test.Rows || train.Cols != test.Cols {
		return nil, nil, fmt.Errorf("%s: training images are %d×%d, test images %d×%d; expected one size", name,
			train.Rows, train.Cols, test.Rows, test.Cols)
	}
	return train, test, nil
}

// some names a few things in a folder.
func some(dir fs.FS) string {
	const most = 4
	entries, _ := fs.ReadDir(dir, ".")
	if len(entries) == 0 {
		return "nothing in it"
	}
	var names []string
	for _, e := range entries[:min(len(entries), most)] {
		names = append(names, e.Name())
	}
	if more := len(entries) - most; more > 0 {
		names = append(names, fmt.Sprintf("%d more", more))
	}
	return strings.Join(names, ", ")
}

func (f files) split(dir fs.FS, name, which string) (*Labeled, error) {
	imagesPath, labelsPath := f.paths[which+"-images"], f.paths[which+"-labels"]
	in := func(path string, read func(fs.File) error) error {
		file, err := dir.Open(path)
		if err != nil {
			return fmt.Errorf("opening %s: %w", filepath.Join(name, path), err)
		}
		defer file.Close()
		if err := read(file); err != nil {
			return fmt.Errorf("%s: %w", filepath.Join(name, path), err)
		}
		return nil
	}
	var images idx
	var labels []byte
	err := in(imagesPath, func(file fs.File) (err error) {
		images, _, err = read(file, pictures)
		return err
	})
	if err == nil {
		err = in(labelsPath, func(file fs.File) (err error) {
			labels, err = readLabels(file)
			return err
		})
	}
	switch {
	case err != nil:
		return nil, err
	case images.dims[0] != len(labels):
		return nil, fmt.Errorf("%s holds %d images, %s %d labels; expected as many", filepath.Join(name, imagesPath),
			images.dims[0], filepath.Join(name, labelsPath), len(labels))
	case len(images.data) == 0:
		return nil, fmt.Errorf("%s holds no images", filepath.Join(name, imagesPath))
	}
	l := &Labeled{Rows: images.dims[1], Cols: images.dims[2], Images: images.data, Labels: labels}
	if strings.HasPrefix(f.set, "emnist") {
		l.transpose()
	}
	return l, nil
}

// transpose turns images upright that were stored column by column.
func (l *Labeled) transpose() {
	rows, cols := l.Cols, l.Rows
	upright := make([]byte, rows*cols)
	for stored := range slices.Chunk(l.Images, rows*cols) {
		for r := range rows {
			for c := range cols {
				upright[r*cols+c] = stored[c*rows+r]
			}
		}
		copy(stored, upright)
	}
	l.Rows, l.Cols, l.Transposed = rows, cols, true
}
