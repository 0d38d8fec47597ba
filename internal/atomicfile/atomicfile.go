// Package atomicfile writes files that appear whole or not at all.
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
	if d, err := os.Open(filepath.Dir(path)); err == nil { // the rename itself must reach the disk too
		_ = d.Sync()
		d.Close()
	}
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

// Clean removes what writes that were killed have left in dir and below. Nothing else may be writing there.
func Clean(dir string) error {
	return filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && temporaryName.MatchString(d.Name()) {
			err = os.Remove(path)
		}
		if err != nil {
			return fmt.Errorf("removing unfinished files: %w", err)
		}
		return nil
	})
}

var temporaryName = regexp.MustCompile(`^\..+\.\d+\.tmp$`)

// Check tells whether Write can make a file at path. It leaves nothing behind.
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
		name := filepath.Join(filepath.Dir(path), fmt.Sprintf(".%s.%d.tmp", filepath.Base(path), rand.Uint32()))
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
