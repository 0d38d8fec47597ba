package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// signaled is the cause of a context that a signal cancelled.
type signaled struct{ signal syscall.Signal }

func (s signaled) Error() string { return s.signal.String() }
func (s signaled) exitCode() int { return 128 + int(s.signal) }

// interruptible returns a context that the first Ctrl-C, SIGTERM or SIGHUP
// cancels, so that a verb can finish its step and put its files in order. The
// second one ends the program at once. Under nohup, SIGHUP stays ignored.
func interruptible(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() {
		first := <-signals
		cause := signaled{first.(syscall.Signal)}
		fmt.Fprintln(os.Stderr, "\nstopping cleanly; press Ctrl-C again to quit at once")
		cancel(cause)
		<-signals
		os.Exit(cause.exitCode())
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}
