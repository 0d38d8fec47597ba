package main

import (
	"fmt"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/internal/build"
)

// version is set when a release is built: -ldflags "-X main.version=1.2.3".
var version = ""

type versionReport struct {
	Version  int    `json:"version"`
	Unnoise  string `json:"unnoise"`
	Commit   string `json:"commit,omitempty"`
	Modified bool   `json:"modified,omitempty"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

func newVersion() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Args:  noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r := readVersion()
			if asJSON {
				return printJSON(cmd.OutOrStdout(), r)
			}
			_, err := fmt.Fprintln(cmd.OutOrStdout(), r)
			return err
		},
	}
	jsonFlag(cmd, &asJSON, "print a JSON object")
	return cmd
}

func (r versionReport) String() string {
	commit := ""
	if r.Commit != "" {
		commit = " " + r.Commit[:min(12, len(r.Commit))]
		if r.Modified {
			commit += " with changes"
		}
	}
	return fmt.Sprintf("unnoise %s%s (%s, %s)", r.Unnoise, commit, r.Go, r.Platform)
}

func readVersion() versionReport {
	r := versionReport{
		Version:  jsonVersion,
		Unnoise:  version,
		Go:       runtime.Version(),
		Platform: platform(),
	}
	r.Commit, r.Modified = build.Revision()
	if info, ok := debug.ReadBuildInfo(); ok && r.Unnoise == "" && info.Main.Version != "(devel)" {
		r.Unnoise = info.Main.Version
	}
	if r.Unnoise == "" {
		r.Unnoise = "devel"
	}
	return r
}
