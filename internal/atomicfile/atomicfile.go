// Package atomicfile writes files and folders that appear whole or not at all.
package atomicfile

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
)

// Write calls write with a buffered writer to a temporary file beside path, and renames it to path once its bytes are
// on the disk. On any error the temporary file is removed, and what was at path stays as it was.
func Write(path string, write func(w io.Writer) error) (err error) {
	f, err := temporary(path)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
			err = fmt.Errorf("writing %s: %w", path, err)
		}
	}()
	w := bufio.NewWriterSize(f, 1<<20)
	if err := write(w); err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if info, err := os.Stat(path); err == nil { // who may read it stays so
		if err := f.Chmod(info.Mode().Perm()); err != nil {
			return err
		}
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	syncFolder(filepath.Dir(path)) // the rename itself must reach the disk too
	return nil
}

// WriteJSON writes a value as indented JSON, as Write does.
func WriteJSON(path string, value any) error {
	return Write(path, func(w io.Writer) error {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(value)
	})
}

// WriteFolder calls write with a new folder beside path, and renames it to path. A folder that was there is replaced.
// On any error the new folder is removed. Files in it are on the disk if write saw to that.
func WriteFolder(path string, write func(dir string) error) (err error) {
	dir := temporaryPath(path)
	if err := os.Mkdir(dir, 0o777); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	defer func() {
		if err != nil {
			os.RemoveAll(dir)
			err = fmt.Errorf("writing %s: %w", path, err)
		}
	}()
	if err := write(dir); err != nil {
		return err
	}
	old := temporaryPath(path)
	if err := os.Rename(path, old); err == nil {
		defer os.RemoveAll(old)
	} else if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.Rename(dir, path); err != nil {
		return err
	}
	syncFolder(filepath.Dir(path))
	return nil
}

// syncFolder brings the names in a folder to the disk, where the system can.
func syncFolder(dir string) {
	if d, err := os.Open(dir); err == nil {
		_ = d.Sync()
		d.Close()
	}
}

// Clean removes what writes that were killed have left in dir and below. Nothing else may be writing there.
func Clean(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && path != dir && temporaryName.MatchString(d.Name()) {
			if err = os.RemoveAll(path); err == nil && d.IsDir() {
				return fs.SkipDir
			}
		}
		if err != nil {
			return fmt.Errorf("removing unfinished files: %w", err)
		}
		return nil
	})
}

var temporaryName = regexp.MustCompile(`^\..+\.\d+\.tmp$`)

// Check reports whether Write can make a file at path. It leaves nothing behind.
func Check(path string) error {
	if info, err := os.Stat(path); err == nil && info.IsDir() {
		return fmt.Errorf("writing %s: it is a folder, expected the name of a file", path)
	}
	f, err := temporary(path)
	if err != nil {
		return err
	}
	f.Close()
	return os.Remove(f.Name())
}

// temporary makes a file as any new one is made, for whom umask lets read it, which os.CreateTemp's are not.
func temporary(path string) (*os.File, error) {
	for {
		name := temporaryPath(path)
		f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE|os.O_EXCL, 0o666)
		if errors.Is(err, fs.ErrExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("writing %s: %w", path, err)
		}
		return f, nil
	}
}

func temporaryPath(path string) string {
	return filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%d.tmp", filepath.Base(path), rand.Uint32()))
}
