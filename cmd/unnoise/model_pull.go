package main

import (
	"cmp"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/internal/cli"
	"github.com/unnoise/unnoise/internal/duration"
	"github.com/unnoise/unnoise/weights/hub"
)

func newModelPull() *cobra.Command {
	var revision, variant, out string
	var without []string
	cmd := &cobra.Command{
		Use: "pull OWNER/NAME", Short: "Fetch a pipeline of DeepFloyd IF from the Hugging Face Hub",
		Long: `Fetches what Unnoise reads of a repository in diffusers' layout into the cache that the hub's own
programs share, or to --out. Sizes and hashes are checked; a transfer that broke off goes on where it was.

DeepFloyd's weights are given to those who have agreed to their licence on the model's page: HF_TOKEN,
or the token of the hub's own login, tells the hub who asks. HF_ENDPOINT names another hub, HF_HOME
another cache. Second stages come without text encoder, since generate takes the first stage's.`,
		Example: `  unnoise model pull DeepFloyd/IF-I-M-v1.0 --variant fp16
  unnoise generate --model DeepFloyd/IF-I-M-v1.0 --variant fp16 --prompt "a red fox in the snow" --out fox.png`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 || !hub.IsRepo(args[0]) {
				return cli.Usagef("%s: expected a repository, OWNER/NAME, found %q", cmd.CommandPath(), args)
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			o := hub.Options{Repo: args[0], Revision: revision, Variant: variant, Without: without, Out: out}
			if err := o.Check(); err != nil {
				return cli.UsageError{Err: err}
			}
			client, err := hub.New()
			if err != nil {
				return err
			}
			p := cli.Progress(cmd, false)
			start := time.Now()
			o.Report = func(s hub.Progress) {
				if s.Retry != nil {
					p.Print("%s: %v; trying again", cmp.Or(s.File, args[0]), s.Retry)
					return
				}
				p.Update(func() string {
					return fmt.Sprintf("%s: %s of %s", s.File, megabytes(s.Done), megabytes(s.Total))
				})
			}
			r, err := client.Pull(cmd.Context(), o)
			p.Clear()
			if err != nil {
				return err
			}
			return cli.Printf(cmd, "%d files, %s, of which %s were fetched in %s: %s", r.Files, megabytes(r.Total),
				megabytes(r.Fetched), duration.Format(time.Since(start)), r.Dir)
		},
	}
	cmd.Flags().StringVar(&revision, "revision", "main",
		"branch, tag or commit; OWNER/NAME then finds main, others are found by their folder")
	cmd.Flags().StringVar(&variant, "variant", "", "variant of the weights, such as fp16")
	cmd.Flags().StringSliceVar(&without, "without", nil,
		"parts to leave out: tokenizer, text_encoder or image_noising_scheduler")
	cli.Folder(cmd, &out, "out", "", "folder to write (default: the hub's cache)")
	return cmd
}

func megabytes(n int64) string { return fmt.Sprintf("%.1f MB", float64(n)/1e6) }
