package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestModelPull(t *testing.T) {
	for _, args := range [][]string{{"model", "pull"}, {"model", "pull", "name"}, {"model", "pull", "a/b", "c/d"},
		{"model", "pull", "../b/c"}} {
		if r := unnoise(t, args...); r.code != exitUsage || !strings.Contains(r.stderr, "OWNER/NAME") {
			t.Errorf("%v: exit code %d, %q", args, r.code, r.stderr)
		}
	}
	closed := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter,
		_ *http.Request) {
		w.WriteHeader(http.StatusForbidden)
	}))
	defer closed.Close()
	t.Setenv("HF_ENDPOINT", closed.URL)
	t.Setenv("HF_HOME", t.TempDir())
	t.Setenv("HF_TOKEN", "secret")
	r := unnoise(t, "model", "pull", "owner/gated")
	if r.code != exitFailure || !strings.Contains(r.stderr, "owner/gated") || !strings.Contains(r.stderr, "licen") ||
		strings.Contains(r.stderr, "secret") {
		t.Errorf("a gated repository: exit code %d, %q", r.code, r.stderr)
	}
	for _, args := range [][]string{{"generate", "--prompt", "a cat"},
		{"embed", "--prompt", "a cat", "--out", "x.safetensors"}} {
		r := unnoise(t, append(args, "--model", "owner/gated")...)
		if r.code != exitFailure || !strings.Contains(r.stderr, "unnoise model pull owner/gated") {
			t.Errorf("%v of what is not in the cache: exit code %d, %q", args, r.code, r.stderr)
		}
	}
}
