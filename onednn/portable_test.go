package onednn

import (
	"testing"
)

// TestPortable runs the tests of graphs without oneDNN on each instruction set that the CPU has.
func TestPortable(t *testing.T) {
	t.Cleanup(func() { configuration = ""; limitISA(2) })
	configuration = "portable"
	for level := range 3 {
		limitISA(level)
		t.Run(ownISA(), func(t *testing.T) {
			t.Run("compliance", TestCompliance)
			t.Run("convolutions", TestConvolutions)
			t.Run("products", TestProducts)
		})
	}
}
