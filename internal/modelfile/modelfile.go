// Package modelfile opens models' files: those on disk, and those that come with the program.
package modelfile

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// prefix is what the paths of the program's own files begin with.
const prefix = "program:"

// embedded are the program's own files.
var embedded fs.FS

// Embed says which files come with the program. It is called once, before any is opened.
func Embed(files fs.FS) { embedded = files }

// InProgram returns the path of a file or a folder that comes with the program.
func InProgram(name string) string { return prefix + name }

// IsInProgram reports whether a path is one that InProgram returned, or of what lies in such a folder.
func IsInProgram(path string) bool {
	_, ok := inProgram(path)
	return ok
}

func inProgram(path string) (string, bool) {
	name, ok := strings.CutPrefix(path, prefix)
	return filepath.ToSlash(name), ok && embedded != nil
}

// ReadFile reads a file.
func ReadFile(path string) ([]byte, error) {
	if name, ok := inProgram(path); ok {
		return fs.ReadFile(embedded, name)
	}
	return os.ReadFile(path)
}

// ReadDir lists a folder.
func ReadDir(path string) ([]fs.DirEntry, error) {
	if name, ok := inProgram(path); ok {
		return fs.ReadDir(embedded, name)
	}
	return os.ReadDir(path)
}

// Stat describes a file or a folder.
func Stat(path string) (fs.FileInfo, error) {
	if name, ok := inProgram(path); ok {
		return fs.Stat(embedded, name)
	}
	return os.Stat(path)
}
