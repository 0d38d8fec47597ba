package hub

import (
	"cmp"
	"context"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/unnoise/unnoise/internal/disk"
)

const (
	repo   = "DeepFloyd/IF-tiny"
	commit = "0123456789abcdef0123456789abcdef01234567"
)

// server is a hub with one repository. Large files are those from 1000 bytes on.
type server struct {
	*httptest.Server
	files map[string]string
	list  func(map[string]any)                                                           // changes what the list says
	serve func(w http.ResponseWriter, r *http.Request, name, content string) (done bool) // instead of the file

	revisions map[string]string // commits of other revisions than main

	mu       sync.Mutex
	requests []*http.Request
}

func gitHash(content string) string {
	sum := sha1.Sum(fmt.Appendf(nil, "blob %d\x00%s", len(content), content))
	return hex.EncodeToString(sum[:])
}

func hashOf(content string) string {
	if len(content) < 1000 {
		return gitHash(content)
	}
	sum := sha256.Sum256([]byte(content))
	return hex.EncodeToString(sum[:])
}

func newServer(t *testing.T, files map[string]string) *server {
	s := &server{files: files}
	s.Server = httptest.NewServer(http.HandlerFunc(s.handle))
	t.Cleanup(s.Close)
	t.Setenv("HF_ENDPOINT", s.URL+"/")
	t.Setenv("HF_TOKEN", "hf_secret")
	t.Setenv("HF_HOME", t.TempDir())
	t.Setenv("HF_HUB_CACHE", "")
	return s
}

func (s *server) handle(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	s.requests = append(s.requests, r)
	s.mu.Unlock()
	revision, asked := strings.CutPrefix(r.URL.Path, "/api/models/"+repo+"/revision/")
	if sha := cmp.Or(s.revisions[revision], commit); asked &&
		(sha != commit || revision == "main" || revision == commit) {
		var siblings []any
		for _, name := range slices.Sorted(maps.Keys(s.files)) {
			content := s.files[name]
			f := map[string]any{"rfilename": name, "size": len(content), "blobId": gitHash(content)}
			if len(content) >= 1000 {
				f["lfs"] = map[string]any{"sha256": hashOf(content), "size": len(content), "pointerSize": 134}
			}
			siblings = append(siblings, f)
		}
		answer := map[string]any{"sha": sha, "siblings": siblings}
		if s.list != nil {
			s.list(answer)
		}
		json.NewEncoder(w).Encode(answer)
		return
	}
	rest, ok := strings.CutPrefix(r.URL.Path, "/"+repo+"/resolve/")
	of, name, _ := strings.Cut(rest, "/")
	content, exists := s.files[name]
	if !ok || !exists || of != commit && !slices.Contains(slices.Collect(maps.Values(s.revisions)), of) {
		http.NotFound(w, r)
		return
	}
	if s.serve == nil || !s.serve(w, r, name, content) {
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(content))
	}
}

// fetched are the names of the files that were asked for, with the ranges.
func (s *server) fetched() (names []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		if name, ok := strings.CutPrefix(r.URL.Path, "/"+repo+"/resolve/"+commit+"/"); ok {
			names = append(names, strings.TrimSpace(name+" "+r.Header.Get("Range")))
		}
	}
	s.requests = nil
	return names
}

func client(t *testing.T) *Client {
	t.Helper()
	c, err := New()
	if err != nil {
		t.Fatal(err)
	}
	c.Stall, c.Backoff, c.Attempts = 500*time.Millisecond, time.Millisecond, 3
	return c
}

const bigFile = "unet/diffusion_pytorch_model.safetensors"

var big = strings.Repeat("0123456789abcdef", 3<<16) // 3 MiB

// pipeline is what a repository has, with files that are not to be fetched.
func pipeline() map[string]string {
	return map[string]string{
		"model_index.json": `{"_class_name":"IFPipeline","unet":["diffusers","UNet2DConditionModel"],"scheduler":["diffusers","DDPMScheduler"],"text_encoder":["transformers","T5EncoderModel"],"tokenizer":["transformers","T5Tokenizer"],"image_noising_scheduler":[null,null],"safety_checker":["deepfloyd_if","IFSafetyChecker"],"requires_safety_checker":true}`,
		"README.md":        "read me", "unet.ckpt": "x",
		"unet/config.json": "{}", bigFile: big, "unet/diffusion_pytorch_model.fp16.safetensors": "half",
		"unet/diffusion_pytorch_model.bin": "pickle",
		"scheduler/scheduler_config.json":  "{}\n",
		"tokenizer/spiece.model":           strings.Repeat("piece", 300), "tokenizer/tokenizer_config.json": "[]",
		"tokenizer/merges.txt":                          "no",
		"text_encoder/config.json":                      "{} ",
		"text_encoder/model.safetensors.index.json":     `{"weight_map":{"a":"model-00001-of-00002.safetensors","b":"model-00002-of-00002.safetensors"}}`,
		"text_encoder/model-00001-of-00002.safetensors": "one", "text_encoder/model-00002-of-00002.safetensors": "two",
		"text_encoder/model-00003-of-00002.safetensors": "stray",
		"text_encoder/model.fp16.safetensors":           "half an encoder", "text_encoder/pytorch_model.bin.index.json": "{}",
		"safety_checker/config.json": "{}",
	}
}

var wanted = []string{"model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json",
	"text_encoder/model-00001-of-00002.safetensors",
	"text_encoder/model-00002-of-00002.safetensors", "text_encoder/model.safetensors.index.json",
	"tokenizer/spiece.model", "tokenizer/tokenizer_config.json",
	"unet/config.json", bigFile}

// tree lists the files of a folder, and checks their contents.
func tree(t *testing.T, dir string, files map[string]string) (names []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		name, _ := filepath.Rel(dir, path)
		names = append(names, name)
		if content, err := os.ReadFile(path); err != nil || string(content) != files[name] {
			t.Errorf("%s has %d bytes, want %d: %v", name, len(content), len(files[name]), err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return names
}

// Without a network nothing is tried again, and the message says what may be missing.
func TestNoNetwork(t *testing.T) {
	newServer(t, pipeline())
	c, dials := client(t), 0
	c.http.Transport = &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		dials++
		return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", IsNotFound: true}}
	}}
	_, err := c.Pull(t.Context(), Options{Repo: repo, Revision: "main"})
	if err == nil || !strings.Contains(err.Error(), "Is there a network?") || dials != 1 {
		t.Errorf("after %d attempts: %v", dials, err)
	}
}

func TestCache(t *testing.T) {
	s := newServer(t, pipeline())
	if _, err := Cached(repo, "main"); !errors.Is(err, os.ErrNotExist) ||
		!strings.HasSuffix(err.Error(), " has no "+repo) {
		t.Errorf("before: %v", err)
	}
	var last Progress
	got, err := client(t).Pull(t.Context(), Options{Repo: repo, Revision: "main", Report: func(p Progress) {
		if p.Done < last.Done || p.Done > p.Total || p.Retry != nil {
			t.Errorf("progress %+v after %+v", p, last)
		}
		last = p
	}})
	if err != nil {
		t.Fatal(err)
	}
	total := int64(0)
	for _, name := range wanted {
		total += int64(len(s.files[name]))
	}
	dir, err := Cached(repo, "main")
	if want := (Result{dir, len(wanted), total, total}); err != nil || got != want || last.Done != total {
		t.Errorf("got %+v, want %+v, at the end %+v, %v", got, want, last, err)
	}
	if names := tree(t, dir, s.files); !slices.Equal(names, wanted) {
		t.Errorf("the folder has %q", names)
	}
	home := os.Getenv("HF_HOME")
	link, err := os.Readlink(filepath.Join(home, "hub/models--DeepFloyd--IF-tiny/snapshots", commit, bigFile))
	if want := "../../../blobs/" + hashOf(big); err != nil || link != want {
		t.Errorf("a link to %q, want %q, %v", link, want, err)
	}
	blobs, _ := os.ReadDir(filepath.Join(home, "hub/models--DeepFloyd--IF-tiny/blobs"))
	if len(blobs) != len(wanted) {
		t.Errorf("%d blobs: %v", len(blobs), blobs)
	}
	s.fetched()
	got, err = client(t).Pull(t.Context(), Options{Repo: repo, Revision: commit})
	if names := s.fetched(); err != nil || got.Fetched != 0 || got.Total != total || len(names) != 0 {
		t.Errorf("the second time: %+v, %q, %v", got, names, err)
	}
	if same, err := Cached(repo, commit); err != nil || same != dir {
		t.Errorf("by its commit: %q, %v", same, err)
	}
	for _, r := range []string{"../x", "main\n", "-x", "a/../b"} {
		if _, err := Cached(repo, r); err == nil || !strings.Contains(err.Error(), "is not a revision") {
			t.Errorf("revision %q: %v", r, err)
		}
	}
}

// A branch and a pinned commit have folders of their own; the cache's main stays. What another program left cut off is
// fetched again.
func TestRevisions(t *testing.T) {
	s := newServer(t, pipeline())
	pull := func(revision string) (Result, error) {
		return client(t).Pull(t.Context(), Options{Repo: repo, Revision: revision})
	}
	if _, err := pull("main"); err != nil {
		t.Fatal(err)
	}
	first, err := Cached(repo, "main")
	if err != nil {
		t.Fatal(err)
	}
	other := strings.Repeat("b", 40)
	s.revisions = map[string]string{"refs/pr/1": other}
	if _, err := pull("refs/pr/1"); err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(s.requests, func(r *http.Request) bool {
		return strings.HasSuffix(r.URL.EscapedPath(),
			"/revision/refs%2Fpr%2F1")
	}) {
		t.Error("the hub was not asked for refs/pr/1")
	}
	if dir, err := Cached(repo, "main"); err != nil || dir != first {
		t.Errorf("main is %s now, was %s, %v", dir, first, err)
	}
	if dir, err := Cached(repo, "refs/pr/1"); err != nil || filepath.Base(dir) != other {
		t.Errorf("refs/pr/1 is %s, %v", dir, err)
	}

	blob := filepath.Join(os.Getenv("HF_HOME"), "hub/models--DeepFloyd--IF-tiny/blobs", hashOf(big))
	if err := os.Truncate(blob, 100); err != nil {
		t.Fatal(err)
	}
	if got, err := pull("main"); err != nil || got.Fetched != int64(len(big)) {
		t.Errorf("after a blob was cut off: %+v, %v", got, err)
	}
	tree(t, first, s.files)

	s.list = func(answer map[string]any) { answer["sha"] = other }
	if _, err := pull(commit); err == nil || !strings.Contains(err.Error(), "its commit is") {
		t.Errorf("another commit than the one that was asked for: %v", err)
	}
}

// Attempts count failures in a row: a connection that brings something each time may break off as often as it will.
// Waiting ends with the context, and a signed address is told to nobody.
func TestRetries(t *testing.T) {
	s := newServer(t, pipeline())
	at := 0
	s.serve = func(w http.ResponseWriter, r *http.Request, name, content string) bool {
		if name != bigFile || at == 3 {
			return false
		}
		at++
		w.Header().Set("Content-Length", fmt.Sprint(len(content)-(at-1)<<20))
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", (at-1)<<20, len(content)-1, len(content)))
		if at > 1 {
			w.WriteHeader(http.StatusPartialContent)
		}
		io.WriteString(w, content[(at-1)<<20:at<<20])
		if at < 3 {
			w.(http.Flusher).Flush()
			panic(http.ErrAbortHandler)
		}
		return true
	}
	c := client(t)
	c.Attempts = 2
	if _, err := c.Pull(t.Context(), Options{Repo: repo, Revision: "main"}); err != nil || at != 3 {
		t.Errorf("after %d pieces: %v", at, err)
	}

	s = newServer(t, pipeline())
	s.serve = func(w http.ResponseWriter, _ *http.Request, name, _ string) bool {
		w.Header().Set("Retry-After", "60")
		w.WriteHeader(http.StatusServiceUnavailable)
		return true
	}
	ctx, cancel := context.WithCancel(t.Context())
	start := time.Now()
	_, err := client(t).Pull(ctx, Options{Repo: repo, Revision: "main", Report: func(p Progress) {
		if p.Retry != nil {
			if !strings.Contains(p.Retry.Error(), "again in 1m0s") {
				t.Errorf("the hub asks for a minute: %v", p.Retry)
			}
			cancel()
		}
	}})
	if err != context.Canceled || time.Since(start) > 20*time.Second {
		t.Errorf("stopped while it waited: %v, after %v", err, time.Since(start))
	}

	cdn := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter,
		*http.Request) {
		panic(http.ErrAbortHandler)
	}))
	t.Cleanup(cdn.Close)
	s = newServer(t, pipeline())
	s.serve = func(w http.ResponseWriter, r *http.Request, name, _ string) bool {
		http.Redirect(w, r, cdn.URL+"/x?signature=1", http.StatusFound)
		return true
	}
	said := ""
	_, err = client(t).Pull(t.Context(),
		Options{Repo: repo, Revision: "main", Report: func(p Progress) { said += fmt.Sprint(p.Retry) }})
	if err == nil || strings.Contains(said+err.Error(), "signature") {
		t.Errorf("an address with its signature is told: %s, %v", said, err)
	}
}

func TestFolder(t *testing.T) {
	s := newServer(t, pipeline())
	out := filepath.Join(t.TempDir(), "if")
	pull := func(o Options) (Result, error) {
		o.Repo, o.Revision, o.Out = repo, "main", out
		return client(t).Pull(t.Context(), o)
	}
	if _, err := pull(Options{Variant: "fp16", Without: []string{"tokenizer"}}); err != nil {
		t.Fatal(err)
	}
	want := []string{"model_index.json", "scheduler/scheduler_config.json", "text_encoder/config.json",
		"text_encoder/model.fp16.safetensors", "unet/config.json", "unet/diffusion_pytorch_model.fp16.safetensors"}
	if names := tree(t, out, s.files); !slices.Equal(names, want) {
		t.Errorf("the folder has %q", names)
	}
	if got, err := pull(Options{}); err != nil || got.Fetched == 0 || got.Fetched == got.Total {
		t.Errorf("the rest: %+v, %v", got, err)
	}
	if _, err := os.Stat(filepath.Join(os.Getenv("HF_HOME"), "hub")); err == nil {
		t.Error("the cache was written to")
	}
	mine := filepath.Join(out, "unet/config.json")
	os.WriteFile(mine, []byte("[]"), 0o644)
	if _, err := pull(Options{}); err == nil || !strings.Contains(err.Error(), mine+" is another file") {
		t.Errorf("a file of the user's: %v", err)
	}
	for want, o := range map[string]Options{
		`no weights of the variant "bf16"`:  {Variant: "bf16"},
		`the part "unet" can't be left out`: {Without: []string{"unet"}},
	} {
		if _, err := pull(o); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

// What is there already needs no more room.
func TestRoom(t *testing.T) {
	newServer(t, pipeline())
	for _, out := range []string{"", filepath.Join(t.TempDir(), "if")} {
		pull := func(left int64) (Result, error) {
			free = func(string) (int64, bool) { return left, true }
			defer func() { free = disk.Free }()
			return client(t).Pull(t.Context(), Options{Repo: repo, Revision: "main", Out: out})
		}
		if _, err := pull(1 << 20); err == nil || !strings.Contains(err.Error(), "GB more") {
			t.Errorf("%q: on a disk that is too small: %v", out, err)
		}
		r, err := pull(1 << 30)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := pull(0); err != nil || again.Fetched != 0 {
			t.Errorf("%q: with all of it there: %+v, %v", out, again, err)
		}
		place, err := filepath.EvalSymlinks(filepath.Join(r.Dir, bigFile))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(place, place+incomplete); err != nil {
			t.Fatal(err)
		}
		if err := os.Truncate(place+incomplete, int64(len(big))-1000); err != nil {
			t.Fatal(err)
		}
		if _, err := pull(900); err == nil {
			t.Errorf("%q: 1000 bytes are missing, and there was room for 900", out)
		}
		if again, err := pull(1000); err != nil || again.Fetched != 1000 {
			t.Errorf("%q: with 1000 bytes missing: %+v, %v", out, again, err)
		}
	}
}

// The first stage's text encoder reads for the second too.
func TestSecondStage(t *testing.T) {
	files := pipeline()
	files["model_index.json"] = strings.NewReplacer("IFPipeline", "IFSuperResolutionPipeline",
		`"image_noising_scheduler":[null,null]`,
		`"image_noising_scheduler":["diffusers","DDPMScheduler"]`).Replace(files["model_index.json"])
	files["image_noising_scheduler/scheduler_config.json"] = "{ }"
	s, out := newServer(t, files), t.TempDir()
	if _, err := client(t).Pull(t.Context(), Options{Repo: repo, Revision: "main", Out: out}); err != nil {
		t.Fatal(err)
	}
	want := []string{"image_noising_scheduler/scheduler_config.json", "model_index.json",
		"scheduler/scheduler_config.json", "unet/config.json", bigFile}
	if names := tree(t, out, s.files); !slices.Equal(names, want) {
		t.Errorf("the folder has %q", names)
	}
}

// A tokenizer is its SentencePiece model, or what the tokenizers library made of it.
func TestTokenizerFiles(t *testing.T) {
	files := pipeline()
	delete(files, "tokenizer/spiece.model")
	for _, want := range []string{"", "tokenizer/tokenizer.json"} {
		if want != "" {
			files[want] = "{}"
		}
		newServer(t, files)
		out := filepath.Join(t.TempDir(), "if")
		_, err := client(t).Pull(t.Context(), Options{Repo: repo, Revision: "main", Out: out})
		if want == "" {
			if err == nil || !strings.Contains(err.Error(), "has no tokenizer/spiece.model") {
				t.Errorf("without a model: %v", err)
			}
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(filepath.Join(out, want)); err != nil {
			t.Error(err)
		}
	}
}

// once lets a fault happen at the first n requests for the big file.
func once(n int, fault func(w http.ResponseWriter, r *http.Request, content string)) func(http.ResponseWriter,
	*http.Request, string, string) bool {
	return func(w http.ResponseWriter, r *http.Request, name, content string) bool {
		if name != bigFile || n == 0 {
			return false
		}
		n--
		fault(w, r, content)
		return true
	}
}

// partly sends a file's first bytes.
func partly(w http.ResponseWriter, content string, n int) {
	w.Header().Set("Content-Length", fmt.Sprint(len(content)))
	io.WriteString(w, content[:n])
	w.(http.Flusher).Flush()
}

func TestFaults(t *testing.T) {
	abort := func(w http.ResponseWriter, _ *http.Request, content string) {
		partly(w, content, 2<<20)
		panic(http.ErrAbortHandler)
	}
	status := func(code int, header ...string) func(http.ResponseWriter, *http.Request, string) {
		return func(w http.ResponseWriter, _ *http.Request, _ string) {
			for pair := range slices.Chunk(header, 2) {
				w.Header().Set(pair[0], pair[1])
			}
			w.WriteHeader(code)
		}
	}
	whole := func(text string) func(http.ResponseWriter, *http.Request, string) {
		return func(w http.ResponseWriter, _ *http.Request, _ string) { io.WriteString(w, text) }
	}
	for _, c := range []struct {
		name  string
		times int
		fault func(http.ResponseWriter, *http.Request, string)
		want  string // in the error; none: it goes well
		asked string // of the big file, the last range
	}{
		{"breaks off", 1, abort, "", "bytes=2097152-"},
		{"stalls", 1, func(w http.ResponseWriter, r *http.Request, content string) {
			partly(w, content, 1<<20)
			<-r.Context().Done()
		}, "", "bytes=1048576-"},
		{"says nothing", 1, func(_ http.ResponseWriter, r *http.Request, _ string) { <-r.Context().Done() }, "", ""},
		{"always stalls", -1, func(_ http.ResponseWriter, r *http.Request, _ string) { <-r.Context().Done() },
			"the connection stalled (tried 3 times", ""},
		{"is busy", 2, status(503), "", ""},
		{"asks to wait", 1, status(429, "Retry-After", "1"), "", ""},
		{"stays busy", -1, status(502), "answers 502 Bad Gateway (tried 3 times", ""},
		{"refuses", -1, status(410), "answers 410 Gone", ""},
		{"sends too little", -1, whole(big[:100]), "the connection ended after 100 of 3145728 bytes", ""},
		{"sends another file", -1, whole(strings.Repeat("x", len(big))), "and the hub says " + hashOf(big), ""},
		{"sends for ever", -1, func(w http.ResponseWriter, r *http.Request, _ string) {
			for r.Context().Err() == nil {
				if _, err := io.WriteString(w, big); err != nil {
					return
				}
			}
		}, "sends more than the 3145728 bytes", ""},
		{"sends a range nobody asked for", -1, status(206, "Content-Range", "bytes 5-9/10"),
			`"bytes 5-9/10", expected "bytes 0-3145727/3145728"`, ""},
		{"redirects to another protocol", -1, status(302, "Location", "ftp://example.org/x"),
			"redirects from http to ftp", ""},
		{"redirects in a circle", -1, func(w http.ResponseWriter, r *http.Request, _ string) {
			http.Redirect(w, r,
				r.URL.String(), 302)
		}, "more than 10 times", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, pipeline())
			s.serve = once(c.times, c.fault)
			out := t.TempDir()
			_, err := client(t).Pull(t.Context(), Options{Repo: repo, Revision: "main", Out: out,
				Without: []string{"text_encoder"}})
			names := s.fetched()
			_, there := os.Stat(filepath.Join(out, bigFile))
			if c.want != "" {
				if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), bigFile) ||
					there == nil {
					t.Errorf("%v; want %q, and no file", err, c.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			tree(t, out, s.files)
			if asked := names[len(names)-2]; asked != strings.TrimSpace(bigFile+" "+c.asked) &&
				!slices.Contains(names, strings.TrimSpace(bigFile+" "+c.asked)) {
				t.Errorf("asked for %q", names)
			}
		})
	}
}

// A pull that was stopped goes on where it was, also where the hub, or what lies there, does not play along.
func TestResume(t *testing.T) {
	for _, c := range []struct {
		name  string
		there string // what is there of the big file
		serve func(http.ResponseWriter, *http.Request, string)
		asked []string // ranges
	}{
		{"goes on", big[:1000], nil, []string{"bytes=1000-"}},
		{"was complete", big, nil, nil},
		{"no ranges", big[:1000], func(w http.ResponseWriter, _ *http.Request, content string) {
			io.WriteString(w,
				content)
		}, []string{"bytes=1000-"}},
		{"416", big[:1000], func(w http.ResponseWriter, _ *http.Request, _ string) { w.WriteHeader(416) },
			[]string{"bytes=1000-", ""}},
		{"of another file", "other", nil, []string{"bytes=5-", ""}},
		{"too long", big + "x", nil, []string{""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newServer(t, pipeline())
			if c.serve != nil {
				s.serve = once(1, c.serve)
			}
			out := t.TempDir()
			os.MkdirAll(filepath.Join(out, "unet"), 0o755)
			os.WriteFile(filepath.Join(out, bigFile+".incomplete"), []byte(c.there), 0o644)
			if _, err := client(t).Pull(t.Context(), Options{Repo: repo, Revision: "main", Out: out}); err != nil {
				t.Fatal(err)
			}
			if names := tree(t, out, s.files); !slices.Equal(names, wanted) {
				t.Errorf("the folder has %q", names)
			}
			var asked []string
			for _, name := range s.fetched() {
				if rest, ok := strings.CutPrefix(name, bigFile); ok {
					asked = append(asked, strings.TrimSpace(rest))
				}
			}
			if !slices.Equal(asked, c.asked) {
				t.Errorf("asked for %q, want %q", asked, c.asked)
			}
		})
	}
}

func TestCancel(t *testing.T) {
	s := newServer(t, pipeline())
	ctx, cancel := context.WithCancel(t.Context())
	s.serve = once(1, func(w http.ResponseWriter, r *http.Request, content string) {
		partly(w, content, 2<<20)
		time.Sleep(50 * time.Millisecond)
		cancel()
		<-r.Context().Done()
	})
	c := client(t)
	c.Stall = 10 * time.Second
	if _, err := c.Pull(ctx, Options{Repo: repo, Revision: "main"}); err != context.Canceled {
		t.Errorf("stopped: %v", err)
	}
	if _, err := Cached(repo, "main"); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("half of it is found: %v", err)
	}
	s.fetched()
	if _, err := c.Pull(t.Context(), Options{Repo: repo, Revision: "main"}); err != nil {
		t.Fatal(err)
	}
	if names := s.fetched(); !slices.Contains(names, bigFile+" bytes=2097152-") {
		t.Errorf("asked for %q", names)
	}
}

// The token goes to the endpoint alone: not to the host that has the large files, whose answers still count.
func TestRedirect(t *testing.T) {
	var seen []string
	cdn := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		seen = append(seen, r.Header.Get("Authorization"), r.Header.Get("Range"))
		if len(seen) == 2 { // the address's signature is too old
			w.WriteHeader(http.StatusForbidden)
			return
		}
		http.ServeContent(w, r, "", time.Time{}, strings.NewReader(big))
	}))
	t.Cleanup(cdn.Close)
	s := newServer(t, pipeline())
	s.serve = func(w http.ResponseWriter, r *http.Request, name, _ string) bool {
		if name == bigFile {
			http.Redirect(w, r, cdn.URL+"/x?signature=1", http.StatusFound)
		}
		return name == bigFile
	}
	out := t.TempDir()
	os.MkdirAll(filepath.Join(out, "unet"), 0o755)
	os.WriteFile(filepath.Join(out, bigFile+".incomplete"), []byte(big[:10]), 0o644)
	if _, err := client(t).Pull(t.Context(), Options{Repo: repo, Revision: "main", Out: out}); err != nil {
		t.Fatal(err)
	}
	tree(t, out, s.files)
	if want := []string{"", "bytes=10-", "", "bytes=10-"}; !slices.Equal(seen, want) {
		t.Errorf("the other host saw %q, want %q", seen, want)
	}
	for _, r := range s.requests {
		if r.Header.Get("Authorization") != "Bearer hf_secret" {
			t.Errorf("the endpoint saw %q", r.Header.Get("Authorization"))
		}
	}
	// A subdomain is another host, and so is one that a redirect leads back from.
	via := []*http.Request{httptest.NewRequest("GET", "https://hub.example/x", nil),
		httptest.NewRequest("GET", "https://cdn.hub.example/x", nil)}
	for address, keeps := range map[string]bool{"https://hub.example/y": true, "https://cdn.hub.example/y": false,
		"https://hub.example:444/y": false} {
		r := httptest.NewRequest("GET", address, nil)
		r.Header.Set("Authorization", "Bearer x")
		if err := checkRedirect(r, via); err != nil || (r.Header.Get("Authorization") != "") != keeps {
			t.Errorf("%s: %v, %v", address, r.Header, err)
		}
	}
	if err := checkRedirect(httptest.NewRequest("GET", "http://hub.example/y", nil), via); err == nil {
		t.Error("a redirect from https to http was followed")
	}
}

func TestLyingLists(t *testing.T) {
	set := func(key string, value any) func(map[string]any) {
		return func(answer map[string]any) { answer["siblings"].([]any)[0].(map[string]any)[key] = value }
	}
	for want, lie := range map[string]func(map[string]any){
		`a file is called "../../x"`:     set("rfilename", "../../x"),
		`a file is called "/etc/passwd"`: set("rfilename", "/etc/passwd"),
		`a file is called "unet/../x"`:   set("rfilename", "unet/../x"),
		`a file is called "unet\\x"`:     set("rfilename", `unet\x`),
		`a file is called ""`:            set("rfilename", ""),
		"has -1 bytes":                   set("size", -1),
		"has 35184372088832 bytes":       set("size", 1<<45),
		`has the hash "../x"`:            set("blobId", "../x"),
		`has the hash "ABC"`:             set("lfs", map[string]any{"sha256": "ABC", "size": 3}),
		`its commit is "main"`:           func(a map[string]any) { a["sha"] = "main" },
		"twice": func(a map[string]any) {
			a["siblings"] = append(a["siblings"].([]any),
				a["siblings"].([]any)[0])
		},
		"has no model_index.json":    func(a map[string]any) { a["siblings"] = []any{} },
		"answers with more than":     func(a map[string]any) { a["x"] = strings.Repeat("x", maxAnswer) },
		"something else than a list": func(a map[string]any) { a["siblings"] = 3 },
		"want at most 16777216": func(a map[string]any) { // of the index
			for _, f := range a["siblings"].([]any) {
				if f := f.(map[string]any); f["rfilename"] == IndexFile {
					f["size"] = 1 << 30
				}
			}
		},
		"and the hub says 0000000000000000000000000000000000000000": func(a map[string]any) {
			for _, f := range a["siblings"].([]any) {
				if f := f.(map[string]any); f["rfilename"] == IndexFile {
					f["blobId"] = strings.Repeat("0", 40)
				}
			}
		},
	} {
		s := newServer(t, pipeline())
		s.list = lie
		c := client(t)
		c.Stall = 10 * time.Second
		if _, err := c.Pull(t.Context(), Options{Repo: repo, Revision: "main", Out: t.TempDir()}); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
	s := newServer(t, pipeline())
	s.list = func(a map[string]any) {
		for _, f := range a["siblings"].([]any) {
			if f := f.(map[string]any); f["rfilename"] == bigFile {
				f["lfs"].(map[string]any)["size"] = int64(1) << 43
			}
		}
	}
	if _, err := client(t).Pull(t.Context(), Options{Repo: repo, Revision: "main", Out: t.TempDir()}); err == nil ||
		!strings.Contains(err.Error(), "GB left") {
		t.Errorf("a file of 8 TiB: %v", err)
	}
}

func TestRefusals(t *testing.T) {
	for _, c := range []struct {
		code  int
		token string
		want  []string
	}{
		{401, "", []string{"not open to everybody", "/" + repo + " with an account", "accept the licence",
			"/settings/tokens", "HF_TOKEN"}},
		{403, "", []string{"accept the licence"}},
		{401, "hf_x", []string{"is not valid"}},
		{403, "hf_x", []string{"may not read " + repo, "accept the licence", "fine-grained"}},
		{404, "hf_x", []string{"has no " + repo}},
		{500, "", []string{"500 Internal Server Error (tried 3 times"}},
	} {
		s := newServer(t, nil)
		t.Setenv("HF_TOKEN", c.token)
		s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(c.code) })
		_, err := client(t).Pull(t.Context(), Options{Repo: repo, Revision: "main"})
		for _, want := range c.want {
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%d with token %q: %v; want %q", c.code, c.token, err, want)
			}
		}
	}
	c := client(t)
	for _, name := range []string{"", "x", "a/b/c", "../b", "a/..", "a/b\n", "a--b/c", "/b"} {
		if _, err := c.Pull(t.Context(), Options{Repo: name, Revision: "main"}); err == nil ||
			!strings.Contains(err.Error(), "is not a repository's name") {
			t.Errorf("%q: %v", name, err)
		}
	}
	for index, want := range map[string]string{
		`{"_class_name":"StableDiffusionPipeline"}`: `"StableDiffusionPipeline", expected a pipeline of DeepFloyd IF`,
		`{"_class_name":"IFSurePipeline"}`:          `"IFSurePipeline", expected a pipeline of DeepFloyd IF`,
		`{"_class_name":"IFPipeline"}`:              "has no unet",
		`{}`:                                        "_class_name",
		`[]`:                                        "no pipeline's index",
	} {
		newServer(t, map[string]string{IndexFile: index})
		if _, err := client(t).Pull(t.Context(), Options{Repo: repo, Revision: "main"}); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", index, err, want)
		}
	}
	for missing, want := range map[string]string{
		"scheduler/scheduler_config.json": "no scheduler/scheduler_config.json",
		"text_encoder/model-00002-of-00002.safetensors": "has no text_encoder/model-00002-of-00002.safetensors, " +
			"which text_encoder/model.safetensors.index.json names",
	} {
		files := pipeline()
		delete(files, missing)
		newServer(t, files)
		if _, err := client(t).Pull(t.Context(), Options{Repo: repo, Revision: "main"}); err == nil ||
			!strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %q", err, want)
		}
	}
}

func TestLock(t *testing.T) {
	newServer(t, pipeline())
	out := t.TempDir()
	os.MkdirAll(filepath.Join(out, "unet"), 0o755)
	other, err := openPart(t.Context(), file{name: bigFile, size: 1, hash: hashOf(big)},
		filepath.Join(out, bigFile+".incomplete"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client(t).Pull(t.Context(), Options{Repo: repo, Revision: "main", Out: out}); err == nil ||
		!strings.Contains(err.Error(), "by another process") {
		t.Error(err)
	}
	other.Close()
	if _, err := client(t).Pull(t.Context(), Options{Repo: repo, Revision: "main", Out: out}); err != nil {
		t.Error(err)
	}
}

func TestEnvironment(t *testing.T) {
	home := t.TempDir()
	for _, name := range []string{"HF_ENDPOINT", "HF_TOKEN", "HF_TOKEN_PATH", "HF_HUB_CACHE"} {
		t.Setenv(name, "")
	}
	t.Setenv("HF_HOME", home)
	os.WriteFile(filepath.Join(home, "token"), []byte("hf_kept\n"), 0o600)
	c, err := New()
	if err != nil || c.Endpoint != DefaultEndpoint || c.Token != "hf_kept" {
		t.Errorf("%+v, %v", c, err)
	}
	t.Setenv("HF_TOKEN", " hf_set ")
	if c, err = New(); err != nil || c.Token != "hf_set" {
		t.Errorf("%+v, %v", c, err)
	}
	t.Setenv("HF_TOKEN", "a\nb")
	if _, err = New(); err == nil || strings.Contains(err.Error(), "a\nb") {
		t.Errorf("a token of two lines: %v", err)
	}
	t.Setenv("HF_TOKEN", "")
	for _, endpoint := range []string{"hub.example", "ftp://hub.example", "https://"} {
		t.Setenv("HF_ENDPOINT", endpoint)
		if _, err := New(); err == nil || !strings.Contains(err.Error(), "HF_ENDPOINT") {
			t.Errorf("%q: %v", endpoint, err)
		}
	}
	if dir, err := CacheDir(); err != nil || dir != filepath.Join(home, "hub") {
		t.Errorf("%q, %v", dir, err)
	}
	t.Setenv("HF_HUB_CACHE", "/elsewhere")
	if dir, err := CacheDir(); err != nil || dir != "/elsewhere" {
		t.Errorf("%q, %v", dir, err)
	}
}
