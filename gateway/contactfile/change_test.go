package contactfile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestChangesDoWhatTheySay(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*File) error
		want   func(*List)
	}{
		"adding to the pinned": {
			func(f *File) error { return f.AddMember("ANA@contoso.com", "Pinned", "sip:Eve@Contoso.com") },
			func(l *List) { l.Pinned = append(l.Pinned, "eve@contoso.com") },
		},
		"adding to the default group": {
			func(f *File) error { return f.AddMember(ana, Default, "eve@contoso.com") },
			func(l *List) { l.Others = append(l.Others, "eve@contoso.com") },
		},
		"adding to a group whose id came in capitals": {
			func(f *File) error { return f.AddMember(ana, "G-3F2A", "bob@contoso.com") },
			func(l *List) { l.Groups[0].Members = append(l.Groups[0].Members, "bob@contoso.com") },
		},
		"removing from a group": {
			func(f *File) error { return f.RemoveMember(ana, "g-3f2a", "Dan@contoso.com") },
			func(l *List) { l.Groups[0].Members = nil },
		},
		"removing a contact everywhere": {
			func(f *File) error {
				return errors.Join(
					f.AddMember(ana, Default, "dan@contoso.com"), f.AddMember(ana, Pinned, "dan@contoso.com"),
					f.RemoveContact(ana, "dan@contoso.com"))
			},
			func(l *List) { l.Groups[0].Members = nil },
		},
		"renaming a group": {
			func(f *File) error {
				g, err := f.RenameGroup(ana, "g-3f2a", "Project", " PROJECT: #2 ")
				if err == nil && (g.Name != "PROJECT: #2" || len(g.Members) != 1 || g.ID != "g-3f2a") {
					err = fmt.Errorf("answered %+v", g)
				}
				return err
			},
			func(l *List) { l.Groups[0].Name = "PROJECT: #2" },
		},
		"a name in other letter case": {
			func(f *File) error { _, err := f.RenameGroup(ana, "g-3f2a", "Project", "PROJECT"); return err },
			func(l *List) { l.Groups[0].Name = "PROJECT" },
		},
		"deleting a group takes its members off the list": {
			func(f *File) error { return f.DeleteGroup(ana, "g-3f2a") },
			func(l *List) { l.Groups = nil },
		},
		"adding a distribution group": {
			func(f *File) error { return f.AddDistribution(ana, "All@contoso.com", "true") },
			func(l *List) { l.Distribution = append(l.Distribution, Distribution{"all@contoso.com", "true"}) },
		},
		"removing a distribution group": {
			func(f *File) error { return f.RemoveDistribution(ana, "TEAM@contoso.com") },
			func(l *List) { l.Distribution = nil },
		},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t, sample)
			f := open(t, path, Options{Writable: true})
			want, others := list(t, f, ana), list(t, f, "bob@contoso.com")
			tc.want(&want)
			require.NoError(t, tc.change(f))
			for _, f := range []*File{f, open(t, path, Options{})} {
				require.Empty(t, cmp.Diff(want, list(t, f, ana)))
				require.Empty(t, cmp.Diff(others, list(t, f, "bob@contoso.com")))
			}
		})
	}
}

func TestChangesAreRefusedForTheirReason(t *testing.T) {
	long := strings.Repeat("x", 257)
	for name, tc := range map[string]struct {
		change func(*File) error
		want   error // nil: an *InvalidError
		field  string
	}{
		"an owner that is no address":         {func(f *File) error { return f.AddMember("ana", Pinned, "x@y.z") }, nil, "owner"},
		"a contact that is no address":        {func(f *File) error { return f.AddMember(ana, Pinned, "x") }, nil, "address"},
		"removing what is no address":         {func(f *File) error { return f.RemoveMember(ana, Pinned, "x") }, nil, "address"},
		"removing no address from all":        {func(f *File) error { return f.RemoveContact(ana, "x") }, nil, "address"},
		"a distribution group's bad address":  {func(f *File) error { return f.AddDistribution(ana, "x", "X") }, nil, "address"},
		"removing a distribution's bad one":   {func(f *File) error { return f.RemoveDistribution(ana, "x") }, nil, "address"},
		"a distribution group without a name": {func(f *File) error { return f.AddDistribution(ana, "x@y.z", "") }, nil, "name"},
		"a group without a name":              {func(f *File) error { _, err := f.CreateGroup(ana, "\u00a0"); return err }, nil, "name"},
		"a group with a long name":            {func(f *File) error { _, err := f.CreateGroup(ana, long); return err }, nil, "name"},
		"a group with a broken name":          {func(f *File) error { _, err := f.CreateGroup(ana, "a\xff"); return err }, nil, "name"},
		"a group renamed to two lines":        {func(f *File) error { _, err := f.RenameGroup(ana, "g-3f2a", "Project", "a\nb"); return err }, nil, "name"},
		"a contact that is in the group":      {func(f *File) error { return f.AddMember(ana, Pinned, "BOB@contoso.com") }, ErrExists, ""},
		"a distribution that is there":        {func(f *File) error { return f.AddDistribution(ana, "team@contoso.com", "Other") }, ErrExists, ""},
		"a new group of a known name":         {func(f *File) error { _, err := f.CreateGroup(ana, " pROJECT"); return err }, ErrExists, ""},
		"an unknown group":                    {func(f *File) error { return f.AddMember(ana, "g-0", "x@y.z") }, ErrNotFound, ""},
		"removing from an unknown group":      {func(f *File) error { return f.RemoveMember(ana, "g-0", "x@y.z") }, ErrNotFound, ""},
		"another owner's group":               {func(f *File) error { return f.AddMember("bob@contoso.com", "g-3f2a", "x@y.z") }, ErrNotFound, ""},
		"renaming the default group":          {func(f *File) error { _, err := f.RenameGroup(ana, Default, "Others", "x"); return err }, ErrNotFound, ""},
		"deleting the pinned group":           {func(f *File) error { return f.DeleteGroup(ana, Pinned) }, ErrNotFound, ""},
		"deleting of an unknown owner":        {func(f *File) error { return f.DeleteGroup("x@y.z", "g-3f2a") }, ErrNotFound, ""},
		"removing from the wrong group":       {func(f *File) error { return f.RemoveMember(ana, Default, "bob@contoso.com") }, ErrNotFound, ""},
		"removing who is nowhere":             {func(f *File) error { return f.RemoveContact(ana, "x@y.z") }, ErrNotFound, ""},
		"removing a distribution not there":   {func(f *File) error { return f.RemoveDistribution(ana, "x@y.z") }, ErrNotFound, ""},
		"a fourth contact":                    {func(f *File) error { return f.AddMember(ana, Pinned, "x@y.z") }, ErrTooManyContacts, ""},
		"a third group":                       {func(f *File) error { _, err := f.CreateGroup(ana, "x"); return err }, ErrTooManyGroups, ""},
		"a distribution as a third group":     {func(f *File) error { return f.AddDistribution(ana, "x@y.z", "x") }, ErrTooManyGroups, ""},
	} {
		t.Run(name, func(t *testing.T) {
			path := newPath(t, sample)
			f := open(t, path, Options{Writable: true, MaxContacts: 3, MaxGroups: 2})
			before := list(t, f, ana)
			err := tc.change(f)
			var invalid *InvalidError
			switch {
			case tc.want != nil:
				require.ErrorIs(t, err, tc.want)
			default:
				require.ErrorAs(t, err, &invalid)
				require.Equal(t, tc.field, invalid.Field)
				require.ErrorContains(t, err, "the "+tc.field+" must be ")
			}
			require.Equal(t, sample, content(t, path))
			require.Empty(t, cmp.Diff(before, list(t, f, ana)))
		})
	}
}

func TestAContactCountsOnceHoweverManyGroupsHaveIt(t *testing.T) {
	f := open(t, newPath(t, sample), Options{Writable: true, MaxContacts: 3})
	require.NoError(t, f.AddMember(ana, Default, "bob@contoso.com"))
	require.NoError(t, f.AddMember(ana, Pinned, "dan@contoso.com"))
	require.ErrorIs(t, f.AddMember(ana, Pinned, "eve@contoso.com"), ErrTooManyContacts)
	require.NoError(t, f.RemoveContact(ana, "dan@contoso.com"))
	require.NoError(t, f.AddMember(ana, Pinned, "eve@contoso.com"))
}

func TestAReadOnlyFileRefusesEveryChange(t *testing.T) {
	path := newPath(t, sample)
	f := open(t, path, Options{})
	require.False(t, f.Writable())
	_, created := f.CreateGroup(ana, "x")
	_, renamed := f.RenameGroup(ana, "g-3f2a", "Project", "x")
	for _, err := range []error{
		created, renamed, f.DeleteGroup(ana, "g-3f2a"),
		f.AddMember(ana, Pinned, "x@y.z"), f.RemoveMember(ana, Pinned, "bob@contoso.com"), f.RemoveContact(ana, "bob@contoso.com"),
		f.AddDistribution(ana, "x@y.z", "x"), f.RemoveDistribution(ana, "team@contoso.com"),
	} {
		require.ErrorIs(t, err, ErrReadOnly)
	}
	require.Equal(t, sample, content(t, path))
	require.NoFileExists(t, path+".lock")
}

func TestTheFirstChangeMakesAMissingFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "contacts.yaml")
	f, other := open(t, path, Options{Writable: true}), open(t, path, Options{Writable: true})
	require.True(t, f.Writable())
	require.Empty(t, cmp.Diff(List{}, list(t, f, ana)))
	require.ErrorIs(t, f.RemoveContact(ana, "x@y.z"), ErrNotFound)
	require.NoFileExists(t, path, "a refused change makes no file")

	g, err := f.CreateGroup("Ana@contoso.com", "Project")
	require.NoError(t, err)
	require.NoError(t, other.AddMember(ana, g.ID, "bob@contoso.com"))
	require.Equal(t, `contacts:
  ana@contoso.com:
    groups:
      - id: `+g.ID+`
        name: Project
        members:
          - bob@contoso.com
`, content(t, path))
	info, err := os.Stat(path)
	require.NoError(t, err)
	require.Equal(t, os.FileMode(newFileMode), info.Mode().Perm())
}

func TestAChangeThatChangesNothingDoesNotTouchTheFile(t *testing.T) {
	path := newPath(t, sample)
	before, err := os.Stat(path)
	require.NoError(t, err)
	_, err = open(t, path, Options{Writable: true}).RenameGroup(ana, "g-3f2a", "Project", "Project")
	require.NoError(t, err)
	after, err := os.Stat(path)
	require.NoError(t, err)
	require.True(t, os.SameFile(before, after))
}

func TestADerivedIDOutlivesARenaming(t *testing.T) {
	path := newPath(t, "contacts: {ana@contoso.com: {groups: [{name: A}, {name: A}]}}")
	f := open(t, path, Options{Writable: true})
	was := list(t, f, ana).Groups
	require.NoError(t, f.DeleteGroup(ana, was[0].ID))
	g, err := f.RenameGroup(ana, was[1].ID, was[1].Name, "B")
	require.NoError(t, err)
	require.Equal(t, was[1].ID, g.ID)
	require.Equal(t, []Group{{ID: was[1].ID, Name: "B"}}, list(t, open(t, path, Options{}), ana).Groups)
}

func TestTheOperatorsCommentsSurviveChanges(t *testing.T) {
	path := newPath(t, sample)
	f := open(t, path, Options{Writable: true})
	for range 5 {
		require.NoError(t, f.AddMember(ana, Pinned, "eve@contoso.com"))
		require.NoError(t, f.RemoveMember(ana, Pinned, "eve@contoso.com"))
		require.NoError(t, f.AddMember("new@contoso.com", Pinned, "eve@contoso.com"))
		require.NoError(t, f.RemoveContact("new@contoso.com", "eve@contoso.com"))
		require.NoError(t, f.AddMember("bob@contoso.com", Pinned, "eve@contoso.com"))
		require.NoError(t, f.RemoveContact("bob@contoso.com", "eve@contoso.com"))
	}
	require.NoError(t, f.RemoveContact("bob@contoso.com", "cleo@contoso.com"))
	require.NoError(t, f.DeleteGroup(ana, "g-3f2a"))
	require.NoError(t, f.RemoveDistribution(ana, "team@contoso.com"))
	text := content(t, path)
	for _, comment := range []string{
		"# Contact lists of the company.\n", "# Sales\n", ": # the head of sales\n", " # the default group\n",
		"# ---- Research ----\n", "# Bob sits upstairs.\n", "# his manager\n", "# nothing else for Bob\n", "# the end\n",
	} {
		require.Equal(t, 1, strings.Count(text, comment), "%s in:\n%s", comment, text)
	}
	require.NotContains(t, text, "his deputy", "what was said of a contact goes with it")
	require.NotContains(t, text, "since the summer")
}

func TestAFileOfNothingButCommentsKeepsThem(t *testing.T) {
	path := newPath(t, "# Contact lists.\n\n# Ask before you edit.")
	require.NoError(t, open(t, path, Options{Writable: true}).AddMember(ana, Pinned, "bob@contoso.com"))
	require.Equal(t, "# Contact lists.\n\n# Ask before you edit.\ncontacts:\n  ana@contoso.com:\n    pinned:\n      - bob@contoso.com\n", content(t, path))
}

func TestWritersOfOnePathLoseNothing(t *testing.T) {
	const files, writers, each = 4, 3, 6
	path := newPath(t, sample)
	var wg sync.WaitGroup
	errs := make(chan error, files*writers*each)
	for i := range files {
		f := open(t, path, Options{Writable: true, MaxContacts: 1000})
		for j := range writers {
			wg.Go(func() {
				for k := range each {
					errs <- f.AddMember(fmt.Sprintf("owner%d@contoso.com", k), Pinned, fmt.Sprintf("c-%d-%d@contoso.com", i, j))
				}
			})
			wg.Go(func() {
				for range each {
					_, err := f.List(ana)
					errs <- err
				}
			})
		}
	}
	go func() { wg.Wait(); close(errs) }()
	for err := range errs {
		require.NoError(t, err)
	}
	f := open(t, path, Options{})
	for k := range each {
		require.Len(t, list(t, f, fmt.Sprintf("owner%d@contoso.com", k)).Pinned, files*writers)
	}
	require.Equal(t, []string{"bob@contoso.com"}, list(t, f, ana).Pinned)
}

// TestAFileFollowsAModel makes random changes through two Files of one path
// and compares the lists with plain slices.
func TestAFileFollowsAModel(t *testing.T) {
	folder := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		path := filepath.Join(folder, "contacts.yaml")
		require.NoError(rt, os.RemoveAll(path))
		var both [2]*File
		for i := range both {
			f, err := Open(path, Options{Writable: true})
			require.NoError(rt, err)
			f.disk.sync = func(*os.File) error { return nil } // thousands of changes
			both[i] = f
		}
		contacts := rapid.SampledFrom([]string{"a@x.y", "b@x.y", "c@x.y"})
		model := map[string][]string{Pinned: nil, Default: nil}
		names := map[string]string{}
		group := func(rt *rapid.T) string {
			ids := []string{Pinned, Default, "g-none"}
			l, _ := both[0].List(ana)
			for _, g := range l.Groups {
				ids = append(ids, g.ID)
			}
			return rapid.SampledFrom(ids).Draw(rt, "group")
		}
		side := func(rt *rapid.T) *File { return both[rapid.IntRange(0, 1).Draw(rt, "file")] }
		rt.Repeat(map[string]func(*rapid.T){
			"create": func(rt *rapid.T) {
				name := rapid.StringMatching(`[A-Za-z:#'"&*!|>%@{},\[\]~?-][ -~]{0,8}[!-~]`).Draw(rt, "name")
				g, err := side(rt).CreateGroup(ana, name)
				if errors.Is(err, ErrExists) {
					return
				}
				require.NoError(rt, err)
				model[g.ID], names[g.ID] = nil, g.Name
			},
			"add": func(rt *rapid.T) {
				id, contact := group(rt), contacts.Draw(rt, "contact")
				err := side(rt).AddMember(ana, id, contact)
				members, known := model[id]
				switch {
				case !known:
					require.ErrorIs(rt, err, ErrNotFound)
				case slices.Contains(members, contact):
					require.ErrorIs(rt, err, ErrExists)
				default:
					require.NoError(rt, err)
					model[id] = append(members, contact)
				}
			},
			"remove": func(rt *rapid.T) {
				id, contact := group(rt), contacts.Draw(rt, "contact")
				err := side(rt).RemoveMember(ana, id, contact)
				members := model[id]
				if i := slices.Index(members, contact); i >= 0 {
					require.NoError(rt, err)
					model[id] = append(members[:i:i], members[i+1:]...)
				} else {
					require.ErrorIs(rt, err, ErrNotFound)
				}
			},
			"delete": func(rt *rapid.T) {
				id := group(rt)
				err := side(rt).DeleteGroup(ana, id)
				if _, own := names[id]; own {
					require.NoError(rt, err)
					delete(model, id)
					delete(names, id)
				} else {
					require.ErrorIs(rt, err, ErrNotFound)
				}
			},
			"": func(rt *rapid.T) {
				f, err := Open(path, Options{Writable: true})
				require.NoError(rt, err)
				l, err := f.List(ana)
				require.NoError(rt, err)
				got := map[string][]string{Pinned: l.Pinned, Default: l.Others}
				gotNames := map[string]string{}
				for _, g := range l.Groups {
					got[g.ID], gotNames[g.ID] = g.Members, g.Name
				}
				for id, members := range model {
					require.Equal(rt, len(members), len(got[id]))
					for i := range members {
						require.Equal(rt, members[i], got[id][i])
					}
				}
				require.Len(rt, got, len(model))
				require.Equal(rt, names, gotNames)
			},
		})
	})
}
