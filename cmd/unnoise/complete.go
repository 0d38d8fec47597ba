package main

import (
	"strings"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/course"
	"github.com/unnoise/unnoise/internal/cli"
	"github.com/unnoise/unnoise/lab"
)

// allPrompts stands for all of a small vocabulary.
const allPrompts = "all"

// phrases are prompts that suit the model of a command line, whose weights are not read.
func phrases(cmd *cobra.Command) []string {
	l := lab.New(lab.Options{})
	defer l.Close()
	r := lab.Request{Model: cmd.Flag("model").Value.String()}
	spec, _, err := l.About(r)
	if err != nil {
		return nil // completion says nothing
	}
	if len(spec.Vocabulary) > 0 {
		return append(spec.Vocabulary, allPrompts)
	}
	return course.Defaults(spec).Phrases()
}

// completePrompts offers prompts for a flag.
func completePrompts(cmd *cobra.Command, flag string) {
	cli.CompleteBy(cmd, flag, func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective) {
		return phrases(cmd), cobra.ShellCompDirectiveNoFileComp
	})
}

// completeParts offers names for what stands before = in a flag's value, and prompts behind.
func completeParts(cmd *cobra.Command, flag string, names []string) {
	cli.CompleteBy(cmd, flag, func(_ *cobra.Command, _ []string, typed string) ([]string, cobra.ShellCompDirective) {
		var all []string
		if name, _, ok := strings.Cut(typed, "="); ok {
			if flag == "picture" {
				return nil, cobra.ShellCompDirectiveDefault
			}
			for _, p := range phrases(cmd) {
				if p != allPrompts { // a part shows one
					all = append(all, name+"="+p)
				}
			}
			return all, cobra.ShellCompDirectiveNoFileComp
		}
		for _, name := range names {
			all = append(all, name+"=")
		}
		return all, cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
	})
}
