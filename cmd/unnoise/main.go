// Unnoise is a diffusion-model laboratory: it trains, samples and shows
// diffusion models. This package is its command line; each verb has its own
// file, which reads flags, calls the library and prints.
package main

import (
	"cmp"
	"context"
	"os"

	"golang.org/x/sys/unix"
)

func main() {
	keepOutput()
	ctx, stop := interruptible(context.Background())
	code := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// keepOutput keeps oneDNN's report, which ONEDNN_VERBOSE asks for, out of the program's own output: the library prints
// to the process's standard output, which becomes standard error.
func keepOutput() {
	if verbose := cmp.Or(os.Getenv("ONEDNN_VERBOSE"), os.Getenv("DNNL_VERBOSE")); verbose == "" || verbose == "0" {
		return
	}
	own, err := unix.Dup(1)
	if err != nil {
		return
	}
	unix.CloseOnExec(own)
	if err := unix.Dup3(2, 1, 0); err == nil {
		libraries = os.Stdout
		os.Stdout = os.NewFile(uintptr(own), "/dev/stdout")
	}
}

// libraries is what libraries print to. It is kept, since a file that is forgotten is closed.
var libraries *os.File
