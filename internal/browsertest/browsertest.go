// Package browsertest opens pages in a headless Chromium for tests.
package browsertest

import (
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// Tab is a page in a headless chromium. What goes wrong in its scripts fails the test.
type Tab struct {
	T   *testing.T
	Ctx context.Context
}

// isSnap reports whether a browser is a snap, or a script that starts one: it would see none of a test's files.
func isSnap(path string) bool {
	real, err := filepath.EvalSymlinks(path)
	if err != nil || filepath.Base(real) == "snap" {
		return true
	}
	f, err := os.Open(real)
	if err != nil {
		return true
	}
	defer f.Close()
	begin := make([]byte, 4096)
	n, _ := io.ReadFull(f, begin)
	return bytes.Contains(begin[:n], []byte("/snap/"))
}

// New opens a window of the given size. Where there is no browser the test is skipped.
func New(t *testing.T, width, height int) Tab {
	t.Helper()
	path := ""
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable",
		"headless-shell"} {
		if found, err := exec.LookPath(name); err == nil && !isSnap(found) {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("no chromium found: pages are not opened (on Debian: apt-get install chromium)")
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	ctx, stop := chromedp.NewExecAllocator(ctx, append(chromedp.DefaultExecAllocatorOptions[:],
		chromedp.ExecPath(path), chromedp.NoSandbox, chromedp.DisableGPU, chromedp.WSURLReadTimeout(time.Minute),
		chromedp.WindowSize(width, height),
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))...)
	ctx, closeTab := chromedp.NewContext(ctx)
	t.Cleanup(func() {
		closeTab()
		stop()
		cancel()
	})
	if err := chromedp.Listen(ctx, func(event any) {
		switch e := event.(type) {
		case *runtime.EventExceptionThrown:
			text := e.ExceptionDetails.Text
			if x := e.ExceptionDetails.Exception; x != nil {
				text += " " + x.Description
			}
			t.Errorf("the page's script failed: %s", text)
		case *runtime.EventConsoleAPICalled:
			if e.Type == runtime.ConsoleAPICalledTypeError {
				t.Error("the page reported an error to the console")
			}
		}
	}); err != nil {
		t.Fatalf("%s does not start: %v", path, err)
	}
	return Tab{t, ctx}
}

// Do does what a person would, and fails the test if it can't be done.
func (b Tab) Do(what string, actions ...chromedp.Action[chromedp.Void]) {
	b.T.Helper()
	if err := chromedp.Do(b.Ctx, actions...); err != nil {
		b.T.Fatalf("%s: %v", what, err)
	}
}

// Value evaluates an expression of the page.
func Value[T any](b Tab, expression string) T {
	b.T.Helper()
	v, err := chromedp.Run(b.Ctx, chromedp.Evaluate[T](expression))
	if err != nil {
		b.T.Fatalf("%s: %v", expression, err)
	}
	return v
}
