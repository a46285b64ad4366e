// Package browsertest starts a headless Chromium for tests that need a real
// browser. It owns how the browser is found, started and ended, and must never
// know what is tested with it.
package browsertest

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// startTimeout is how long a browser may take until it answers: one or two
// seconds are usual, and much more where several packages test at once.
const startTimeout = 2 * time.Minute

// Start starts a browser with an empty profile and returns the context of its
// first tab, for chromedp.Run and Do. chromedp.NewContext with that context as parent
// opens another tab of the same browser. The browser ends with the test, and
// no goroutine of it is left then. A machine without Chromium fails the test.
func Start(t testing.TB) context.Context {
	t.Helper()
	tab, stop, err := Launch()
	if err != nil {
		t.Fatalf("starting the browser: %v", err)
	}
	t.Cleanup(func() {
		if err := stop(); err != nil {
			t.Errorf("ending the browser: %v", err)
		}
	})
	return tab
}

// Launch does what Start does for a browser that several tests share, such as
// the inputs of a fuzz target. The caller calls stop once; it waits until the
// browser has ended and its profile is removed.
func Launch() (tab context.Context, stop func() error, err error) {
	path, err := exec.LookPath("chromium")
	if err != nil {
		return nil, nil, fmt.Errorf("chromium is missing, install the Debian package chromium (apt-get install chromium): %w", err)
	}
	// Without the option for a profile the allocator makes an empty one in the
	// directory for temporary files, and removes it.
	allocator, end := chromedp.NewExecAllocator(context.Background(),
		chromedp.ExecPath(path),
		chromedp.Flag("headless", true),
		chromedp.Flag("no-sandbox", true), // containers run tests as root
		chromedp.Flag("disable-gpu", true),
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("no-first-run", true),
		chromedp.Flag("disable-background-networking", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-sync", true),
	)
	tab, endTab := chromedp.NewContext(allocator)
	// The first run starts the browser, which lives as long as its context: so
	// a timer and not a context with a deadline guards the start.
	guard := time.AfterFunc(startTimeout, endTab)
	err = chromedp.Do(tab)
	if !guard.Stop() && err == nil {
		err = context.DeadlineExceeded
	}
	if err != nil {
		endTab()
		end()
		return nil, nil, fmt.Errorf("starting %s: %w", path, err)
	}
	return tab, func() error {
		err := chromedp.Cancel(tab) // asks it to quit, and waits
		endTab()
		end()
		if errors.Is(err, context.Canceled) {
			return nil
		}
		return err
	}, nil
}
