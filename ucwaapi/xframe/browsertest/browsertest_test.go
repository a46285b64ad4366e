package browsertest

import (
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestStartedBrowserRunsScripts(t *testing.T) {
	browser := Start(t)
	for _, open := range []string{"first", "second"} {
		tab, closeTab := chromedp.NewContext(browser)
		got, err := chromedp.Run(tab, chromedp.Evaluate[string](`"`+open+` " + typeof XMLHttpRequest`))
		require.NoError(t, err)
		require.Equal(t, open+" function", got)
		closeTab()
	}
}

func TestMissingBrowserNamesThePackage(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	_, _, err := Launch()
	require.ErrorContains(t, err, "install the Debian package chromium")
}
