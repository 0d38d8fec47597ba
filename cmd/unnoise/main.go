// Unnoise is a diffusion-model laboratory: it trains, samples and shows
// diffusion models. This package is its command line; each verb has its own
// file, which reads flags, calls the library and prints.
package main

import (
	"context"
	"os"
)

func main() {
	ctx, stop := interruptible(context.Background())
	code := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}
