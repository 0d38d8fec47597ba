package studio

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"regexp"

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
	"base-uri 'none'; form-action 'none'; frame-ancestors 'self'; sandbox allow-scripts"

// again is where a page tells of a picture beside it that carries its recipe.
var again = regexp.MustCompile(`<details class="recipe" data-picture="([a-z0-9-]{1,64})\.png">`)

// opener has the studio around a write-up open a recipe.
const opener = `<p><a id="again-$1" class="again" href="/#again=$1">Open in the studio</a></p>$0`

const openerScript = `<script>
for (const a of document.querySelectorAll(".again")) a.addEventListener("click", (e) => {
  if (parent === window) return;
  e.preventDefault();
  parent.postMessage({ again: a.id.slice(6) }, "*");
});
</script></body>`

// writeup serves the page of one file that the studio was started with. Where it shows a picture with a recipe, the
// studio opens it.
func (s *Studio) writeup(w http.ResponseWriter, r *http.Request) {
	text, ok := s.readWriteup()
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Security-Policy", pagePolicy)
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	text = again.ReplaceAll(text, []byte(opener))
	_, _ = w.Write(bytes.Replace(text, []byte("</body>"), []byte(openerScript), 1)) // a client that has gone reads nothing
}

// writeupPicture serves a picture beside the write-up that its page tells of.
func (s *Studio) writeupPicture(w http.ResponseWriter, r *http.Request) {
	name := r.PathValue("name")
	text, ok := s.readWriteup()
	for _, m := range again.FindAllSubmatch(text, -1) {
		if ok && string(m[1])+".png" == name {
			w.Header().Set("Content-Type", "image/png")
			http.ServeFile(w, r, filepath.Join(filepath.Dir(s.options.Writeup), name))
			return
		}
	}
	http.NotFound(w, r)
}

func (s *Studio) readWriteup() ([]byte, bool) {
	if s.options.Writeup == "" {
		return nil, false
	}
	text, err := os.ReadFile(s.options.Writeup)
	if err != nil {
		s.log.Warn("the write-up can't be read", "error", err)
	}
	return text, err == nil
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
