package hub

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io"
	"net/http"
	"os"
	"path"
	"path/filepath"
	"slices"

	"github.com/unnoise/unnoise/internal/atomicfile"
	"github.com/unnoise/unnoise/internal/disk"
	"github.com/unnoise/unnoise/internal/filelock"
	"github.com/unnoise/unnoise/weights"
)

// Options say what of a repository is fetched, and where to.
type Options struct {
	Repo     string   // OWNER/NAME
	Revision string   // a branch, a tag or a commit
	Variant  string   // of the weights, such as fp16; empty: those without a variant, or the only one
	Without  []string // names of parts to leave out
	Out      string   // a plain folder; empty: the cache
	Report   func(Progress)
}

// Progress tells how far a transfer is.
type Progress struct {
	File        string
	Done, Total int64 // bytes of all files that are known by now
	Fetched     int64 // of Done, what came over the network
	Retry       error // why something is tried again, once; nil otherwise
}

// Result is what was fetched.
type Result struct {
	Dir            string
	Files          int
	Total, Fetched int64 // bytes in all, and what of them came over the network
}

// Check tells what is wrong with the options, before anything is asked of the hub.
func (o Options) Check() error {
	for _, name := range o.Without {
		if !slices.Contains([]string{"tokenizer", "text_encoder", "image_noising_scheduler"}, name) {
			return fmt.Errorf("the part %q can't be left out: expected tokenizer, text_encoder or "+
				"image_noising_scheduler", name)
		}
	}
	return check(o.Repo, o.Revision)
}

// Pull fetches what Unnoise reads of a pipeline: model_index.json and its parts' configurations, vocabularies and
// weights in safetensors. Each file's size and hash are checked before it gets its name; a transfer that broke off is
// gone on with, by the next call too.
func (c *Client) Pull(ctx context.Context, o Options) (Result, error) {
	if err := o.Check(); err != nil {
		return Result{}, err
	}
	if o.Report == nil {
		o.Report = func(Progress) {}
	}
	if c.offline {
		return c.local(ctx, o)
	}
	p := pull{Client: c, report: o.Report}
	var err error
	if p.repo, err = c.list(ctx, o.Repo, o.Revision, p.failed); err != nil {
		return Result{}, err
	}
	dir := o.Out
	if dir == "" {
		cache, err := CacheDir()
		if err != nil {
			return Result{}, err
		}
		p.cache = folder(cache, o.Repo)
		dir = filepath.Join(p.cache, "snapshots", p.repo.commit)
	}
	p.dir = dir
	if err := p.pull(ctx, o); err != nil {
		return Result{}, err
	}
	if p.cache != "" && o.Revision != p.repo.commit {
		ref := filepath.Join(p.cache, "refs", filepath.FromSlash(o.Revision))
		if err := os.MkdirAll(filepath.Dir(ref), 0o755); err != nil {
			return Result{}, err
		}
		err := atomicfile.Write(ref, func(w io.Writer) error { _, err := io.WriteString(w, p.repo.commit); return err })
		if err != nil {
			return Result{}, err
		}
	}
	return Result{dir, p.files, p.progress.Total, p.progress.Fetched}, nil
}

// local finds in the cache what Pull would fetch.
func (c *Client) local(ctx context.Context, o Options) (Result, error) {
	const offline = "nothing is fetched, since HF_HUB_OFFLINE or TRANSFORMERS_OFFLINE is set"
	if o.Out != "" {
		return Result{}, fmt.Errorf("%s: unset it to fetch to %s", offline, o.Out)
	}
	dir, err := Cached(o.Repo, o.Revision)
	if err != nil {
		return Result{}, fmt.Errorf("%s, and %w", offline, err)
	}
	p := pull{Client: c, report: o.Report, dir: dir, repo: repository{name: "the folder " + dir,
		files: map[string]file{}}}
	err = filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := os.Stat(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(dir, path)
		p.repo.files[filepath.ToSlash(name)] = file{name: filepath.ToSlash(name), size: info.Size()}
		return err
	})
	if err == nil {
		err = p.pull(ctx, o)
	}
	if err != nil {
		return Result{}, fmt.Errorf("%s, and the cache does not have all: %w", offline, err)
	}
	return Result{dir, p.files, p.progress.Total, 0}, nil
}

// pull is one call of Pull.
type pull struct {
	*Client
	repo     repository
	dir      string
	cache    string // the repository's folder in the cache; empty: dir is a plain folder
	report   func(Progress)
	progress Progress
	files    int
}

func (p *pull) failed(err error) {
	now := p.progress
	now.Retry = err
	p.report(now)
}

func (p *pull) pull(ctx context.Context, o Options) error {
	index, err := p.repo.find(IndexFile)
	if err != nil {
		return fmt.Errorf("%w: it is no pipeline in diffusers' layout", err)
	}
	if err := p.fetchAll(ctx, index); err != nil {
		return err
	}
	x, err := readIndex(p.dir)
	if err != nil {
		return err
	}
	files, indices, err := p.repo.choose(x, o.Variant, o.Without)
	if err != nil {
		return err
	}
	if err := p.fetchAll(ctx, indices); err != nil {
		return err
	}
	for _, index := range indices {
		files = slices.DeleteFunc(files, func(f file) bool { return f == index })
		folder := path.Dir(index.name)
		names, err := weights.Shards(filepath.Join(p.dir, filepath.FromSlash(index.name)))
		if err != nil {
			return err
		}
		for i, name := range names {
			names[i] = path.Join(folder, name)
		}
		shards, err := p.repo.find(names...)
		if err != nil {
			return fmt.Errorf("%w, which %s names", err, index.name)
		}
		files = append(files, shards...)
	}
	return p.fetchAll(ctx, files)
}

// place is where a file's bytes lie when they are all there.
func (p *pull) place(f file) string {
	if p.cache != "" {
		return filepath.Join(p.cache, "blobs", f.hash) // named by hashes
	}
	return filepath.Join(p.dir, filepath.FromSlash(f.name))
}

// there is how many of a file's bytes need no more room: those of it, or of what there is of it.
func (p *pull) there(f file) int64 {
	if info, err := os.Stat(p.place(f)); err == nil && info.Size() == f.size {
		return f.size
	}
	if info, err := os.Stat(p.place(f) + incomplete); err == nil {
		return min(info.Size(), f.size)
	}
	return 0
}

// incomplete is the ending of a file that is not whole yet.
const incomplete = ".incomplete"

// fetchAll fetches files, one after the other.
func (p *pull) fetchAll(ctx context.Context, files []file) error {
	missing := int64(0)
	for _, f := range files {
		if path.Ext(f.name) == ".json" && f.size > maxAnswer {
			return fmt.Errorf("%s of %s has %d bytes by what the hub says; want at most %d", f.name, p.repo.name,
				f.size, maxAnswer)
		}
		p.progress.Total += f.size
		missing += f.size - p.there(f)
	}
	if p.offline { // and so there
		p.progress.Done, p.files = p.progress.Total, p.files+len(files)
		return nil
	}
	if err := p.room(missing); err != nil {
		return err
	}
	for _, f := range files {
		p.progress.File = f.name
		p.report(p.progress)
		if err := p.file(ctx, f); ctx.Err() != nil {
			return ctx.Err()
		} else if err != nil {
			return fmt.Errorf("fetching %s of %s: %w", f.name, p.repo.name, err)
		}
		p.files++
	}
	p.report(p.progress)
	return nil
}

// room reports whether the disk has room for so many bytes.
func (p *pull) room(missing int64) error {
	root := p.dir
	if p.cache != "" {
		root = p.cache
	}
	if err := os.MkdirAll(root, 0o755); err != nil {
		return fmt.Errorf("making the folder for %s: %w; choose another one by HF_HOME, or --out", p.repo.name, err)
	}
	if free, ok := free(root); ok && missing > free {
		return fmt.Errorf("%s needs %.1f GB more, and the disk of %s has %.1f GB left", p.repo.name,
			float64(missing)/1e9, root, float64(free)/1e9)
	}
	return nil
}

// file fetches a file to its place, unless it is there.
func (p *pull) file(ctx context.Context, f file) error {
	name := filepath.Join(p.dir, filepath.FromSlash(f.name))
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	if p.cache == "" {
		_, err := os.Stat(name)
		if errors.Is(err, os.ErrNotExist) {
			return p.fetch(ctx, f, name)
		}
		if err != nil {
			return err
		}
		switch same, err := f.is(ctx, name); {
		case err != nil:
			return err
		case same:
			p.progress.Done += f.size
			return nil
		}
		return fmt.Errorf("%s is another file: remove it, or choose another folder", name)
	}
	blob := p.place(f)
	if err := os.MkdirAll(filepath.Dir(blob), 0o755); err != nil {
		return err
	}
	there, err := f.is(ctx, blob) // of another program's download too, which may not have checked it
	if err != nil {
		return err
	}
	if there {
		p.progress.Done += f.size
	} else if err := p.fetch(ctx, f, blob); err != nil {
		return err
	}
	target, err := filepath.Rel(filepath.Dir(name), blob)
	if err != nil {
		return err
	}
	if there, err := os.Readlink(name); err == nil && there == target {
		return nil
	}
	link := name + ".link"
	os.Remove(link)
	if err := os.Symlink(target, link); err != nil {
		return fmt.Errorf("the cache needs links, which this file system may lack: --out fetches to a plain folder (%w)", err)
	}
	return os.Rename(link, name)
}

var free = disk.Free // of which tests see less

// reader stops with its context.
type reader struct {
	ctx context.Context
	io.Reader
}

func (r reader) Read(b []byte) (int, error) {
	if err := r.ctx.Err(); err != nil {
		return 0, err
	}
	return r.Reader.Read(b)
}

// part is a file that is not whole yet.
type part struct {
	*os.File
	of   file
	sum  hash.Hash // of the first done bytes
	done int64
}

func (p *part) restart() error {
	p.sum, p.done = p.of.sum(), 0
	if err := p.Truncate(0); err != nil {
		return err
	}
	_, err := p.Seek(0, io.SeekStart)
	return err
}

// openPart opens what there is of a file at path, or an empty one, for this process alone.
func openPart(ctx context.Context, f file, path string) (*part, error) {
	for {
		opened, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
		if err != nil {
			return nil, err
		}
		p := &part{File: opened, of: f, sum: f.sum()}
		if !filelock.Take(opened) {
			opened.Close()
			return nil, fmt.Errorf("%s is being fetched by another process: wait for it, or stop it first", path)
		}
		if p.done, err = io.Copy(p.sum, reader{ctx, opened}); err != nil {
			opened.Close()
			return nil, err
		}
		// Another process may have finished and renamed it just before the lock.
		here, err1 := opened.Stat()
		there, err2 := os.Stat(path)
		if err1 == nil && err2 == nil && os.SameFile(here, there) {
			if p.done > f.size {
				if err := p.restart(); err != nil {
					opened.Close()
					return nil, err
				}
			}
			return p, nil
		}
		opened.Close()
	}
}

// is reports whether this file is at path.
func (f file) is(ctx context.Context, path string) (bool, error) {
	if info, err := os.Stat(path); err != nil || info.Size() != f.size || !info.Mode().IsRegular() {
		return false, nil
	}
	there, err := os.Open(path)
	if err != nil {
		return false, err
	}
	defer there.Close()
	sum := f.sum()
	if _, err := io.Copy(sum, reader{ctx, there}); err != nil {
		return false, err
	}
	return hex.EncodeToString(sum.Sum(nil)) == f.hash, nil
}

// fetch fetches a file to path by way of path.incomplete.
func (p *pull) fetch(ctx context.Context, f file, path string) error {
	begun := path + incomplete
	part, err := openPart(ctx, f, begun)
	if err != nil {
		return err
	}
	defer part.Close()
	before := p.progress
	for {
		found := part.done
		p.progress.Done = before.Done + part.done
		err := p.retry(ctx, p.failed, func() (bool, error) {
			at := part.done
			err := p.transfer(ctx, part, before.Done)
			return part.done-at >= 1<<20, err
		})
		if err != nil {
			return err
		}
		sum := hex.EncodeToString(part.sum.Sum(nil))
		if sum == f.hash {
			break
		}
		if err := part.restart(); err != nil {
			return err
		}
		if found == 0 {
			os.Remove(begun)
			return fmt.Errorf("what came has the hash %s, and the hub says %s: it was damaged on the way, or it is "+
				"another file", sum, f.hash)
		}
		p.failed(errors.New("what was there of " + f.name + " is not a part of it; fetching all of it"))
	}
	if err := part.Sync(); err != nil {
		return err
	}
	info, err := part.Stat()
	if err != nil {
		return err
	}
	if info.Size() != f.size {
		return fmt.Errorf("%s has %d bytes, %d were fetched: another program writes to it too", begun, info.Size(),
			f.size)
	}
	return os.Rename(begun, path)
}

// transfer fetches what is missing of a part, or some of it.
func (p *pull) transfer(ctx context.Context, part *part, before int64) error {
	f := part.of
	if part.done == f.size {
		return nil
	}
	return p.get(ctx, p.repo.name, p.repo.address(f), part.done, func(resp *http.Response) error {
		switch {
		case resp.StatusCode == http.StatusRequestedRangeNotSatisfiable:
			if err := part.restart(); err != nil {
				return err
			}
			return temporary{error: errors.New("the hub does not go on in the middle of the file")}
		case resp.StatusCode == http.StatusPartialContent:
			if want := fmt.Sprintf("bytes %d-%d/%d", part.done, f.size-1, f.size); part.done == 0 ||
				resp.Header.Get("Content-Range") != want {
				return fmt.Errorf("the hub answers with %q, expected %q", resp.Header.Get("Content-Range"), want)
			}
		case part.done > 0: // all of it, though a part was asked for
			if err := part.restart(); err != nil {
				return err
			}
		}
		buffer := make([]byte, 1<<20)
		for {
			n, err := resp.Body.Read(buffer)
			if int64(n) > f.size-part.done {
				return fmt.Errorf("the hub sends more than the %d bytes that it says the file has", f.size)
			}
			if _, err := part.Write(buffer[:n]); err != nil {
				return err
			}
			part.sum.Write(buffer[:n])
			part.done += int64(n)
			p.progress.Done = before + part.done
			p.progress.Fetched += int64(n)
			if n > 0 {
				p.report(p.progress)
			}
			switch {
			case err == io.EOF && part.done == f.size:
				return nil
			case err == io.EOF:
				return temporary{error: fmt.Errorf("the connection ended after %d of %d bytes", part.done, f.size)}
			case err != nil:
				return temporary{error: fmt.Errorf("after %d of %d bytes: %w", part.done, f.size, err)}
			}
		}
	})
}
