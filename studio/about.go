package studio

import (
	"context"
	"net/http"
	"os"
	"path/filepath"

	"github.com/unnoise/unnoise/internal/build"
)

// About is what the page asks once.
type About struct {
	Commit  string `json:"commit,omitempty" doc:"that the program was built from"`
	Writeup bool   `json:"writeup" doc:"there is a write-up at /writeup"`
}

type withAbout struct {
	Body About
}

func (s *Studio) about(context.Context, *struct{}) (*withAbout, error) {
	return &withAbout{About{build.Commit(), s.options.Writeup != ""}}, nil
}

// pagePolicy is a write-up's: its style, script and pictures are in it. It runs apart from the studio, as another
// site's page would.
const pagePolicy = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:; " +
	"base-uri 'none'; form-action 'none'; frame-ancestors 'none'; sandbox allow-scripts"

// writeup serves the page of one file that the studio was started with.
func (s *Studio) writeup(w http.ResponseWriter, r *http.Request) {
	if s.options.Writeup == "" {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Security-Policy", pagePolicy)
	w.Header().Set("Cache-Control", "no-cache")
	http.ServeFile(w, r, s.options.Writeup)
}

// FindWriteup returns the page that a name stands for: the file, or a folder's index.html.
func FindWriteup(name string) (string, error) {
	if name == "" {
		return "", nil
	}
	info, err := os.Stat(name)
	if err == nil && info.IsDir() {
		name = filepath.Join(name, "index.html")
		_, err = os.Stat(name)
	}
	return name, err
}
