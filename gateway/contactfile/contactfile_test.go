package contactfile

import (
	"bytes"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

const ana = "ana@contoso.com"

const sample = `# Contact lists of the company.

contacts:
  # Sales
  Ana@Contoso.com:                  # the head of sales
    pinned: [bob@contoso.com]
    others: [cleo@contoso.com]      # the default group
    groups:
      - id: g-3f2a
        name: Project
        members: [dan@contoso.com]  # since the summer
    distributionGroups:
      - address: team@contoso.com
        name: Team

  # ---- Research ----

  # Bob sits upstairs.
  bob@contoso.com:
    pinned:
      # his manager
      - ana@contoso.com
      - Cleo@Contoso.com  # his deputy
    # nothing else for Bob
# the end
`

// write makes a file whose modification time is long past.
func write(t *testing.T, path, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(path, []byte(text), 0o640))
	old := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	require.NoError(t, os.Chtimes(path, old, old))
}

func newPath(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "contacts.yaml")
	write(t, path, text)
	return path
}

func open(t *testing.T, path string, o Options) *File {
	t.Helper()
	f, err := Open(path, o)
	require.NoError(t, err)
	return f
}

func list(t *testing.T, f *File, owner string) List {
	t.Helper()
	l, err := f.List(owner)
	require.NoError(t, err)
	return l
}

func content(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	require.NoError(t, err)
	return string(text)
}

func TestListReturnsWhatTheFileGivesAnOwner(t *testing.T) {
	f := open(t, newPath(t, sample), Options{})
	want := List{
		Pinned:       []string{"bob@contoso.com"},
		Others:       []string{"cleo@contoso.com"},
		Groups:       []Group{{ID: "g-3f2a", Name: "Project", Members: []string{"dan@contoso.com"}}},
		Distribution: []Distribution{{Address: "team@contoso.com", Name: "Team"}},
	}
	require.Empty(t, cmp.Diff(want, list(t, f, "sip:ANA@contoso.COM")))
	require.Equal(t, []string{ana, "cleo@contoso.com"}, list(t, f, "bob@contoso.com").Pinned)
	require.Empty(t, cmp.Diff(List{}, list(t, f, "nobody@contoso.com")))

	_, err := f.List("nobody")
	var invalid *InvalidError
	require.ErrorAs(t, err, &invalid)
	require.Equal(t, "owner", invalid.Field)
}

func TestAListBelongsToItsCaller(t *testing.T) {
	f := open(t, newPath(t, sample), Options{})
	l := list(t, f, ana)
	l.Pinned[0], l.Others[0], l.Groups[0].Name, l.Groups[0].Members[0], l.Distribution[0].Name = "", "", "", "", ""
	again := list(t, f, ana)
	require.Equal(t, "bob@contoso.com", again.Pinned[0])
	require.Equal(t, "cleo@contoso.com", again.Others[0])
	require.Equal(t, Group{ID: "g-3f2a", Name: "Project", Members: []string{"dan@contoso.com"}}, again.Groups[0])
	require.Equal(t, "Team", again.Distribution[0].Name)
}

func TestAMissingIDIsTheSameOnEveryReplica(t *testing.T) {
	const text = `contacts: {ana@contoso.com: {groups: [{name: A}, {name: A}, {name: B, id: }]}}`
	one := list(t, open(t, newPath(t, text), Options{}), ana)
	two := list(t, open(t, newPath(t, text), Options{}), ana)
	require.Empty(t, cmp.Diff(one, two))
	ids := map[string]bool{}
	for _, g := range one.Groups {
		require.Regexp(t, idPattern, g.ID)
		ids[g.ID] = true
	}
	require.Len(t, ids, 3)
}

func TestOpenForgivesWhatPeopleWrite(t *testing.T) {
	for name, tc := range map[string]struct {
		text string
		want List
	}{
		"an empty file":            {"", List{}},
		"only comments":            {"# contacts:\n", List{}},
		"an empty document":        {"---\n", List{}},
		"no owners":                {"contacts:\n", List{}},
		"an empty owner":           {"contacts:\n  ana@contoso.com:\n", List{}},
		"empty lists":              {"contacts: {ana@contoso.com: {pinned: , others: [], groups: , distributionGroups: []}}", List{}},
		"a repeated address":       {"contacts: {ana@contoso.com: {pinned: [b@c.d, B@C.D]}}", List{Pinned: []string{"b@c.d"}}},
		"a scheme":                 {"contacts: {ana@contoso.com: {pinned: ['sip:b@c.d']}}", List{Pinned: []string{"b@c.d"}}},
		"a number as a name":       {"contacts: {ana@contoso.com: {groups: [{id: g, name: 007}]}}", List{Groups: []Group{{ID: "g", Name: "007"}}}},
		"blanks round a name":      {"contacts: {ana@contoso.com: {groups: [{id: g, name: '  A '}]}}", List{Groups: []Group{{ID: "g", Name: "A"}}}},
		"a distribution unnamed":   {"contacts: {ana@contoso.com: {distributionGroups: [{address: T@c.d}]}}", List{Distribution: []Distribution{{"t@c.d", "t@c.d"}}}},
		"a distribution repeated":  {"contacts: {ana@contoso.com: {distributionGroups: [{address: t@c.d}, {address: T@c.d}]}}", List{Distribution: []Distribution{{"t@c.d", "t@c.d"}}}},
		"a byte order mark, CR LF": {"\ufeffcontacts:\r\n  ana@contoso.com:\r\n    pinned: [b@c.d]\r\n", List{Pinned: []string{"b@c.d"}}},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t, tc.text)
			f := open(t, path, Options{Writable: true})
			require.Empty(t, cmp.Diff(tc.want, list(t, f, ana)))

			require.NoError(t, f.AddMember(ana, Default, "zoe@contoso.com"), "every such file can be changed")
			tc.want.Others = append(tc.want.Others, "zoe@contoso.com")
			require.Empty(t, cmp.Diff(tc.want, list(t, open(t, path, Options{}), ana)), content(t, path))
		})
	}
}

func TestOpenRefusesAWrongFileAndNamesItsLines(t *testing.T) {
	for name, tc := range map[string]struct{ text, want string }{
		"a tab":                 {"contacts:\n\tana@contoso.com:\n", ":2: is no valid YAML: found character that cannot start any token"},
		"a broken list":         {"contacts:\n  ana@contoso.com:\n    pinned: [a@b.c\n  bob@contoso.com:\n", " is no valid YAML: "},
		"no mapping":            {"- ana@contoso.com\n", ":1: the file must be a section with keys of its own, not a list"},
		"an unknown key":        {"contacts:\ncontact:\n", `:2: the file: unknown key "contact"; known are contacts`},
		"an unknown list":       {"contacts:\n  ana@contoso.com:\n    pined: []\n", `:3: ana@contoso.com: unknown key "pined"; known are pinned, others, groups, distributionGroups`},
		"owners as a list":      {"contacts:\n  - ana@contoso.com\n", ":2: contacts must be a section with keys of its own, not a list"},
		"an owner's name":       {"contacts:\n  ana:\n", `:2: contacts: the owner "ana" is not an address`},
		"an owner twice":        {"contacts:\n  ana@contoso.com:\n  Ana@Contoso.com:\n", ":3: ana@contoso.com stands here a second time; the first is in line 2"},
		"a key twice":           {"contacts:\n  ana@contoso.com:\n    pinned: []\n    pinned: []\n", ":4: ana@contoso.com: pinned stands here a second time; the first is in line 3"},
		"a list of a text":      {"contacts:\n  ana@contoso.com:\n    pinned: bob@contoso.com\n", ":3: pinned must be a list, such as [a, b], not a text"},
		"a contact's name":      {"contacts:\n  ana@contoso.com:\n    pinned:\n      - bob\n", `:4: pinned: "bob" is not an address`},
		"an empty contact":      {"contacts:\n  ana@contoso.com:\n    pinned:\n      -\n", `:4: pinned: "" is not an address`},
		"a contact of keys":     {"contacts:\n  ana@contoso.com:\n    pinned:\n      - {a: b}\n", ":4: pinned: a section is not an address"},
		"a group without name":  {"contacts:\n  ana@contoso.com:\n    groups:\n      - id: a\n", ":4: a group has no name"},
		"a group's empty name":  {"contacts:\n  ana@contoso.com:\n    groups:\n      - name: ' '\n", ":4: the name must be 1 to 256 characters"},
		"a group's long name":   {"contacts:\n  ana@contoso.com:\n    groups:\n      - name: " + strings.Repeat("x", 257) + "\n", ":4: the name must be"},
		"a name of two lines":   {"contacts:\n  ana@contoso.com:\n    groups:\n      - name: \"a\\nb\"\n", ":4: the name must be"},
		"a capital id":          {"contacts:\n  ana@contoso.com:\n    groups:\n      - name: A\n        id: G-1\n", ":5: the id of a group must be 1 to 64 lower-case letters"},
		"the id of the default": {"contacts:\n  ana@contoso.com:\n    groups:\n      - {name: A, id: default}\n", ":4: the id of a group must be"},
		"an id twice":           {"contacts:\n  ana@contoso.com:\n    groups:\n      - {name: A, id: g}\n      - {name: B, id: g}\n", ":5: another group of the same owner has the id g"},
		"no address":            {"contacts:\n  ana@contoso.com:\n    distributionGroups:\n      - name: A\n", ":4: a distribution group has no address"},
		"a reference":           {"contacts:\n  ana@contoso.com: &a {pinned: []}\n  bob@contoso.com: *a\n", ":3: bob@contoso.com must be a section with keys of its own, not a reference (*name), which is not supported here"},
		"a merge":               {"contacts:\n  ana@contoso.com: &a {}\n  bob@contoso.com: {<<: *a}\n", `:3: bob@contoso.com: unknown key "<<"`},
		"two documents":         {"contacts:\n---\ncontacts:\n", ":2: a second document begins here"},
		"a very long key":       {"contacts:\n  " + strings.Repeat("x", 100) + ":\n", strings.Repeat("x", 80) + `"… is not an address`},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t, tc.text)
			_, err := Open(path, Options{Writable: true})
			var wrong *FileError
			require.ErrorAs(t, err, &wrong)
			require.ErrorContains(t, err, path+":")
			require.ErrorContains(t, err, tc.want)
		})
	}
}

func TestAllProblemsOfAFileAreListedUpToABound(t *testing.T) {
	_, err := Open(newPath(t, "contacts:\n"+strings.Repeat("  x:\n", 13)), Options{})
	require.ErrorContains(t, err, ":2: ")
	require.ErrorContains(t, err, ":11: ")
	require.NotContains(t, err.Error(), ":12: ")
	require.ErrorContains(t, err, ": and 3 more")
}

func TestOpenRefusesWhatItCannotRead(t *testing.T) {
	folder := t.TempDir()
	_, err := Open(filepath.Join(folder, "none.yaml"), Options{})
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = Open(filepath.Join(folder, "none", "none.yaml"), Options{Writable: true})
	require.ErrorIs(t, err, fs.ErrNotExist)
	_, err = Open(folder, Options{Writable: true})
	require.ErrorContains(t, err, "is not a regular file")

	path := filepath.Join(folder, "large.yaml")
	write(t, path, "")
	require.NoError(t, os.Truncate(path, maxSize+1))
	_, err = Open(path, Options{})
	require.ErrorContains(t, err, "is larger than 16 MiB")
}

func TestAnOutsideChangeIsSeenWithinASecondAndNoSooner(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := newPath(t, "contacts: {ana@contoso.com: {pinned: [a@b.c]}}")
		f := open(t, path, Options{})
		write(t, path, "contacts: {ana@contoso.com: {pinned: [a@b.c, d@e.f]}}")
		<-time.After(checkInterval - 1)
		require.Len(t, list(t, f, ana).Pinned, 1)
		<-time.After(1)
		require.Len(t, list(t, f, ana).Pinned, 2)
	})
}

func TestTwoTextsOfOneSizeAndTimeAreToldApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := newPath(t, "contacts: {ana@contoso.com: {pinned: [a@b.c]}}")
		recent := time.Now()
		require.NoError(t, os.Chtimes(path, recent, recent))
		f := open(t, path, Options{})
		write(t, path, "contacts: {ana@contoso.com: {pinned: [z@b.c]}}")
		require.NoError(t, os.Chtimes(path, recent, recent))
		<-time.After(checkInterval)
		require.Equal(t, []string{"z@b.c"}, list(t, f, ana).Pinned)
	})
}

func TestAFileThatBecameWrongKeepsItsLastGoodContentAndIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		path := newPath(t, "contacts: {ana@contoso.com: {pinned: [a@b.c]}}")
		f := open(t, path, Options{Writable: true, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		look := func() (lines int) {
			log.Reset()
			for range 3 {
				<-time.After(checkInterval)
				require.Equal(t, []string{"a@b.c"}, list(t, f, ana).Pinned)
			}
			return strings.Count(log.String(), "\n")
		}
		require.Zero(t, look())

		write(t, path, "contacts:\n  ana:\n")
		require.Equal(t, 1, look())
		require.Contains(t, log.String(), path+":2: ")
		var wrong *FileError
		require.ErrorAs(t, f.AddMember(ana, Pinned, "x@y.z"), &wrong)
		require.Equal(t, "contacts:\n  ana:\n", content(t, path), "a wrong file is left to the operator")
		require.Zero(t, look())

		require.NoError(t, os.Remove(path))
		require.Equal(t, 1, look())
		require.ErrorIs(t, f.AddMember(ana, Pinned, "x@y.z"), fs.ErrNotExist)
		require.NoFileExists(t, path, "a file that was there is not made anew")

		write(t, path, "contacts: {ana@contoso.com: {pinned: [a@b.c]}, bob@contoso.com: }")
		require.Equal(t, 1, look())
		require.Contains(t, log.String(), "in order again")
		require.Zero(t, look())
	})
}
