package mapping

import (
	"bytes"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/language"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		require.NoError(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), got, "run the tests with -update and review the difference")
}

func TestWriteTable(t *testing.T) {
	var b bytes.Buffer
	require.NoError(t, WriteTable(&b))
	golden(t, "table.golden", b.String())
	for _, w := range words {
		require.Contains(t, b.String(), w.graph)
	}
}

type brokenWriter struct{}

func (brokenWriter) Write([]byte) (int, error) { return 0, errors.New("broken") }

func TestWritersReportErrors(t *testing.T) {
	require.ErrorContains(t, WriteTable(brokenWriter{}), "writing the table: broken")
	_, err := Explain("Busy", "", language.English, Options{}).WriteTo(brokenWriter{})
	require.ErrorContains(t, err, "writing the explanation: broken")
}

// TestEveryPair pins what becomes of every pair of words, so that a review sees
// each effect of a changed rule.
func TestEveryPair(t *testing.T) {
	said := []string{""}
	for _, w := range words {
		said = append(said, w.graph)
	}
	said = append(said, "InAHologram", "HologramIdle", "Levitating")
	dash := func(s string) string {
		if s == "" {
			return "-"
		}
		return s
	}
	var b strings.Builder
	for _, availability := range said {
		for _, activity := range said {
			c := Translate(Presence{Availability: availability, Activity: activity}, Options{})
			fmt.Fprintf(&b, "%-23s  %-23s  ->  %-12s  %-25s  %s\n", dash(availability), dash(activity),
				c.Availability, dash(c.Activity.In(language.English)), c.Rule)
		}
	}
	golden(t, "pairs.golden", b.String())
}

func TestTheTableIsWellFormed(t *testing.T) {
	documented := map[string]bool{
		"on-the-phone": true, "in-a-conference": true, "in-a-meeting": true, "presenting": true,
		"urgent-interruptions-only": true, "off-work": true, "out-of-office": true,
	}
	seen := map[string]bool{}
	for _, w := range words {
		t.Run(w.graph, func(t *testing.T) {
			folded := strings.ToLower(w.graph)
			require.False(t, seen[folded], "the word has two rows")
			seen[folded] = true
			require.LessOrEqual(t, len(w.graph), maxWordLength)
			require.False(t, strings.ContainsAny(w.graph, separators))
			require.Equal(t, w.graph, lookup(strings.ToUpper(w.graph)).graph)
			if w.kind == silence {
				require.Empty(t, w.availability)
			} else {
				require.Contains(t, Availabilities(), w.availability)
			}
			switch w.kind {
			case doing, absence:
				require.False(t, w.activity.IsZero())
			default:
				require.True(t, w.activity.IsZero())
			}
			if w.activity.token != "" {
				require.True(t, documented[w.activity.token], "undocumented token %s", w.activity.token)
			}
		})
	}
	for _, r := range refinements {
		require.NotNil(t, lookup(r.by), "a pair names a word without a row")
		require.Contains(t, Availabilities(), r.to)
	}
}

func TestEveryRuleIsExplained(t *testing.T) {
	named := map[string]bool{}
	for _, r := range rules {
		named[r.name] = true
	}
	for _, name := range []string{ruleStated, ruleMoved, ruleActivity, ruleShape, ruleUnknown, ruleRefined} {
		require.True(t, named[name], name)
	}
	require.Len(t, rules, len(named))
}

func TestExplain(t *testing.T) {
	for _, tt := range []struct {
		name                   string
		availability, activity string
		culture                language.Tag
		o                      Options
	}{
		{"a plain pair", "Busy", "InAMeeting", language.English, Options{}},
		{"exchanged fields", "inAMeeting", "busy", language.English, Options{}},
		{"a localized text", "focusing", "", language.German, Options{}},
		{"a changed availability", "Away", "BeRightBack", language.English, Options{}},
		{"joined words", "", "InACall + OOF", language.English, Options{}},
		{"an unknown word with a shape", "InAHologram", "Levitating", language.English, Options{}},
		{"nothing known", "PresenceUnknown", "", language.English, Options{UnknownAsNone: true}},
		{"out of office left out", "Available", "OutOfOffice", language.English, Options{OmitOutOfOfficeActivity: true}},
		{"out of office", "OutOfOffice", "", language.English, Options{}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			e := Explain(tt.availability, tt.activity, tt.culture, tt.o)
			require.Equal(t, Translate(Presence{Availability: tt.availability, Activity: tt.activity}, tt.o), e.Contact)
			var b bytes.Buffer
			n, err := e.WriteTo(&b)
			require.NoError(t, err)
			require.EqualValues(t, b.Len(), n)
			golden(t, "explain-"+strings.ReplaceAll(tt.name, " ", "-")+".golden", b.String())
		})
	}
}
