package studio

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/internal/golden"
	"github.com/unnoise/unnoise/registry"
)

// A model that is not fetched yet is listed as missing, and served once it is there.
func TestMissing(t *testing.T) {
	cache := t.TempDir()
	t.Setenv("HF_HUB_CACHE", cache)
	const name = "owner/tiny"
	s := serve(t, Options{Models: []string{digits, name}})
	has := func() bool {
		return slices.ContainsFunc(want[[]Model](s, 200, "GET", "/api/models", nil), func(m Model) bool { return m.Name == name })
	}
	missing := want[[]registry.Source](s, 200, "GET", "/api/missing", nil)
	if len(missing) == 0 || missing[0].Model != name || missing[0].Command != "unnoise model pull "+name || has() {
		t.Errorf("the missing models are %+v", missing)
	}
	if all := want[[]registry.Source](s, 200, "GET", "/api/missing?model=../secret", nil); len(all) != 1 ||
		all[0].Command != "" {
		t.Errorf("a folder comes from %+v", all)
	}

	commit := strings.Repeat("a", 40)
	of := filepath.Join(cache, "models--owner--tiny")
	if err := errors.Join(os.CopyFS(filepath.Join(of, "snapshots", commit), os.DirFS(filepath.Join(golden.Dir(t), "if_tiny"))),
		os.MkdirAll(filepath.Join(of, "refs"), 0o777),
		os.WriteFile(filepath.Join(of, "refs", "main"), []byte(commit), 0o666)); err != nil {
		t.Fatal(err)
	}
	missing = want[[]registry.Source](s, 200, "GET", "/api/missing", nil)
	if slices.ContainsFunc(missing, func(m registry.Source) bool { return m.Model == name }) || !has() {
		t.Errorf("once it is there the missing models are %+v", missing)
	}
	if _, err := New(Options{Dir: t.TempDir(), Models: []string{digits, "./nothing"}}); err == nil {
		t.Error("a folder that is not there is no error")
	}
}
