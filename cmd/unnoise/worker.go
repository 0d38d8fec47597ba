package main

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/internal/cli"
	"github.com/unnoise/unnoise/internal/memory"
	"github.com/unnoise/unnoise/jobs"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/registry"
)

type workerFlags struct {
	computing
	nats   string
	models []string
}

func newWorker() *cobra.Command {
	var f workerFlags
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Draw for studios on this or other machines",
		Long: `Takes jobs of studios out of their queue and draws them, one at a time. It takes those of its own --models
that have room in this machine's memory. When it is stopped or killed, its job is drawn by another worker,
or by itself later, to the same picture.`,
		Example: `  unnoise studio --nats-addr 127.0.0.1:4222
  unnoise worker --nats nats://127.0.0.1:4222
  unnoise worker --nats nats://TOKEN@HOST:4222 --models DeepFloyd/IF-I-M-v1.0`,
		Args: cli.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return f.run(cmd) },
	}
	flags := cmd.Flags()
	flags.StringVar(&f.nats, "nats", "nats://127.0.0.1:4222",
		"address of the NATS server: a studio's --nats-addr, or what its --nats says")
	flags.StringSliceVar(&f.models, "models", registry.Drawing(),
		"models to draw with: of 'unnoise model list', folders, or OWNER/NAME in the hub's cache")
	completeModels(cmd, "models")
	computeFlags(cmd, &f.computing)
	return cmd
}

func (f *workerFlags) run(cmd *cobra.Command) error {
	memory.Save()
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
	l := lab.New(lab.Options{Backend: f.other(), Threads: f.threads})
	defer l.Close()
	able, err := jobs.AbleOf(l, f.models, log)
	if err != nil {
		return fmt.Errorf("--models: %w", err)
	}
	var w *jobs.Worker
	for { // a studio may be about to start
		if w, err = jobs.Hire(f.nats, able, jobs.DrawWith(l), log); err == nil {
			break
		}
		log.Warn("the queue is not there, next try in a second", "error", err)
		select {
		case <-time.After(time.Second):
		case <-cmd.Context().Done():
			return context.Cause(cmd.Context())
		}
	}
	defer w.Close()
	fmt.Fprintln(cmd.OutOrStdout(), "Taking jobs")
	return w.Run(cmd.Context())
}
