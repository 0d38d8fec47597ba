package emoji

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"image/png"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/image/draw"
	"golang.org/x/image/webp"

	"github.com/unnoise/unnoise/dataset/captioned"
	"github.com/unnoise/unnoise/internal/atomicfile"
)

// pixels is the longer side of the pictures in a folder.
const pixels = 128

// Builder makes a folder of the set.
type Builder struct {
	Dir      string                // the folder to make, which must not exist or be empty
	From     string                // a folder with the packages unpacked, such as node_modules; "" fetches them by npm
	Progress func(done, total int) // may be nil
	svg      func(context.Context, string, int, []string) ([]*image.RGBA, error)
}

// concept is a thing to draw.
type concept struct {
	code     string // code points, without variation selectors
	label    string
	names    []string
	keywords []string
	category string
	group    string
	weight   float64
}

// job is a picture to make: of an SVG text or of a WebP file.
type job struct {
	concept *concept
	style   string
	svg     string
	webp    []byte
}

// Build makes the folder: pictures, metadata.jsonl, emoji.json, NOTICE.md. It appears whole or not at all.
func (b Builder) Build(ctx context.Context) (Info, error) {
	if entries, err := os.ReadDir(b.Dir); err == nil && len(entries) > 0 {
		return Info{}, fmt.Errorf("%s: expected a new or an empty folder, found %s in it", b.Dir, entries[0].Name())
	} else if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Info{}, err
	}
	if b.svg == nil {
		b.svg = rasterize
	}
	jobs, err := b.jobs(ctx)
	if err != nil {
		return Info{}, err
	}
	if err := os.MkdirAll(filepath.Dir(filepath.Clean(b.Dir)), 0o755); err != nil {
		return Info{}, err
	}
	partial, err := os.MkdirTemp(filepath.Dir(filepath.Clean(b.Dir)), "."+filepath.Base(b.Dir)+"-")
	if err != nil {
		return Info{}, err
	}
	defer os.RemoveAll(partial)
	if err := os.Chmod(partial, 0o755); err != nil {
		return Info{}, err
	}
	made, leftOut, err := b.pictures(ctx, partial, jobs)
	if err != nil {
		return Info{}, err
	}
	info, err := b.describe(partial, made, leftOut)
	if err != nil {
		return Info{}, err
	}
	_ = os.Remove(b.Dir) // if it is there, it is empty
	return info, os.Rename(partial, b.Dir)
}

// jobs reads the packages and lists the pictures to make, by concept and style.
func (b Builder) jobs(ctx context.Context) ([]job, error) {
	concepts, err := b.concepts(ctx)
	if err != nil {
		return nil, err
	}
	byStyle := map[string]map[string]job{}
	for style, p := range map[string]pkg{"noto": noto, "twemoji": twemoji, "flat": fluentFlat} {
		if byStyle[style], err = b.icons(ctx, p); err != nil {
			return nil, err
		}
	}
	files, err := fluent3D.files(ctx, b.From, func(p string) bool { return strings.HasSuffix(p, ".webp") })
	if err != nil {
		return nil, err
	}
	byStyle["3d"] = map[string]job{}
	for file, data := range files {
		byStyle["3d"][code(strings.TrimSuffix(path.Base(file), ".webp"))] = job{webp: data}
	}
	var jobs []job
	for i := range concepts {
		for _, style := range Styles {
			if j, ok := byStyle[style][concepts[i].code]; ok {
				j.concept, j.style = &concepts[i], style
				jobs = append(jobs, j)
			}
		}
	}
	if len(jobs) == 0 {
		return nil, errors.New("expected pictures in the packages, found none that the set takes")
	}
	return jobs, nil
}

// code writes code points as the set names them: lower case, without variation selectors.
func code(hex string) string {
	return strings.ReplaceAll(strings.ToLower(hex), "-fe0f", "")
}

// icons reads a package of Iconify: SVG bodies by name, and names by code points.
func (b Builder) icons(ctx context.Context, p pkg) (map[string]job, error) {
	files, err := p.files(ctx, b.From, func(path string) bool { return path == "icons.json" || path == "chars.json" })
	if err != nil {
		return nil, err
	}
	type icon struct {
		Body          string
		Parent        string
		HFlip, VFlip  bool
		Rotate        int
		Width, Height float64
	}
	var set struct {
		Icons, Aliases map[string]icon
		Width, Height  float64
	}
	var chars map[string]string
	for file, into := range map[string]any{"icons.json": &set, "chars.json": &chars} {
		if err := json.Unmarshal(files[file], into); err != nil {
			return nil, fmt.Errorf("package %s: %s: %w", p, file, err)
		}
	}
	jobs := map[string]job{}
	for hex, name := range chars {
		x, ok := set.Icons[name]
		if alias, is := set.Aliases[name]; !ok && is {
			x, ok = set.Icons[alias.Parent]
			if alias.VFlip || alias.Rotate != 0 {
				ok = false
			}
			x.HFlip = alias.HFlip
		}
		if !ok {
			continue
		}
		w, h := cmp.Or(x.Width, set.Width, 16), cmp.Or(x.Height, set.Height, 16)
		if x.HFlip {
			x.Body = fmt.Sprintf(`<g transform="translate(%v 0) scale(-1 1)">%s</g>`, w, x.Body)
		}
		jobs[code(hex)] = job{svg: fmt.Sprintf(`<svg xmlns="http://www.w3.org/2000/svg" `+
			`xmlns:xlink="http://www.w3.org/1999/xlink" viewBox="0 0 %v %v">%s</svg>`, w, h, x.Body)}
	}
	return jobs, nil
}

// Parts of Unicode's list that the set leaves out, but for the things that names.txt names: letters and signs, flags,
// groups of persons, clocks at every half hour.
var (
	leftOutCategories = []string{"symbols", "flags", "component"}
	leftOutGroups     = []string{"family", "person-symbol", "hair-style", "skin-tone"}
	leftOutLabels     = regexp.MustCompile(`o’clock|-thirty|facing right|head shaking|^(middle finger|hundred points|` +
		`ZZZ|eye in speech bubble|left speech bubble|right anger bubble|map of Japan|hole|anger symbol|seat)$`)
	persons = regexp.MustCompile(`^person|^hand`)
	keyword = regexp.MustCompile(`^[a-z][a-z' -]{1,18}[a-z]$`)
)

// Weights of concepts: those that names.txt has make up some nine tenths of what is drawn.
const (
	favoriteWeight = 8
	everydayWeight = 4
	seldomWeight   = 1
	personWeight   = 0.25 // persons and hands, most of which come as person, man and woman
)

// concepts reads Unicode's list and the keywords.
func (b Builder) concepts(ctx context.Context) ([]concept, error) {
	files, err := emojibase.files(ctx, b.From, func(path string) bool {
		return path == "en/data.json" || path == "meta/groups.json"
	})
	if err != nil {
		return nil, err
	}
	type entry struct {
		Label, Hexcode, Emoji string
		Tags                  []string
		Group, Subgroup       *int
		Order                 int
	}
	var list []entry
	var groups struct{ Groups, Subgroups map[string]string }
	for file, into := range map[string]any{"en/data.json": &list, "meta/groups.json": &groups} {
		if err := json.Unmarshal(files[file], into); err != nil {
			return nil, fmt.Errorf("package %s: %s: %w", emojibase, file, err)
		}
	}
	files, err = emojilib.files(ctx, b.From, func(path string) bool { return path == "dist/emoji-en-US.json" })
	if err != nil {
		return nil, err
	}
	var keywords map[string][]string
	if err := json.Unmarshal(files["dist/emoji-en-US.json"], &keywords); err != nil {
		return nil, fmt.Errorf("package %s: %w", emojilib, err)
	}
	byLabel := known()
	slices.SortFunc(list, func(a, b entry) int { return cmp.Compare(a.Order, b.Order) })
	var concepts []concept
	for _, e := range list {
		if e.Group == nil || e.Subgroup == nil {
			continue
		}
		n, ok := byLabel[e.Label]
		c := concept{
			code: code(e.Hexcode), label: e.Label, names: n.names, weight: n.weight,
			category: groups.Groups[fmt.Sprint(*e.Group)], group: groups.Subgroups[fmt.Sprint(*e.Subgroup)],
		}
		if !ok {
			if slices.Contains(leftOutCategories, c.category) || slices.Contains(leftOutGroups, c.group) ||
				leftOutLabels.MatchString(c.label) {
				continue
			}
			c.names, c.weight = []string{guessedName(c.label)}, seldomWeight
			if persons.MatchString(c.group) {
				c.weight = personWeight
			}
		}
		for _, k := range append(slices.Clone(e.Tags), keywords[e.Emoji]...) {
			k = strings.ToLower(strings.ReplaceAll(k, "_", " "))
			known := slices.Contains(c.keywords, k) || slices.Contains(c.names, k)
			if keyword.MatchString(k) && !known && len(c.keywords) < 10 {
				c.keywords = append(c.keywords, k)
			}
		}
		concepts = append(concepts, c)
	}
	return concepts, nil
}

// pictures makes the pictures, a batch at a time, and returns their metadata and those that could not be drawn.
func (b Builder) pictures(ctx context.Context, dir string, jobs []job) (made []Picture, leftOut []string, err error) {
	for _, style := range Styles {
		if err := os.MkdirAll(filepath.Join(dir, style), 0o755); err != nil {
			return nil, nil, err
		}
	}
	made = make([]Picture, len(jobs))
	const batch = 256
	for first := 0; first < len(jobs); first += batch {
		part := jobs[first:min(first+batch, len(jobs))]
		var svgs []string
		for _, j := range part {
			if j.svg != "" {
				svgs = append(svgs, j.svg)
			}
		}
		var drawn []*image.RGBA
		if len(svgs) > 0 {
			if drawn, err = b.svg(ctx, b.From, 2*pixels, svgs); err != nil {
				return nil, nil, err
			}
		}
		pictures := make([]image.Image, len(part))
		for i, j := range part {
			if j.svg != "" {
				pictures[i], drawn = drawn[0], drawn[1:]
			}
		}
		err = parallel(ctx, len(part), func(i int) (err error) {
			if pictures[i] == nil {
				if pictures[i], err = webp.Decode(bytes.NewReader(part[i].webp)); err != nil {
					return fmt.Errorf("%s of %s: %w", part[i].concept.code, part[i].style, err)
				}
			}
			made[first+i], err = write(dir, part[i], pictures[i])
			return err
		})
		if err != nil {
			return nil, nil, err
		}
		if b.Progress != nil {
			b.Progress(first+len(part), len(jobs))
		}
	}
	for i := range made {
		if made[i].File == "" {
			leftOut = append(leftOut, jobs[i].concept.label+", "+jobs[i].style)
		}
	}
	return slices.DeleteFunc(made, func(p Picture) bool { return p.File == "" }), leftOut, nil
}

// parallel calls f with 0 to n-1 on all processors and returns their errors.
func parallel(ctx context.Context, n int, f func(i int) error) error {
	errs := make([]error, n)
	var next atomic.Int64
	var running sync.WaitGroup
	for range runtime.GOMAXPROCS(0) {
		running.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				if errs[i] = context.Cause(ctx); errs[i] != nil {
					return
				}
				if errs[i] = f(i); errs[i] != nil {
					return
				}
			}
		})
	}
	running.Wait()
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

// write trims a picture, scales it and writes it. A picture with nothing in it is left out.
func write(dir string, j job, m image.Image) (Picture, error) {
	trimmed := trim(m)
	if trimmed == nil {
		return Picture{}, nil
	}
	c := j.concept
	name := bare(c.names[0])
	p := Picture{
		File: j.style + "/" + c.code + ".png", Text: withArticle(c.names[0]) + ", " + j.style + " style",
		Name: name, Names: c.names, Keywords: append([]string{}, c.keywords...), Label: c.label,
		Category: c.category, Group: c.group, Style: j.style, Concept: c.code, Weight: c.weight, Split: "train",
	}
	if styleHeldOut(name) == j.style {
		p.Split = "test"
	}
	small := scaled(trimmed, 48)
	t := tintOf(small)
	p.Color, p.Edge = t.word(), edge(small).array()
	if t.recolorable() {
		p.Tint = t.array()
	}
	file := filepath.Join(dir, filepath.FromSlash(p.File))
	return p, atomicfile.Write(file, func(w io.Writer) error {
		return (&png.Encoder{}).Encode(w, scaled(trimmed, pixels))
	})
}

// trim cuts off what is all but transparent; nil means that nothing is left.
func trim(m image.Image) *image.RGBA {
	all := image.NewRGBA(image.Rectangle{Max: m.Bounds().Size()})
	draw.Draw(all, all.Rect, m, m.Bounds().Min, draw.Src)
	var box image.Rectangle
	for y := range all.Rect.Dy() {
		for x := range all.Rect.Dx() {
			if all.Pix[y*all.Stride+4*x+3] > 12 {
				box = box.Union(image.Rect(x, y, x+1, y+1))
			}
		}
	}
	if box.Dx() < 4 || box.Dy() < 4 {
		return nil
	}
	return all.SubImage(box).(*image.RGBA)
}

// scaled returns m with its longer side at size pixels.
func scaled(m *image.RGBA, size int) *image.RGBA {
	w, h := m.Rect.Dx(), m.Rect.Dy()
	if w >= h {
		w, h = size, max(1, (h*size+w/2)/w)
	} else {
		w, h = max(1, (w*size+h/2)/h), size
	}
	dst := image.NewRGBA(image.Rect(0, 0, w, h))
	if dst.Rect.Size() == m.Rect.Size() {
		draw.Draw(dst, dst.Rect, m, m.Rect.Min, draw.Src)
	} else {
		draw.CatmullRom.Scale(dst, dst.Rect, m, m.Rect, draw.Src, nil)
	}
	return dst
}

// describe writes the metadata and where everything is from.
func (b Builder) describe(dir string, made []Picture, leftOut []string) (Info, error) {
	info := Info{Version: version, Pictures: len(made), Pixels: pixels, LeftOut: leftOut}
	styles, concepts := map[string]int{}, map[string]bool{}
	for _, p := range made {
		styles[p.Style]++
		concepts[p.Concept] = true
	}
	info.Concepts = len(concepts)
	for _, p := range packages {
		s := Source{Package: p.name, Version: p.version, License: p.license, Notice: p.notice}
		if i := slices.IndexFunc([]pkg{noto, twemoji, fluentFlat, fluent3D},
			func(q pkg) bool { return q == p }); i >= 0 {
			s.Style, s.Pictures = Styles[i], styles[Styles[i]]
		}
		info.Sources = append(info.Sources, s)
	}
	err := atomicfile.Write(filepath.Join(dir, captioned.Metadata), func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		for _, p := range made {
			if err := e.Encode(p); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return info, err
	}
	err = atomicfile.Write(filepath.Join(dir, "NOTICE.md"), func(w io.Writer) error {
		_, err := io.WriteString(w, info.notice())
		return err
	})
	if err != nil {
		return info, err
	}
	return info, atomicfile.WriteJSON(filepath.Join(dir, infoName), info)
}

// notice says whose the pictures and words are.
func (i Info) notice() string {
	var b strings.Builder
	fmt.Fprintf(&b, `# Where this set is from

%d pictures of %d things, cut to their outlines, scaled to %d pixels and given captions by
'unnoise dataset emoji'.

| package | version | licence | what |
|---|---|---|---|
`, i.Pictures, i.Concepts, i.Pixels)
	for _, s := range i.Sources {
		what := s.Notice
		if s.Style != "" {
			what = fmt.Sprintf("%s: %d pictures, %s style, changed in size", s.Notice, s.Pictures, s.Style)
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", s.Package, s.Version, s.License, what)
	}
	b.WriteString(`
Who passes pictures of this set on keeps these notices: the Apache License 2.0, Creative Commons Attribution 4.0 and the
MIT License ask for them.
`)
	return b.String()
}
