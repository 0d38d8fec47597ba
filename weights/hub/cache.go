package hub

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
)

// home is the folder of the hub's programs.
func home() (string, error) {
	if dir := variable("HF_HOME"); dir != "" {
		return dir, nil
	}
	cache := variable("XDG_CACHE_HOME")
	if cache == "" {
		own := homeOf("")
		if own == "" {
			return "", errors.New("finding the hub's cache: there is no home folder; set HF_HOME")
		}
		cache = filepath.Join(own, ".cache")
	}
	return filepath.Join(cache, "huggingface"), nil
}

// CacheDir is the cache that the hub's programs share.
func CacheDir() (string, error) {
	if dir := variable("HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"); dir != "" {
		return dir, nil
	}
	dir, err := home()
	return filepath.Join(dir, "hub"), err
}

var (
	repoName     = regexp.MustCompile(`^[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}$`)
	revisionName = regexp.MustCompile(`^[A-Za-z0-9][\w./-]{0,254}$`)
	commitName   = regexp.MustCompile(`^[0-9a-f]{40}$`)
)

// IsRepo reports whether a text can be a repository's name, OWNER/NAME.
func IsRepo(name string) bool {
	return repoName.MatchString(name) && !strings.Contains(name, "..") && !strings.Contains(name, "--")
}

func check(repo, revision string) error {
	if !IsRepo(repo) {
		return fmt.Errorf("%q is not a repository's name: expected OWNER/NAME, such as DeepFloyd/IF-I-M-v1.0", repo)
	}
	if !revisionName.MatchString(revision) || !filepath.IsLocal(revision) || strings.Contains(revision, "..") {
		return fmt.Errorf("%q is not a revision: expected a branch, a tag or a commit", revision)
	}
	return nil
}

// folder is where a cache keeps a repository.
func folder(cache, repo string) string {
	return filepath.Join(cache, "models--"+strings.ReplaceAll(repo, "/", "--"))
}

// Cached returns the folder of a repository's revision in the cache. Where there is none the error is an
// [os.ErrNotExist].
func Cached(repo, revision string) (string, error) {
	if err := check(repo, revision); err != nil {
		return "", err
	}
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	dir := folder(cache, repo)
	if _, err := os.Stat(dir); errors.Is(err, os.ErrNotExist) {
		return "", missing(fmt.Sprintf("the cache %s has no %s", cache, repo))
	}
	return snapshot(dir, revision)
}

// missing is an [os.ErrNotExist] with a text of its own.
type missing string

func (m missing) Error() string { return string(m) }
func (missing) Unwrap() error   { return os.ErrNotExist }

// Snapshot returns the folder of the model in a cache's folder of a repository (models--OWNER--NAME): of its main
// revision, or the only one there is. ok reports whether dir is such a folder.
func Snapshot(dir string) (model string, ok bool, err error) {
	if info, err := os.Stat(filepath.Join(dir, "snapshots")); err != nil || !info.IsDir() ||
		!strings.HasPrefix(filepath.Base(dir), "models--") {
		return "", false, nil
	}
	model, err = snapshot(dir, "main")
	if errors.Is(err, os.ErrNotExist) {
		if commits := list(dir, "snapshots"); len(commits) == 1 && len(list(dir, "refs")) == 0 {
			model, err = snapshot(dir, commits[0])
		}
	}
	return model, true, err
}

// snapshot returns the folder of a revision in a cache's folder of a repository.
func snapshot(dir, revision string) (string, error) {
	commit := revision
	if !commitName.MatchString(revision) {
		ref := filepath.Join(dir, "refs", filepath.FromSlash(revision))
		data, err := os.ReadFile(ref)
		if errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("%s has no revision %s, only %s: %w", dir, revision, there(dir), os.ErrNotExist)
		}
		if err != nil {
			return "", fmt.Errorf("looking for a model in the cache: %w", err)
		}
		if commit = strings.TrimSpace(string(data)); !commitName.MatchString(commit) {
			return "", fmt.Errorf("%s names the commit %.50q, which is none: is it damaged?", ref, commit)
		}
	}
	model := filepath.Join(dir, "snapshots", commit)
	if _, err := os.Stat(model); errors.Is(err, os.ErrNotExist) {
		return "", fmt.Errorf("%s has nothing of revision %s, whose folder would be %s, only %s: %w", dir, revision,
			model, there(dir), os.ErrNotExist)
	} else if err != nil {
		return "", fmt.Errorf("looking for a model in the cache: %w", err)
	}
	return model, whole(model)
}

// there names what a repository's folder in a cache has.
func there(dir string) string {
	var words []string
	for _, ref := range list(dir, "refs") {
		words = append(words, "the revision "+ref)
	}
	for _, commit := range list(dir, "snapshots") {
		words = append(words, "the folder "+filepath.Join(dir, "snapshots", commit)+", which may be given as the model")
	}
	if words == nil {
		return "parts of downloads"
	}
	return strings.Join(words, " and ")
}

// list names what is in a folder.
func list(dir ...string) (names []string) {
	entries, _ := os.ReadDir(filepath.Join(dir...))
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// whole refuses a snapshot with links to blobs that are gone.
func whole(model string) error {
	return filepath.WalkDir(model, func(path string, e os.DirEntry, err error) error {
		if err != nil {
			return fmt.Errorf("looking for a model in the cache: %w", err)
		}
		if e.Type()&os.ModeSymlink == 0 {
			return nil
		}
		if _, err := os.Stat(path); errors.Is(err, os.ErrNotExist) {
			target, _ := os.Readlink(path)
			return fmt.Errorf("%s leads to %s, which is gone: fetch the model again: %w", path,
				filepath.Join(filepath.Dir(path), target), os.ErrNotExist)
		}
		return nil
	})
}
