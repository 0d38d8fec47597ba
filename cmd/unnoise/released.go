package main

import (
	"os"
	"path/filepath"
)

// released makes the engine use the oneDNN that a release has in the folder lib beside the program, unless the user
// names another.
func released() {
	if _, named := os.LookupEnv("ONEDNN_LIBRARY"); named {
		return
	}
	program, err := os.Executable()
	if err != nil {
		return
	}
	if program, err = filepath.EvalSymlinks(program); err != nil {
		return
	}
	library := filepath.Join(filepath.Dir(program), "lib", "libdnnl.so.3")
	if _, err := os.Stat(library); err == nil {
		_ = os.Setenv("ONEDNN_LIBRARY", library) // it can't fail with such a name
	}
}
