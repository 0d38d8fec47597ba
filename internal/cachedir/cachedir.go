// Package cachedir tells where the program keeps what it can make or fetch again.
package cachedir

import (
	"fmt"
	"os"
	"path/filepath"
)

// Path returns a place in the program's folder of the user's cache folder.
func Path(elem ...string) (string, error) {
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("finding the cache folder: %w", err)
	}
	return filepath.Join(append([]string{dir, "unnoise"}, elem...)...), nil
}
