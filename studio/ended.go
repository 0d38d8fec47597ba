package studio

import (
	"encoding/json"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"sync"

	"github.com/unnoise/unnoise/internal/atomicfile"
	"github.com/unnoise/unnoise/jobs"
)

// endings are the last jobs that ended, each with its film in a file, so that a program that is started anew knows
// them. The oldest ones go when there are too many.
type endings struct {
	dir   string
	log   *slog.Logger
	most  int   // jobs
	bytes int64 // of all files

	mu    sync.Mutex
	ids   []string // the oldest first
	sizes map[string]int64
	total int64
}

// ending is what is kept of a job that has ended.
type ending struct {
	Status   Status         `json:"status"`
	Film     jobs.Film      `json:"film,omitempty"`
	Sheet    *jobs.Sheet    `json:"sheet,omitempty"`
	Pictures []jobs.Picture `json:"pictures,omitempty"` // of a draft; others are in the gallery
}

var jobName = regexp.MustCompile(`^\d{8}-\d{6}-[0-9a-f]{8}$`)

// openEndings opens the folder, and makes it where it is missing.
func openEndings(dir string, log *slog.Logger) (*endings, error) {
	e := &endings{dir: dir, log: log, most: 256, bytes: 256 << 20, sizes: map[string]int64{}}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	files, err := os.ReadDir(dir) // in the order of their names, which begin with the time
	if err != nil {
		return nil, err
	}
	for _, f := range files {
		id, isJSON := trimJSON(f.Name())
		info, err := f.Info()
		if isJSON && jobName.MatchString(id) && err == nil && info.Mode().IsRegular() {
			e.note(id, info.Size())
		}
	}
	return e, nil
}

func trimJSON(name string) (id string, ok bool) {
	ext := filepath.Ext(name)
	return name[:len(name)-len(ext)], ext == ".json"
}

func (e *endings) path(id string) string { return filepath.Join(e.dir, id+".json") }

// note counts a file in, and removes the oldest ones where there are too many.
func (e *endings) note(id string, size int64) {
	if _, ok := e.sizes[id]; !ok {
		e.ids = append(e.ids, id)
	}
	e.total += size - e.sizes[id]
	e.sizes[id] = size
	for len(e.ids) > 1 && (len(e.ids) > e.most || e.total > e.bytes) {
		oldest := e.ids[0]
		if err := os.Remove(e.path(oldest)); err != nil {
			e.log.Warn("an old job's file can't be removed", "error", err)
		}
		e.total -= e.sizes[oldest]
		delete(e.sizes, oldest)
		e.ids = e.ids[1:]
	}
}

// write keeps a job, in place of what was kept of it before.
func (e *endings) write(one ending) error {
	if !one.Status.Draft {
		one.Pictures = nil
	}
	text, err := json.Marshal(one)
	if err != nil {
		return err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	id := one.Status.ID
	err = atomicfile.Write(e.path(id), func(w io.Writer) error {
		_, err := w.Write(text)
		return err
	})
	if err == nil {
		e.note(id, int64(len(text)))
	}
	return err
}

// read returns what is kept of a job.
func (e *endings) read(id string) (one ending, ok bool) {
	e.mu.Lock()
	_, ok = e.sizes[id]
	e.mu.Unlock()
	if !ok {
		return one, false
	}
	text, err := os.ReadFile(e.path(id))
	if err == nil {
		err = json.Unmarshal(text, &one)
	}
	if err != nil {
		e.log.Warn("an ended job's file can't be read", "id", id, "error", err)
	}
	return one, err == nil
}

// last lists the names of the n jobs that ended last, the oldest first.
func (e *endings) last(n int) []string {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.Clone(e.ids[max(0, len(e.ids)-n):])
}
