package hub

import (
	"encoding/pem"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// plainEnvironment clears all variables that are heeded, and sets a home folder.
func plainEnvironment(t *testing.T) (home string) {
	t.Helper()
	for _, name := range []string{"HF_ENDPOINT", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN", "HF_TOKEN_PATH", "HF_HOME",
		"HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "XDG_CACHE_HOME",
		"HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_HUB_DISABLE_IMPLICIT_TOKEN", "HF_HUB_DOWNLOAD_TIMEOUT",
		"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"} {
		t.Setenv(name, "")
	}
	home = t.TempDir()
	t.Setenv("HOME", home)
	return home
}

// The cache is where huggingface_hub's constants have it.
func TestCacheDir(t *testing.T) {
	home := plainEnvironment(t)
	t.Setenv("SCRATCH", "/scratch")
	for _, c := range []struct{ name, value, want string }{
		{"HF_HOME", "", home + "/.cache/huggingface/hub"},
		{"XDG_CACHE_HOME", "~/xdg", home + "/xdg/huggingface/hub"},
		{"HF_HOME", "~/hf", home + "/hf/hub"},
		{"HF_HOME", "~", home + "/hub"},
		{"HF_HOME", "$HOME/hf", home + "/hf/hub"},
		{"HF_HOME", "${SCRATCH}/hf", "/scratch/hf/hub"},
		{"HF_HOME", "/a/$NO_SUCH_VARIABLE", "/a/$NO_SUCH_VARIABLE/hub"},
		{"HUGGINGFACE_HUB_CACHE", "~/old", home + "/old"},
		{"HF_HUB_CACHE", "$SCRATCH/new", "/scratch/new"},
	} {
		t.Setenv(c.name, c.value)
		if got, err := CacheDir(); err != nil || got != c.want {
			t.Errorf("with %s %q: %s, %v; want %s", c.name, c.value, got, err, c.want)
		}
	}
}

func TestTokenVariables(t *testing.T) {
	home := plainEnvironment(t)
	if err := os.WriteFile(filepath.Join(home, "mine"), []byte("hf_file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, value, want string }{
		{"HF_TOKEN_PATH", "~/mine", "hf_file"}, {"HUGGING_FACE_HUB_TOKEN", "hf_old", "hf_old"},
		{"HF_TOKEN", "hf_new", "hf_new"}, {"HF_HUB_DISABLE_IMPLICIT_TOKEN", "1", ""},
	} {
		t.Setenv(c.name, c.value)
		if got, err := token(); err != nil || got != c.want {
			t.Errorf("with %s: %q, %v; want %q", c.name, got, err, c.want)
		}
	}
}

func TestTokenInQuotes(t *testing.T) {
	plainEnvironment(t)
	t.Setenv("HF_TOKEN", `"hf_abc"`)
	if _, err := token(); err == nil || !strings.Contains(err.Error(), "quotes") {
		t.Error(err)
	}
}

func TestOffline(t *testing.T) {
	s := newServer(t, pipeline())
	if _, err := client(t).Pull(t.Context(), Options{Repo: repo, Revision: "main"}); err != nil {
		t.Fatal(err)
	}
	s.Close()
	t.Setenv("HF_HUB_OFFLINE", "true")
	o := Options{Repo: repo, Revision: "main"}
	got, err := client(t).Pull(t.Context(), o)
	if err != nil || got.Files != len(wanted) || got.Fetched != 0 || got.Total == 0 {
		t.Errorf("what is in the cache: %+v, %v", got, err)
	}
	if err := os.Remove(filepath.Join(got.Dir, "unet", "config.json")); err != nil {
		t.Fatal(err)
	}
	for want, o := range map[string]Options{
		"has no unet/config.json": o, "has no DeepFloyd/Other": {Repo: "DeepFloyd/Other", Revision: "main"},
		"unset it to fetch to": {Repo: repo, Revision: "main", Out: t.TempDir()},
	} {
		if _, err := client(t).Pull(t.Context(), o); err == nil || !strings.Contains(err.Error(), "HF_HUB_OFFLINE") ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

// Caches that were copied, cleaned or half deleted are told of.
func TestLostParts(t *testing.T) {
	newServer(t, pipeline())
	r, err := client(t).Pull(t.Context(), Options{Repo: repo, Revision: "main"})
	if err != nil {
		t.Fatal(err)
	}
	of := filepath.Dir(filepath.Dir(r.Dir))
	if dir, ok, err := Snapshot(of); err != nil || !ok || dir != r.Dir {
		t.Errorf("the repository's folder: %s, %v, %v", dir, ok, err)
	}
	if _, ok, _ := Snapshot(r.Dir); ok {
		t.Error("a snapshot is taken for a repository's folder")
	}
	if err := os.RemoveAll(filepath.Join(of, "refs")); err != nil {
		t.Fatal(err)
	}
	if _, err := Cached(repo, "main"); !errors.Is(err, os.ErrNotExist) ||
		!strings.Contains(err.Error(), "the folder "+r.Dir+", which may be given as the model") {
		t.Errorf("without refs: %v", err)
	}
	if dir, ok, err := Snapshot(of); err != nil || !ok || dir != r.Dir {
		t.Errorf("the repository's folder without refs: %s, %v, %v", dir, ok, err)
	}
	blob, err := filepath.EvalSymlinks(filepath.Join(r.Dir, "unet", "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(blob); err != nil {
		t.Fatal(err)
	}
	if _, _, err := Snapshot(of); !errors.Is(err, os.ErrNotExist) ||
		!strings.Contains(err.Error(), blob+", which is gone") {
		t.Errorf("without a blob: %v", err)
	}
}

// A certificate that is not trusted won't be so the next time; one of a bundle is.
func TestCertificates(t *testing.T) {
	plainEnvironment(t)
	s := httptest.NewTLSServer(http.NotFoundHandler())
	defer s.Close()
	s.Config.ErrorLog = nil
	t.Setenv("HF_ENDPOINT", s.URL)
	pull := func() error {
		c := client(t)
		c.Backoff = time.Hour // nothing is tried again
		_, err := c.Pull(t.Context(), Options{Repo: repo, Revision: "main"})
		return err
	}
	if err := pull(); err == nil || !strings.Contains(err.Error(), "SSL_CERT_FILE") {
		t.Errorf("an unknown authority: %v", err)
	}
	bundle := filepath.Join(t.TempDir(), "bundle.pem")
	if err := os.WriteFile(bundle, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw}),
		0o644); err != nil {
		t.Fatal(err)
	}
	t.Setenv("REQUESTS_CA_BUNDLE", bundle)
	if err := pull(); err == nil || !strings.Contains(err.Error(), "answers 404") {
		t.Errorf("an authority of the bundle: %v", err)
	}
}
