package bench

import (
	"context"
	"errors"
	"testing"
	"time"
)

func TestTime(t *testing.T) {
	runs := 0
	s, err := Runs{Warmup: 2, Counted: 3}.Time(t.Context(), nil, func() error {
		runs++
		time.Sleep(time.Duration(40/runs) * time.Millisecond)
		return nil
	})
	if err != nil || runs != 5 || s.First < 0.04 || s.First < s.Median || s.Median < s.Best || s.Best <= 0 ||
		s.Best > 0.04 {
		t.Errorf("%d runs, %+v, %v", runs, s, err)
	}
	failed := errors.New("failed")
	if _, err := (Runs{Counted: 1}).Time(t.Context(), nil, func() error { return failed }); err != failed {
		t.Errorf("of a failure: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	runs = 0
	if _, err := (Runs{Counted: 3}).Time(ctx, nil,
		func() error { runs++; cancel(); return nil }); err != context.Canceled || runs != 1 {
		t.Errorf("stopped after %d runs with %v", runs, err)
	}
}
