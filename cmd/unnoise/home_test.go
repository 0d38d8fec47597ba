package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/unnoise/unnoise/internal/golden"
	"github.com/unnoise/unnoise/onednn"
)

// Without a home, or with one that can't be written to, everything works, with one warning at most.
func TestHomes(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	env := slices.DeleteFunc(os.Environ(), func(v string) bool {
		return strings.HasPrefix(v, "HOME=") ||
			strings.HasPrefix(v, "XDG_CACHE_HOME=")
	})
	if path := onednn.Library().Path; path != "" {
		env = append(env, "ONEDNN_LIBRARY="+path)
	}
	for _, home := range []string{"", "HOME=" + filepath.Join(file, "none")} {
		out := filepath.Join(t.TempDir(), "embeddings.safetensors")
		cmd := command(t, "embed", "--model", filepath.Join(golden.Dir(t), "if_tiny"), "--prompt", "a fox", "--prompt",
			"an owl", "--out", out)
		cmd.Env = env
		if home != "" {
			cmd.Env = append(env, home)
		}
		r := finish(t, cmd)
		if _, err := os.Stat(out); r.code != 0 || err != nil || strings.Contains(r.stderr, "home directory") ||
			strings.Count(r.stderr, "warning") > 1 {
			t.Errorf("with %q: exit code %d, %q, %v", home, r.code, r.stderr, err)
		}
	}
}
