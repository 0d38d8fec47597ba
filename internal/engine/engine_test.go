package engine

import (
	"errors"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/onednn"
)

func TestNew(t *testing.T) {
	b, info, err := New(Options{Threads: 1})
	if err != nil {
		t.Fatal(err)
	}
	defer b.Finalize()
	if b.Name() != onednn.BackendName || info.Threads != 1 {
		t.Errorf("backend %q with %d threads", b.Name(), info.Threads)
	}
	if _, _, err := New(Options{Threads: -1}); err == nil {
		t.Error("-1 threads: no error")
	}
	for _, backend := range []string{"cuda", "onednn:threads=4", "go:x"} {
		if _, _, err := New(Options{Backend: backend}); !errors.Is(err, ErrUnknown) {
			t.Errorf("backend %q: %v, want one that says it is unknown", backend, err)
		}
	}
	other, info, err := New(Options{Backend: "go"})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Finalize()
	if other.Name() == onednn.BackendName || info.Threads != 0 || info.String() != other.Description() ||
		info.Warning() != "" {
		t.Errorf("backend %q: %+v", other.Name(), info)
	}
	missing := Info{Library: onednn.LibraryInfo{Problem: "no such file"}, onednn: true}
	if w := missing.Warning(); !strings.Contains(w, "no such file") || !strings.Contains(w, "set ONEDNN_LIBRARY") {
		t.Errorf("the warning is %q", w)
	}
	if w := (Info{Library: onednn.LibraryInfo{Path: "x"}, onednn: true}).Warning(); w != "" {
		t.Errorf("a warning for nothing: %q", w)
	}
}

func TestDType(t *testing.T) {
	for _, name := range []string{"f32", "bf16"} {
		if d, err := DType(name, ""); err != nil || Name(d) != name {
			t.Errorf("%s gives %v, %v", name, d, err)
		}
	}
	want := "f32"
	if onednn.Library().BF16 {
		want = "bf16"
	}
	if d, err := DType("auto", ""); err != nil || Name(d) != want {
		t.Errorf("auto gives %v, %v; want %s here", d, err, want)
	}
	for backend, want := range map[string]string{"go": "f32", "xla:cpu": "f32", "xla:cuda,tf32=false": "bf16"} {
		if d, err := DType("auto", backend); err != nil || Name(d) != want {
			t.Errorf("auto on %s gives %v, %v; want %s", backend, d, err, want)
		}
	}
	if _, err := DType("f16", ""); err == nil {
		t.Error("f16: no error")
	}
}
