package emoji

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha512"
	_ "embed"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"image"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"github.com/unnoise/unnoise/internal/atomicfile"
	"github.com/unnoise/unnoise/internal/cachedir"
)

// pkg is an npm package the set is made of.
type pkg struct {
	name, version string
	integrity     string // as npm's lock files have it
	license       string // of what is taken from it
	notice        string
}

var (
	noto = pkg{"@iconify-json/noto", "1.2.9",
		"sha512-DQiuXENbun41ch+XPSV55H9FaWKpHTyz46YIKtSaKYD4fIDDzL1tR6H4np/T38jfrTAeI3rcKF0mqHYeZVAuaw==",
		"Apache-2.0", "Noto Emoji, © Google Inc."}
	twemoji = pkg{"@iconify-json/twemoji", "1.2.5",
		"sha512-uKpuIEV0v6K5BW3Mjdyl+XKFVAbbcPxAgifKvEMtZoUZB5+YiY5zaMm2uNNCxyXzAWU9yNLlj41WU6/mvgALsw==",
		"CC-BY-4.0", "Twemoji, © Twitter, Inc. and other contributors"}
	fluentFlat = pkg{"@iconify-json/fluent-emoji-flat", "1.2.6",
		"sha512-RY47RgPb47fYUiyrA64sIOL0+UU02s29sXpNBbIQRBUlPlfNFTKUmZDERGuxDs/7yNGWqQYvuaSYM1M4fRXlUw==",
		"MIT", "Fluent Emoji, © Microsoft Corporation"}
	fluent3D = pkg{"@lobehub/fluent-emoji-3d", "1.1.0",
		"sha512-Wlq2lVStTnr8BDpIJ0pEnTKO4LuDxxqTEhTvRtD1DLRF0me7ogeRQjKoehDHXuVJ2Qaecgl5wRBv60lUAG3h7g==",
		"MIT", "Fluent Emoji, © Microsoft Corporation, packed by LobeHub"}
	emojilib = pkg{"emojilib", "4.0.3",
		"sha512-KbWiYre9aRSaPbHrHZIz9zmoM+21LAsK1VFJtnTh1VCtWE/rNMDviGhQTmselFl95dhqtGlY22iH0leG5BuW0g==",
		"MIT", "keywords, © Mu-An Chiou"}
	emojibase = pkg{"emojibase-data", "17.0.0",
		"sha512-Yvgb5AWoHViHV/gq1qr5ZAarcBip+B27/ZLRsUJkbgAEaLlZ/fof9g882LTpmEpyhBNEC0m2SEmItljHsTygjA==",
		"MIT", "names and categories, © Miles Johnson"}
	resvg = pkg{"@resvg/resvg-wasm", "2.6.2",
		"sha512-FqALmHI8D4o6lk/LRWDnhw95z5eO+eAa6ORjVg09YRR7BkcM6oPHU9uyC0gtQG5vpFLvgpeU4+zEAz2H8APHNw==",
		"MPL-2.0", "rasterizes the SVG pictures; nothing of it is in the set"}

	packages = []pkg{noto, twemoji, fluentFlat, fluent3D, emojilib, emojibase, resvg}
)

func (p pkg) String() string { return p.name + "@" + p.version }

// files returns those files of the package that want accepts, by their path in it.
func (p pkg) files(ctx context.Context, from string, want func(path string) bool) (map[string][]byte, error) {
	if from != "" {
		return p.unpacked(filepath.Join(from, filepath.FromSlash(p.name)), want)
	}
	archive, err := p.fetch(ctx)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	z, err := gzip.NewReader(bytes.NewReader(archive))
	if err != nil {
		return nil, fmt.Errorf("package %s: %w", p, err)
	}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if err == io.EOF {
			return files, nil
		}
		if err != nil {
			return nil, fmt.Errorf("package %s: %w", p, err)
		}
		_, path, _ := strings.Cut(h.Name, "/") // npm's archives have all in one folder
		if h.Typeflag == tar.TypeReg && want(path) {
			if files[path], err = io.ReadAll(t); err != nil {
				return nil, fmt.Errorf("package %s: %s: %w", p, path, err)
			}
		}
	}
}

// unpacked reads the files of a package that someone has unpacked, as npm install does.
func (p pkg) unpacked(dir string, want func(path string) bool) (map[string][]byte, error) {
	text, err := os.ReadFile(filepath.Join(dir, "package.json"))
	if err != nil {
		return nil, fmt.Errorf("expected package %s unpacked in %s: %w", p, dir, err)
	}
	var found struct{ Version string }
	if err := json.Unmarshal(text, &found); err != nil {
		return nil, fmt.Errorf("%s: %w", filepath.Join(dir, "package.json"), err)
	}
	if found.Version != p.version {
		return nil, fmt.Errorf("%s: expected version %s, found %q", dir, p.version, found.Version)
	}
	files := map[string][]byte{}
	root := os.DirFS(dir)
	return files, fs.WalkDir(root, ".", func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && want(path) {
			files[path], err = fs.ReadFile(root, path)
		}
		return err
	})
}

// fetch returns the package's archive, from the cache folder if it is there.
func (p pkg) fetch(ctx context.Context) ([]byte, error) {
	flat := strings.ReplaceAll(strings.TrimPrefix(p.name, "@"), "/", "-") + "-" + p.version + ".tgz" // npm pack's name
	path, err := cachedir.Path("npm", flat)
	if err != nil {
		return nil, err
	}
	if archive, err := os.ReadFile(path); err == nil && p.check(archive) == nil {
		return archive, nil
	}
	npm, err := exec.LookPath("npm")
	if err != nil {
		return nil, fmt.Errorf("fetching %s needs npm, which comes with Node.js: install it, "+
			"or unpack the packages elsewhere and name their folder by --from", p)
	}
	dir, err := os.MkdirTemp("", "unnoise-npm-")
	if err != nil {
		return nil, fmt.Errorf("fetching %s: %w", p, err)
	}
	defer os.RemoveAll(dir)
	if said, err := run(ctx, nil, npm, "pack", p.String(), "--pack-destination", dir, "--loglevel=error"); err != nil {
		return nil, fmt.Errorf("fetching %s: npm pack: %w%s", p, err, said)
	}
	archive, err := os.ReadFile(filepath.Join(dir, flat))
	if err != nil {
		return nil, fmt.Errorf("fetching %s: expected npm pack to write %s: %w", p, flat, err)
	}
	if err := p.check(archive); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("keeping %s: %w", p, err)
	}
	return archive, atomicfile.Write(path, func(w io.Writer) error {
		_, err := w.Write(archive)
		return err
	})
}

func (p pkg) check(archive []byte) error {
	sum := sha512.Sum512(archive)
	if found := "sha512-" + base64.StdEncoding.EncodeToString(sum[:]); found != p.integrity {
		return fmt.Errorf("package %s: expected the integrity %s, found %s", p, p.integrity, found)
	}
	return nil
}

// run runs a program and returns what it said: its output, or its complaint with an error.
func run(ctx context.Context, stdin io.Reader, name string, args ...string) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = stdin, &stdout, &stderr
	if err := cmd.Run(); err != nil {
		if ctx.Err() != nil {
			err = context.Cause(ctx)
		}
		said := strings.TrimSpace(stderr.String())
		if said != "" {
			said = "\n" + said
		}
		return []byte(said), err
	}
	return stdout.Bytes(), nil
}

//go:embed render.mjs
var renderScript []byte

// rasterize draws SVG pictures at a width, by resvg in Node.js: it comes right where rasterizers written in Go do not
// yet (clipped groups, gradients that refer to others, compact arcs).
func rasterize(ctx context.Context, from string, width int, svgs []string) ([]*image.RGBA, error) {
	node, err := exec.LookPath("node")
	if err != nil {
		return nil, errors.New("drawing the SVG pictures needs Node.js (the program node, version 18 or later): " +
			"install it")
	}
	files, err := resvg.files(ctx, from, func(path string) bool {
		return path == "index.mjs" ||
			path == "index_bg.wasm"
	})
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "unnoise-resvg-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	files["render.mjs"] = renderScript
	for name, data := range files {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o644); err != nil {
			return nil, err
		}
	}
	input, err := json.Marshal(svgs)
	if err != nil {
		return nil, err
	}
	said, err := run(ctx, bytes.NewReader(input), node, filepath.Join(dir, "render.mjs"), dir, fmt.Sprint(width))
	if err != nil {
		return nil, fmt.Errorf("drawing SVG pictures in node: %w%s", err, said)
	}
	var pictures []*image.RGBA
	for range svgs {
		if len(said) < 8 {
			return nil, fmt.Errorf("expected %d pictures from node, found %d", len(svgs), len(pictures))
		}
		w, h := int(binary.LittleEndian.Uint32(said)), int(binary.LittleEndian.Uint32(said[4:]))
		said = said[8:]
		if w < 0 || h < 0 || w > 1<<12 || h > 1<<12 || len(said) < 4*w*h {
			return nil, fmt.Errorf("expected a picture from node, found %d×%d pixels and %d bytes", w, h, len(said))
		}
		pictures = append(pictures, &image.RGBA{Pix: said[: 4*w*h : 4*w*h], Stride: 4 * w, Rect: image.Rect(0, 0, w,
			h)})
		said = said[4*w*h:]
	}
	return pictures, nil
}
