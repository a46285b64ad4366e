package config

import (
	"bytes"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

const (
	exampleFile   = "../../../../configs/ucwagate.yaml"
	referenceFile = "../../../../docs/configuration.md"
)

func TestTheExampleFileLoads(t *testing.T) {
	t.Parallel()
	_, err := Load(exampleFile, nil)
	require.NoError(t, err)

	loaded, err := Load(exampleFile, []string{
		"UCWAGATE_SIGNIN_TICKET_KEYS=aHVudGVyMmh1bnRlcjJodW50ZXIyaHVudGVyMmh1bnRlcjI=",
		"UCWAGATE_TENANTS_0_CREDENTIAL_KIND=secret",
		"UCWAGATE_TENANTS_0_CREDENTIAL_CLIENT_ID=00000000-0000-0000-0000-00000000cccc",
		"UCWAGATE_TENANTS_0_CREDENTIAL_SECRET=" + secretWord,
	})
	require.NoError(t, err)
	require.Empty(t, loaded.Warnings)
	secret, err := loaded.Config.Tenants[0].Credential.ClientSecret()
	require.NoError(t, err)
	require.Equal(t, secretWord, secret)
}

// commentedOut matches an option of the example file that is not in effect;
// prose has a space behind its hash.
var commentedOut = regexp.MustCompile(`(?m)^( *)#([a-z_]+:)`)

func TestTheExampleFileNamesEveryOptionOnceWithItsDefault(t *testing.T) {
	t.Parallel()
	content, err := os.ReadFile(exampleFile)
	require.NoError(t, err)
	l := &loader{
		schema: newSchema(), path: exampleFile,
		origins: map[string]Origin{}, lines: map[string]int{}, bad: map[string]bool{}, values: map[string]any{},
	}
	require.True(t, l.readYAML(commentedOut.ReplaceAll(content, []byte("$1$2"))))
	require.Empty(t, l.problems, "no unknown key, none twice, every value of its type:\n%v", l.problems)

	for _, o := range Options() {
		value, ok := l.values[strings.ReplaceAll(o.Key, "[]", ".0")]
		require.True(t, ok, "%s is missing", o.Key)
		if o.Default != "" {
			require.Equal(t, o.Default, value, "the default of %s", o.Key)
		}
	}
	require.Len(t, l.values, len(Options()))
}

func TestEveryOptionIsDescribed(t *testing.T) {
	t.Parallel()
	var keys, names []string
	for _, f := range newSchema() {
		require.NotEmpty(t, f.doc, f.name)
		f.each(func(o *option) {
			require.NotEmpty(t, o.Doc, o.Key)
			require.NotEmpty(t, o.Type, o.Key)
			require.Equal(t, o.Min == "", o.Max == "", "%s has both bounds or none", o.Key)
			if o.format != "" {
				require.Contains(t, formats, o.format, o.Key)
			}
			for _, bound := range []string{o.Min, o.Max, o.Default} {
				if bound != "" && !o.isList() {
					canonical, err := o.read(bound)
					require.NoError(t, err, o.Key)
					require.Equal(t, bound, canonical, "%s is written in its own form", o.Key)
				}
			}
			keys, names = append(keys, o.Key), append(names, o.Env)
		})
	}
	slices.Sort(keys)
	slices.Sort(names)
	require.Len(t, slices.Compact(keys), len(Options()))
	require.Len(t, slices.Compact(names), len(Options()), "no two options share a variable")
}

// TestTheReferencePageHasEveryOption keeps the tables between the two marks of
// the page; the rest of the page is written by hand.
func TestTheReferencePageHasEveryOption(t *testing.T) {
	t.Parallel()
	const begin, end = "<!-- options: begin -->\n", "<!-- options: end -->\n"
	page, err := os.ReadFile(referenceFile)
	require.NoError(t, err)
	head, rest, ok := strings.Cut(string(page), begin)
	require.True(t, ok, "the page has its mark")
	_, tail, ok := strings.Cut(rest, end)
	require.True(t, ok, "the page has its mark")
	golden(t, referenceFile, head+begin+"\n"+tables(newSchema())+end+tail)
}

func tables(schema []*field) string {
	var b bytes.Buffer
	for _, f := range schema {
		fmt.Fprintf(&b, "### %s\n\n%s\n\n| Key | Environment variable | Default | Meaning |\n|---|---|---|---|\n", f.name, cell(f.doc))
		f.each(func(o *option) {
			fmt.Fprintf(&b, "| `%s` | `%s` | %s | %s |\n", o.Key, o.Env, shownDefault(o), cell(o.Doc)+" "+kind(o))
		})
		b.WriteString("\n")
	}
	return b.String()
}

func shownDefault(o *option) string {
	switch {
	case o.Required:
		return "required"
	case o.Default == "":
		return ""
	default:
		return "`" + o.Default + "`"
	}
}

func kind(o *option) string {
	text := strings.ToUpper(o.Type[:1]) + o.Type[1:]
	if len(o.OneOf) > 0 {
		text = "One of `" + strings.Join(o.OneOf, "`, `") + "`"
	}
	if o.Min != "" {
		text += ", from " + o.Min + " to " + o.Max
	}
	return "*" + text + ".*"
}

// cell keeps a text inside its cell of a Markdown table.
func cell(text string) string {
	return strings.NewReplacer("|", `\|`, "<", `\<`, "*", `\*`).Replace(text)
}
