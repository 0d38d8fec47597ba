package cli

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	pkgerrors "github.com/pkg/errors"
)

func TestOrigin(t *testing.T) {
	err := fmt.Errorf("step 3: %w", errors.Join(io.EOF, pkgerrors.WithMessage(pkgerrors.New("no memory"), "outside")))
	if got := origin(err); !strings.Contains(got, "TestOrigin") || strings.Contains(got, "no memory") {
		t.Errorf("origin is %q", got)
	}
	if got := origin(io.EOF); got != "" {
		t.Errorf("of an error that does not know it: %q", got)
	}
}
