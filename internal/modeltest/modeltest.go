// Package modeltest has small models for tests.
package modeltest

import (
	"testing"

	"github.com/gomlx/compute/dtypes"

	"github.com/unnoise/unnoise/internal/engine"
	"github.com/unnoise/unnoise/mnistunet"
)

// Untrained is a network for digits of 4 channels with its first values.
func Untrained(t testing.TB, c mnistunet.Config) *mnistunet.Model {
	t.Helper()
	b, _, err := engine.New(engine.Options{Threads: 2})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Finalize)
	c.Dim = 4
	m, err := mnistunet.New(b, c, dtypes.Float32, 1)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(m.Close)
	return m
}
