package main

import (
	"fmt"
	"log/slog"
	"net"
	"net/url"

	"github.com/spf13/cobra"

	"github.com/unnoise/unnoise/dataset/emoji"
	"github.com/unnoise/unnoise/internal/browser"
	"github.com/unnoise/unnoise/internal/cli"
	"github.com/unnoise/unnoise/internal/memory"
	"github.com/unnoise/unnoise/lab"
	"github.com/unnoise/unnoise/registry"
	"github.com/unnoise/unnoise/studio"
)

type studioFlags struct {
	computing
	addr, dir, token string
	writeup          string
	nats, natsAddr   string
	models, data     []string
	queue            int
	open, noWorker   bool
	pprof            bool
}

func newStudio() *cobra.Command {
	var f studioFlags
	cmd := &cobra.Command{
		Use: "studio", Short: "Draw in the browser, and serve programs that draw",
		Long: `Serves a page for drawing on this machine, and an API for programs: see /openapi.json.

Pictures lie in --dir as PNG files with their recipes, and the queue of jobs does too. Ctrl-C draws what waits, for at
most a minute, and stops; what waits then, or when the program is killed, is drawn the next time. Other processes and
machines draw too with 'unnoise worker'.
Any address but loopback needs --token, a secret that browsers and programs must know.`,
		Example: `  unnoise studio --open
  unnoise studio --models mnist-class,runs/letters --addr 127.0.0.1:8080
  unnoise studio --nats-addr 127.0.0.1:4222`,
		Args: cli.NoArgs, RunE: cli.Run(f.run),
	}
	flags := cmd.Flags()
	flags.StringVar(&f.addr, "addr", "127.0.0.1:7860", "address and port to serve")
	cli.Folder(cmd, &f.dir, "dir", "out/studio", "folder for the pictures")
	flags.StringVar(&f.token, "token", "",
		"secret of at least 16 characters that clients must know; none for loopback alone")
	flags.StringSliceVar(&f.models, "models", registry.Drawing(),
		"models to draw with, the first one at first: of 'unnoise model list', folders, or OWNER/NAME in the hub's "+
			"cache")
	completeModels(cmd, "models")
	flags.StringSliceVar(&f.data, "data", nil,
		"folders that may be trained on besides MNIST: pictures with captions, or IDX files (default: the emoji set, "+
			"where 'unnoise dataset emoji' has made it)")
	flags.StringVar(&f.writeup, "writeup", "",
		"page to read in the studio: what 'unnoise writeup' or 'unnoise demo' made, a file or its folder")
	cli.Int(cmd, &f.queue, "queue", studio.Limits.Queue, 1, 100_000, "jobs that wait or are drawn; more are refused")
	flags.StringVar(&f.nats, "nats", "",
		"address of a NATS server or cluster with JetStream to use, such as nats://TOKEN@HOST:4222 (default: one "+
			"within)")
	flags.StringVar(&f.natsAddr, "nats-addr", "",
		"address and port where 'unnoise worker' reaches the NATS server within (default: none)")
	flags.BoolVar(&f.noWorker, "no-worker", false, "leave drawing to 'unnoise worker'")
	flags.BoolVar(&f.pprof, "pprof", false, "serve what Go's profiler reads at /debug/pprof/")
	flags.BoolVar(&f.open, "open", false, "open the page in the browser")
	computeFlags(cmd, &f.computing)
	return cmd
}

func (f *studioFlags) run(cmd *cobra.Command) error {
	if err := studio.CheckAddress(f.addr, f.token); err != nil {
		return cli.UsageError{Err: err}
	}
	writeup, err := studio.FindWriteup(f.writeup)
	if err != nil {
		return fmt.Errorf("--writeup: %w", err)
	}
	if f.natsAddr != "" && f.nats != "" {
		return cli.Usagef("--nats-addr has no meaning with --nats: that server has an address")
	}
	if f.natsAddr != "" {
		if err := studio.CheckAddress(f.natsAddr, f.token); err != nil {
			return cli.UsageError{Err: fmt.Errorf("--nats-addr: %w", err)}
		}
	}
	memory.Save()
	log := slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), nil))
	listener, err := net.Listen("tcp", f.addr)
	if err != nil {
		return fmt.Errorf("--addr: %w", err)
	}
	defer listener.Close()
	data := f.data
	if path, err := emoji.DefaultDir(); err == nil && !cmd.Flags().Changed("data") && emoji.Is(path) {
		data = []string{path}
	}
	s, err := studio.New(studio.Options{
		Dir: f.dir, Models: f.models, Data: data, Writeup: writeup, Token: f.token, Log: log, Queue: f.queue,
		NATS: f.nats, NATSAddr: f.natsAddr, NoWorker: f.noWorker, Pprof: f.pprof,
		Lab: lab.Options{Backend: f.other(), Threads: f.threads},
	})
	if err != nil {
		return err
	}
	page := url.URL{Scheme: "http", Host: listener.Addr().String(), Path: "/"}
	fmt.Fprintln(cmd.OutOrStdout(), "The page:", page.String())
	if f.open {
		if f.token != "" {
			page.RawQuery = url.Values{"token": {f.token}}.Encode()
		}
		if err := browser.Open(page.String()); err != nil {
			log.Warn("no browser could be opened", "error", err)
		}
	}
	return s.Serve(cmd.Context(), listener)
}
