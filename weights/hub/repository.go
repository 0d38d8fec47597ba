package hub

import (
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/unnoise/unnoise/internal/hubfile"
	"github.com/unnoise/unnoise/internal/otherfile"
	"github.com/unnoise/unnoise/weights"
)

// file is a file of a repository.
type file struct {
	name string // with slashes
	size int64
	hash string // in hexadecimal: the SHA-256 of a large file, the SHA-1 of the git object of another
}

// sum starts a sum that ends in the file's hash.
func (f file) sum() hash.Hash {
	if len(f.hash) == 2*sha256.Size {
		return sha256.New()
	}
	h := sha1.New()
	fmt.Fprintf(h, "blob %d\x00", f.size)
	return h
}

// repository is one commit of a repository.
type repository struct {
	name, commit string
	files        map[string]file
}

var (
	sha1Name   = commitName
	sha256Name = regexp.MustCompile(`^[0-9a-f]{64}$`)
)

// maxSize bounds the sizes that a hub may claim: 16 TiB.
const maxSize = 1 << 44

// list asks what files a revision has.
func (c *Client) list(ctx context.Context, repo, revision string, failed func(error)) (repository, error) {
	var answer struct {
		SHA      string `json:"sha"`
		Siblings []struct {
			Name string `json:"rfilename"`
			Size int64  `json:"size"`
			Blob string `json:"blobId"`
			LFS  *struct {
				SHA256 string `json:"sha256"`
				Size   int64  `json:"size"`
			} `json:"lfs"`
		} `json:"siblings"`
	}
	address := "/api/models/" + repo + "/revision/" + url.PathEscape(revision) + "?blobs=true"
	if err := c.getJSON(ctx, repo, address, failed, &answer); err != nil {
		return repository{}, err
	}
	lie := func(format string, args ...any) (repository, error) {
		return repository{}, fmt.Errorf("what the hub says of %s can't be right: %s", repo,
			fmt.Sprintf(format, args...))
	}
	if !commitName.MatchString(answer.SHA) || commitName.MatchString(revision) && revision != answer.SHA {
		return lie("its commit is %.50q", answer.SHA)
	}
	r := repository{repo, answer.SHA, map[string]file{}}
	for _, s := range answer.Siblings {
		f := file{s.Name, s.Size, s.Blob}
		if s.LFS != nil {
			f.size, f.hash = s.LFS.Size, s.LFS.SHA256
		}
		switch {
		case !filepath.IsLocal(f.name) || path.Clean(f.name) != f.name || strings.ContainsAny(f.name, "\\:\x00\n"):
			return lie("a file is called %.200q", f.name)
		case f.size < 0 || f.size > maxSize:
			return lie("%s has %d bytes", f.name, f.size)
		case s.LFS == nil && !sha1Name.MatchString(f.hash) || s.LFS != nil && !sha256Name.MatchString(f.hash):
			return lie("%s has the hash %.80q", f.name, f.hash)
		}
		if _, twice := r.files[f.name]; twice {
			return lie("it has %s twice", f.name)
		}
		r.files[f.name] = f
	}
	return r, nil
}

// address is where a file is fetched.
func (r repository) address(f file) string {
	return "/" + r.name + "/resolve/" + r.commit + "/" + (&url.URL{Path: f.name}).EscapedPath()
}

// find returns files by their names.
func (r repository) find(names ...string) ([]file, error) {
	var found []file
	for _, name := range names {
		f, ok := r.files[name]
		if !ok {
			return nil, fmt.Errorf("%s has no %s", r.name, name)
		}
		found = append(found, f)
	}
	return found, nil
}

// in returns the names of the files in a folder, without those in folders of it.
func (r repository) in(dir string) (names []string) {
	for name := range r.files {
		if path.Dir(name) == dir {
			names = append(names, path.Base(name))
		}
	}
	slices.Sort(names)
	return names
}

// IndexFile says what parts a pipeline's folder has.
const IndexFile = hubfile.Index

// parts are those of a pipeline that are read, with the file that each must have, or the other in its place. Those that
// read texts are not read of a second stage.
var parts = []struct {
	name, needs, or string
	weights, texts  bool
}{
	{"tokenizer", "spiece.model", "tokenizer.json", false, true},
	{"text_encoder", hubfile.Network, "", true, true},
	{"unet", hubfile.Network, "", true, false},
	{"scheduler", hubfile.Scheduler, "", false, false},
	{"image_noising_scheduler", hubfile.Scheduler, "", false, false},
}

// index is a model_index.json: the class of a pipeline, and those of its parts that are not null.
type index struct {
	class string
	parts map[string]string
}

// readIndex reads a folder's model_index.json, which must be a pipeline's of DeepFloyd IF.
func readIndex(dir string) (index, error) {
	path := filepath.Join(dir, IndexFile)
	data, err := os.ReadFile(path)
	if err != nil {
		return index{}, fmt.Errorf("reading a pipeline's index: %w", err)
	}
	x, err := parseIndex(data)
	if err != nil {
		return index{}, fmt.Errorf("%s: %w", path, err)
	}
	return x, nil
}

func parseIndex(data []byte) (index, error) {
	var settings map[string]json.RawMessage
	if err := json.Unmarshal(data, &settings); err != nil {
		return index{}, fmt.Errorf("it is no pipeline's index: %w", otherfile.Explain(data, err))
	}
	x := index{parts: map[string]string{}}
	err := json.Unmarshal(settings["_class_name"], &x.class)
	if _, known := hubfile.SuperResolution[x.class]; err != nil || !known {
		return index{}, fmt.Errorf("its _class_name is %.80s, expected a pipeline of DeepFloyd IF such as "+
			"\"IFPipeline\"", settings["_class_name"])
	}
	for name, value := range settings {
		var pair []*string // a library and a class
		if json.Unmarshal(value, &pair) == nil && len(pair) == 2 && pair[1] != nil {
			x.parts[name] = *pair[1]
		}
	}
	if x.parts["unet"] == "" {
		return index{}, errors.New("it has no unet")
	}
	return x, nil
}

// choose returns the files of the parts that are read, without the shards of weights, and the indices whose shards are
// to be fetched.
func (r repository) choose(x index, variant string, without []string) (files, indices []file, err error) {
	for _, p := range parts {
		if x.parts[p.name] == "" || slices.Contains(without, p.name) || p.texts && hubfile.SuperResolution[x.class] {
			continue
		}
		var names []string
		inside := r.in(p.name)
		if !slices.Contains(inside, p.needs) && !slices.Contains(inside, p.or) {
			return nil, nil, fmt.Errorf("%s has no %s/%s, though its %s names a %s", r.name, p.name, p.needs, IndexFile,
				p.name)
		}
		for _, name := range inside {
			if name == p.needs || strings.HasSuffix(name, ".json") && !strings.Contains(name, ".index.") {
				names = append(names, p.name+"/"+name)
			}
		}
		if p.weights {
			name, err := weights.Choose(r.name+"/"+p.name, inside, variant)
			if err != nil {
				return nil, nil, err
			}
			names = append(names, p.name+"/"+name)
		}
		found, err := r.find(names...)
		if err != nil {
			return nil, nil, err
		}
		for _, f := range found {
			if strings.Contains(f.name, ".index.") {
				indices = append(indices, f)
			}
			files = append(files, f)
		}
	}
	return files, indices, nil
}
