package build

import (
	"runtime/debug"
	"testing"
)

func TestSource(t *testing.T) {
	const hash = "8866273bf499df855b7769a48719022b2bcfaf88"
	noted := []debug.BuildSetting{{Key: "vcs.revision", Value: hash}, {Key: "vcs.time", Value: "2026-11-29T12:18:17Z"},
		{Key: "vcs.modified", Value: "true"}}
	for _, c := range []struct {
		version               string
		noted                 []debug.BuildSetting
		release, commit, date string
		want                  string
	}{
		{want: "devel"},
		{version: "(devel)", want: "devel"},
		{version: "v0.0.0-20261129121817-8866273bf499+dirty", noted: noted, want: "8866273bf499 with changes of 2026-11-29"},
		{version: "v1.2.3", want: "v1.2.3"}, // go install …@v1.2.3
		{version: "(devel)", release: "v1.2.3", commit: hash, date: "2026-11-29", want: "v1.2.3 8866273bf499 of 2026-11-29"},
		{version: "(devel)", commit: hash + "-dirty", date: "2026-11-29", want: "8866273bf499 with changes of 2026-11-29"},
		{version: "(devel)", commit: "another", date: "2026-11-30", noted: noted, want: "another of 2026-11-30"},
	} {
		release, commit, date = c.release, c.commit, c.date
		info := debug.BuildInfo{Settings: c.noted}
		info.Main.Version = c.version
		if got := read(&info).Source(); got != c.want {
			t.Errorf("version %q, release %q, commit %q: %q, expected %q", c.version, c.release, c.commit, got, c.want)
		}
	}
	release, commit, date = "", "", ""
}
