package engine

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/gomlx/compute"
	"github.com/gomlx/go-xla/compute/xla"

	_ "github.com/unnoise/unnoise/internal/environ" // which go-xla looks for
)

// Plugins lists those that XLA finds here.
func Plugins() []string {
	// GoMLX would download gigabytes unasked, and fails for a GPU where it can't have the CPU's plugin.
	xla.EnableAutoInstall(false)
	return slices.Sorted(slices.Values(xla.GetAvailablePlugins()))
}

// newXLA opens XLA with a PJRT plugin: a name with GoMLX's options behind it, as in cuda,tf32=false, or a file.
func newXLA(config string) (compute.Backend, error) {
	plugin, _, _ := strings.Cut(config, ",")
	if !filepath.IsAbs(plugin) {
		if there := Plugins(); !slices.ContainsFunc(there, func(p string) bool {
			return p == plugin ||
				strings.HasPrefix(p, plugin+"_v")
		}) {
			found := "none"
			if len(there) > 0 {
				found = strings.Join(there, ", ")
			}
			return nil, fmt.Errorf("XLA has no plugin %q here (found: %s). Install it with 'go run "+
				"github.com/gomlx/go-xla/cmd/pjrt_installer@latest', "+
				"set PJRT_PLUGIN_LIBRARY_PATH to the folder it is in, or give its file: xla:/path/to/plugin.so", plugin,
				found)
		}
	}
	b, err := xla.New(config) // of a file, it downloads nothing
	if err != nil {
		return nil, fmt.Errorf("opening XLA's plugin %s: %w", plugin, err)
	}
	return b, nil
}
