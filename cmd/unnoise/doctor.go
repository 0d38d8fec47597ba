package main

import (
	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/internal/cli"
	"github.com/unnoise/unnoise/internal/doctor"
)

func newDoctor() *cobra.Command {
	var asJSON, quick bool
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Tell what networks run on here, what is missing, and what this machine is good for",
		Args:  cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			r, err := doctor.Examine(cmd.Context(), !quick)
			if err != nil {
				return err
			}
			return cli.Print(cmd, asJSON, r)
		},
	}
	cli.JSONFlag(cmd, &asJSON, "print a JSON object")
	cmd.Flags().BoolVar(&quick, "quick", false, "don't measure what this machine is good for, which takes some seconds")
	return cmd
}
