package demo_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/config"
)

func TestSearchFindsPeopleByWhatIsKnownOfThem(t *testing.T) {
	for name, adjust := range map[string]func(*config.Config){
		"asking Graph":                  nil,
		"in the synchronized directory": func(c *config.Config) { c.Directory.Sync = true },
	} {
		t.Run(name, func(t *testing.T) {
			d := start(t, adjust)
			c := newClient(t, d, asJSON)
			app := c.application(d)
			if adjust != nil {
				require.Eventually(t, d.App.Tenants()[0].Source.Synchronized, 20*time.Second, 20*time.Millisecond)
			}
			search := app.child(t, "people").link(t, "search")
			require.NotContains(t, search, "?")
			address := strings.TrimPrefix(d.Contacts[0].URI, "sip:")
			someone := c.get(app.child(t, "people").href + "/" + address)
			words := strings.Fields(someone.text("name"))
			for what, query := range map[string]string{
				"the whole name": "?query=" + url.QueryEscape(someone.text("name")), "the first name": "?query=" + url.QueryEscape(words[0]) + "&limit=100",
				"the last name, not escaped": "?limit=100&query=" + words[len(words)-1], "the address": "?query=" + address,
				"the SIP URI, not escaped": "?query=" + d.Contacts[0].URI, "another letter case": "?query=" + strings.ToUpper(address),
				"the mail address": "?mail=" + address, "the phone number": "?query=" + url.QueryEscape(strings.TrimPrefix(someone.text("workPhoneNumber"), "tel:")),
			} {
				found := c.get(search + query)
				require.Equal(t, "search", found.rel)
				var hrefs []string
				for _, contact := range found.embedded["contact"] {
					hrefs = append(hrefs, contact.href)
				}
				require.Contains(t, hrefs, someone.href, "%s: %s", what, query)
				require.Equal(t, search+query, strings.NewReplacer("%22", `"`).Replace(found.href), "the self link echoes the query")
			}
			few := c.get(search + "?query=a&limit=2")
			require.LessOrEqual(t, len(few.embedded["contact"])+len(few.embedded["distributionGroup"]), 2)
			if len(few.embedded["contact"]) == 2 {
				require.Equal(t, "true", few.text("moreResultsAvailable"))
			}
			none := c.do(http.MethodGet, search+"?query=zzzzqqqq", "", "")
			require.Contains(t, string(none.body), `"moreResultsAvailable":false`)
			require.NotContains(t, string(none.body), "_embedded", "sample code takes that for none")
		})
	}
}

func TestSearchTakesEveryCharacter(t *testing.T) {
	d := start(t, nil)
	eachFormat(t, d, func(t *testing.T, c *client, app *node) {
		search := app.child(t, "people").link(t, "search")
		for _, query := range []string{
			`"`, `\`, `'`, `''`, `"a" OR "b"`, `displayName:x`, `a:b`, `*`, `%`, `%25`, `+`, `&`, `#`, `(a)`, `)`, `;`, `=`, `<script>`, `{}`, `$filter`, "\x00", "\r\nX: y", "é", "日本", "😀", "a\\\"b", "' or 1 eq 1",
		} {
			res := c.do(http.MethodGet, search+"?query="+url.QueryEscape(query), "", "")
			require.Equal(t, http.StatusOK, res.status, "%q: %s", query, res.body)
			require.NotContains(t, string(res.body), "<script>", "nothing is reflected unescaped")
			c.parse(res)
		}
		for name, e := range map[string]struct{ query, says string }{
			"nothing":                   {"", "query or mail is required"},
			"an empty query":            {"?query=", "query or mail is required"},
			"a query that is long":      {"?query=" + strings.Repeat("q", 257), "query has 257 characters; at most 256"},
			"mail that is long":         {"?mail=" + strings.Repeat("q", 257), "mail has 257 characters; at most 256"},
			"a limit of 0":              {"?query=a&limit=0", "limit must be a whole number from 1 to 100"},
			"a limit of 101":            {"?query=a&limit=101", "limit must be a whole number from 1 to 100"},
			"a limit that is no number": {"?query=a&limit=many", "limit must be a whole number from 1 to 100"},
		} {
			res := c.do(http.MethodGet, search+e.query, "", "")
			requireReason(t, res, http.StatusBadRequest, "BadRequest", "ParameterValidationFailure")
			require.Contains(t, string(res.body), e.says, name)
		}
	})
}

func TestAGroupThatIsFoundCanBeExpanded(t *testing.T) {
	d := start(t, nil)
	c := newClient(t, d, asJSON)
	app := c.application(d)
	mine := c.get(app.child(t, "people").link(t, "myGroups")).embedded["distributionGroup"][0]
	found := c.get(app.child(t, "people").link(t, "search") + "?limit=100&query=" + url.QueryEscape(mine.text("name")))
	var group *node
	for _, g := range found.embedded["distributionGroup"] {
		if g.href == mine.href {
			group = g
		}
	}
	require.NotNil(t, group, "%v", found.embedded["distributionGroup"])
	require.NotEmpty(t, c.get(group.link(t, "expandDistributionGroup")).embedded["contact"])
}
