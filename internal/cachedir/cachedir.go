// Package cachedir tells where the program keeps what it can make or fetch again.
package cachedir

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// Path returns a place in the program's folder of the user's cache folder: XDG_CACHE_HOME, which counts only where it
// is absolute, or ~/.cache. It may be one that can't be written to.
func Path(elem ...string) (string, error) {
	dir := os.Getenv("XDG_CACHE_HOME")
	if !filepath.IsAbs(dir) {
		home, err := os.UserHomeDir()
		if err != nil {
			return "", fmt.Errorf("finding the cache folder: %w", err)
		}
		dir = filepath.Join(home, ".cache")
	}
	return filepath.Join(append([]string{dir, "unnoise"}, elem...)...), nil
}

// Check tells why nothing can be kept in a folder, which need not be there yet.
func Check(dir string) error {
	there := dir
	for {
		_, err := os.Stat(there)
		if above := filepath.Dir(there); errors.Is(err, fs.ErrNotExist) && above != there {
			there = above
			continue
		}
		if err == nil {
			err = writable(there)
		}
		if err != nil {
			return fmt.Errorf("nothing can be kept in the cache folder %s: %s: %w", dir, there, err)
		}
		return nil
	}
}
