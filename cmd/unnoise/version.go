package main

import (
	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/internal/cli"
)

// version is set when a release is built: -ldflags "-X main.version=1.2.3".
var version = ""

func newVersion() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version",
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cli.Print(cmd, asJSON, build.Read(version)) },
	}
	cli.JSONFlag(cmd, &asJSON, "print a JSON object")
	return cmd
}
