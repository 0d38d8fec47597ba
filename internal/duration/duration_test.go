package duration

import (
	"testing"
	"time"
)

func TestFormat(t *testing.T) {
	for d, want := range map[time.Duration]string{
		850*time.Millisecond + 400*time.Microsecond: "850ms", 4240 * time.Millisecond: "4.2s", 42*time.Second +
			900*time.Millisecond: "42s",
		185 * time.Second: "3m05s", 130 * time.Minute: "2h10m",
	} {
		if got := Format(d); got != want {
			t.Errorf("%v is %s, want %s", d, got, want)
		}
	}
	if got := Left(time.Now().Add(-100*time.Second), 25, 100); got != "5m00s" {
		t.Errorf("after a quarter in 100 s: %s left", got)
	}
}
