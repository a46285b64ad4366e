package documents

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/require"
)

const root = "../../../.."

// page is a Markdown file; its path begins at the root of the project.
type page struct {
	path, text string
}

// pages are all Markdown files of the project.
func pages(t *testing.T) []page {
	t.Helper()
	var all []page
	for _, path := range files(t, ".md") {
		all = append(all, page{path, read(t, path)})
	}
	require.NotEmpty(t, all)
	return all
}

// files are the paths of all files with an ending, without what is hidden.
func files(t *testing.T, ending string) []string {
	t.Helper()
	var all []string
	require.NoError(t, fs.WalkDir(os.DirFS(root), ".", func(path string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && path != "." && (strings.HasPrefix(d.Name(), ".") || d.Name() == "bin" || d.Name() == "testdata"):
			return fs.SkipDir
		case !d.IsDir() && strings.HasSuffix(path, ending):
			all = append(all, path)
		}
		return nil
	}))
	return all
}

func read(t *testing.T, path string) string {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(root, path))
	require.NoError(t, err)
	return string(raw)
}

var (
	fenced  = regexp.MustCompile("(?ms)^```.*?^```")
	code    = regexp.MustCompile("`[^`]*`")
	links   = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#{1,6} +(.+?) *$`)
)

// prose is the page without code, in which brackets are no links.
func (p page) prose() string { return code.ReplaceAllString(fenced.ReplaceAllString(p.text, ""), "") }

// anchors are what links may name behind a hash: GitHub's form of the headings.
func (p page) anchors() []string {
	var all []string
	for _, m := range heading.FindAllStringSubmatch(fenced.ReplaceAllString(p.text, ""), -1) {
		all = append(all, anchor(m[1]))
	}
	return all
}

func anchor(title string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.IsLetter(r), unicode.IsNumber(r), r == '-', r == '_':
			return unicode.ToLower(r)
		case r == ' ':
			return '-'
		}
		return -1
	}, title)
}

// broken lists the links of a page that lead nowhere.
func broken(t *testing.T, p page) []string {
	t.Helper()
	var all []string
	for _, m := range links.FindAllStringSubmatch(p.prose(), -1) {
		if strings.Contains(m[1], "://") {
			continue
		}
		file, fragment, _ := strings.Cut(m[1], "#")
		to := p
		if file != "" {
			to.path = filepath.Join(filepath.Dir(p.path), file)
			info, err := os.Stat(filepath.Join(root, to.path))
			if err != nil {
				all = append(all, m[1])
				continue
			}
			if info.IsDir() {
				continue
			}
			to.text = read(t, to.path)
		}
		if fragment != "" && !slices.Contains(to.anchors(), fragment) {
			all = append(all, m[1])
		}
	}
	return all
}

func TestEveryLinkBetweenThePagesLeadsSomewhere(t *testing.T) {
	t.Parallel()
	found := 0
	for _, p := range pages(t) {
		require.Empty(t, broken(t, p), p.path)
		found += len(links.FindAllString(p.prose(), -1))
	}
	require.Greater(t, found, 30)
}

func TestALinkThatLeadsNowhereIsFound(t *testing.T) {
	t.Parallel()
	p := page{"docs/x.md", "# One `two` – 3\n\n[a](#one-two--3) [b](#four) [c](nothing.md) [d](architecture.md#the-house) [e](architecture.md#no) `[f](none.md)` [g](https://example.com/)\n\n```\n[h](none.md)\n# Five\n```\n[i](#five)"}
	require.Equal(t, []string{"#four", "nothing.md", "architecture.md#no", "#five"}, broken(t, p))
}

func TestEveryPageForOperatorsIsNamedInTheReadme(t *testing.T) {
	t.Parallel()
	readme := read(t, "README.md")
	for _, p := range pages(t) {
		if p.path != "README.md" {
			require.Contains(t, readme, "]("+p.path+")", "a link to it")
		}
	}
}
