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
	if dir := os.Getenv("HF_HOME"); dir != "" {
		return dir, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the hub's cache: %w; set HF_HOME", err)
	}
	return filepath.Join(cache, "huggingface"), nil
}

// CacheDir is the cache that the hub's programs share.
func CacheDir() (string, error) {
	if dir := os.Getenv("HF_HUB_CACHE"); dir != "" {
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

// IsRepo tells whether a text can be a repository's name, OWNER/NAME.
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

// Cached returns the folder of a repository's revision in the cache. Where there is none the error is an [os.ErrNotExist].
func Cached(repo, revision string) (string, error) {
	if err := check(repo, revision); err != nil {
		return "", err
	}
	cache, err := CacheDir()
	if err != nil {
		return "", err
	}
	commit := revision
	if !commitName.MatchString(revision) {
		data, err := os.ReadFile(filepath.Join(folder(cache, repo), "refs", revision))
		if errors.Is(err, os.ErrNotExist) {
			return "", fmt.Errorf("the cache %s has no %s, revision %s: %w", cache, repo, revision, os.ErrNotExist)
		}
		if err != nil {
			return "", fmt.Errorf("looking for %s in the cache: %w", repo, err)
		}
		if commit = strings.TrimSpace(string(data)); !commitName.MatchString(commit) {
			return "", fmt.Errorf("%s names the commit %.50q, which is none: is it damaged?", filepath.Join(folder(cache, repo), "refs", revision), commit)
		}
	}
	dir := filepath.Join(folder(cache, repo), "snapshots", commit)
	if _, err := os.Stat(dir); err != nil {
		return "", fmt.Errorf("looking for %s in the cache: %w", repo, err)
	}
	return dir, nil
}
