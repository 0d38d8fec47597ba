package terminal

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// Signaled is the cause of a context that a signal cancelled.
type Signaled struct{ Signal syscall.Signal }

func (s Signaled) Error() string { return s.Signal.String() }

// ExitCode is that of a process that the signal stopped.
func (s Signaled) ExitCode() int { return 128 + int(s.Signal) }

// Interruptible returns a context that the first Ctrl-C, SIGTERM or SIGHUP cancels, so that a task can finish its step
// and put its files in order. The second one ends the program at once. Under nohup, SIGHUP stays ignored.
func Interruptible(parent context.Context) (context.Context, func()) {
	ctx, cancel := context.WithCancelCause(parent)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() {
		first := <-signals
		cause := Signaled{first.(syscall.Signal)}
		fmt.Fprintln(os.Stderr, "\nstopping cleanly; press Ctrl-C again to quit at once")
		cancel(cause)
		<-signals
		os.Exit(cause.ExitCode())
	}()
	return ctx, func() {
		signal.Stop(signals)
		cancel(nil)
	}
}
