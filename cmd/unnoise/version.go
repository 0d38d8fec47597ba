package main

import (
	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/internal/build"
	"github.com/unnoise/unnoise/internal/cli"
)

func newVersion() *cobra.Command {
	var asJSON bool
	cmd := &cobra.Command{
		Use: "version", Short: "Print the version",
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cli.Print(cmd, asJSON, build.Read()) },
	}
	cli.JSONFlag(cmd, &asJSON, "print a JSON object")
	return cmd
}
