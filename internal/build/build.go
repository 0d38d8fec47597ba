// Package build tells which source the program was built from, as far as Go noted it.
package build

import "runtime/debug"

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
