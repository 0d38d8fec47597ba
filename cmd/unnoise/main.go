// Unnoise is a diffusion-model laboratory: it trains, samples and shows
// diffusion models. This package is its command line; each verb has its own
// file, which reads flags, calls the library and prints.
package main

import (
	"context"
	"os"

	"github.com/unnoise/unnoise/internal/cli"
	"github.com/unnoise/unnoise/internal/terminal"
)

func main() {
	terminal.KeepOutput("ONEDNN_VERBOSE", "DNNL_VERBOSE")
	released()
	ctx, stop := terminal.Interruptible(context.Background())
	code := cli.Execute(ctx, newRoot(), os.Args[1:], os.Stdout, os.Stderr, explain)
	stop()
	os.Exit(code)
}
