// Package enginetest opens the backend that tests of networks run on.
package enginetest

import (
	"os"
	"testing"

	"github.com/gomlx/compute"

	"github.com/unnoise/unnoise/internal/engine"
)

// Backend is the one that UNNOISE_TEST_BACKEND names as --backend does, onednn if it names none, without some of its
// optimizations. It is finalized when the test ends.
func Backend(t testing.TB, without ...string) compute.Backend {
	t.Helper()
	b, _, err := engine.New(engine.Options{Backend: os.Getenv("UNNOISE_TEST_BACKEND"), Without: without})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Finalize)
	return b
}
