package onednn

import (
	"testing"

	"github.com/gomlx/compute/support/backendtest"
)

// TestCompliance runs GoMLX's own suite for backends.
func TestCompliance(t *testing.T) {
	b, err := New(configuration)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Finalize)
	t.Log(b.Description())
	backendtest.RunAll(t, b, nil)
}
