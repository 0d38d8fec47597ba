// Package build tells which source the program was built from.
package build

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// The linker sets them in releases, as in -X github.com/unnoise/unnoise/internal/build.release=v1.2.3: Go itself knows
// no tags of other machines' clones, and in a git worktree nothing.
var release, commit, date string

// Info tells of the program itself.
type Info struct {
	Version  int    `json:"version"` // of this format: 1
	Unnoise  string `json:"unnoise"` // the release, or devel
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"` // the source had changes beside the commit
	Date     string `json:"date,omitempty"`     // of the commit
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

const devel = "devel"

// Read tells of the program.
func Read() Info {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		info = new(debug.BuildInfo)
	}
	return read(info)
}

func read(info *debug.BuildInfo) Info {
	r := Info{Version: 1, Unnoise: release, Commit: strings.TrimSuffix(commit, "-dirty"), Date: date,
		Modified: strings.HasSuffix(commit, "-dirty"), Go: runtime.Version(),
		Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if r.Commit == "" {
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				r.Commit = s.Value
			case "vcs.modified":
				r.Modified = s.Value == "true"
			case "vcs.time":
				r.Date, _, _ = strings.Cut(s.Value, "T")
			}
		}
	}
	if v := info.Main.Version; r.Unnoise == "" && v != "(devel)" && (r.Commit == "" || !strings.Contains(v, r.short())) {
		r.Unnoise = v // else it is the commit, said in another way
	}
	if r.Unnoise == "" {
		r.Unnoise = devel
	}
	return r
}

func (r Info) short() string { return r.Commit[:min(12, len(r.Commit))] }

// Commit is the commit for people: twelve digits, and -dirty if there were changes; "" if it is not known.
func Commit() string {
	r := Read()
	if r.Modified && r.Commit != "" {
		return r.short() + "-dirty"
	}
	return r.short()
}

// Source is the release, the commit and its date, as far as they are known.
func (r Info) Source() string {
	var words []string
	if r.Unnoise != devel || r.Commit == "" {
		words = append(words, r.Unnoise)
	}
	if r.Commit != "" {
		words = append(words, r.short())
	}
	if r.Modified {
		words = append(words, "with changes")
	}
	if r.Date != "" {
		words = append(words, "of "+r.Date)
	}
	return strings.Join(words, " ")
}

// String is the line for people.
func (r Info) String() string {
	return fmt.Sprintf("unnoise %s (%s, %s)", r.Source(), r.Go, r.Platform)
}
