// Package build tells which source the program was built from, as far as Go noted it.
package build

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// Revision returns the commit, "" if it is not known, and whether the source had changes beside it.
func Revision() (commit string, modified bool) {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "", false
	}
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			commit = s.Value
		case "vcs.modified":
			modified = s.Value == "true"
		}
	}
	return commit, modified
}

// Commit is the revision for people: twelve digits, and -dirty if there were changes.
func Commit() string {
	commit, modified := Revision()
	commit = commit[:min(12, len(commit))]
	if modified && commit != "" {
		commit += "-dirty"
	}
	return commit
}

// Info tells of the program itself.
type Info struct {
	Version  int    `json:"version"` // of this format: 1
	Unnoise  string `json:"unnoise"` // the release, or devel
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// Read tells of the program, of which release is the version if it was set when it was built.
func Read(release string) Info {
	r := Info{Version: 1, Unnoise: release, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	r.Commit, r.Modified = Revision()
	if info, ok := debug.ReadBuildInfo(); ok && r.Unnoise == "" && info.Main.Version != "(devel)" {
		r.Unnoise = info.Main.Version
	}
	if r.Unnoise == "" {
		r.Unnoise = "devel"
	}
	return r
}

// String is the line for people.
func (r Info) String() string {
	commit := ""
	if r.Commit != "" {
		commit = " " + r.Commit[:min(12, len(r.Commit))]
		if r.Modified {
			commit += " with changes"
		}
	}
	return fmt.Sprintf("unnoise %s%s (%s, %s)", r.Unnoise, commit, r.Go, r.Platform)
}
