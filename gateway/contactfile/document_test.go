package contactfile

import (
	"bytes"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/stretchr/testify/require"
)

// FuzzParse: no text makes the parser panic; what it accepts is written back
// to the same lists, and can be changed without touching another owner's.
func FuzzParse(f *testing.F) {
	for _, text := range []string{
		"", "# only a comment", "---\n...\n", "contacts:", sample,
		"contacts: {ana@contoso.com: {pinned: [a@b.c], groups: [{name: A}]}}",
		"contacts:\n  fuzz@contoso.com:\n    groups:\n    - name: !!str 1\n      members: []\n    # foot\n\n    # head\n    pinned: # line\n    - a@b.c # x\n",
		"contacts: &a {x@y.z: &b {others: ['A@b.c', \"d@e.f\"]}} # c\n# d\n",
		"%YAML 1.1\n---\n? contacts\n: ? a@b.c\n  : {}\n",
		"contacts:\n  a@b.c:\n    distributionGroups: [{address: t@u.v, name: >-\n      folded\n      name}]\n",
		"contacts: *a", "a: &a [*a]", "contacts: {<<: {}}", "\ufeffcontacts:\r\n", "--- # c\ncontacts:\n--- x",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		d, lists, err := parse("fuzz.yaml", text)
		if err != nil {
			var wrong *FileError
			require.ErrorAs(t, err, &wrong)
			require.NotEmpty(t, wrong.Problems)
			return
		}
		if len(d.root.Content) == 0 {
			require.Empty(t, lists)
			return // nothing to write back
		}
		written, err := d.text("fuzz.yaml", lists)
		require.NoError(t, err)
		d, again, err := parse("fuzz.yaml", written)
		require.NoError(t, err)
		require.Empty(t, cmp.Diff(lists, again))

		const owner = "fuzz@contoso.com"
		file := &File{maxContacts: 1 << 30, maxGroups: 1 << 30}
		_, after, err := d.edit("fuzz.yaml", again, owner, file.addMember(Pinned, "zoe@contoso.com"))
		if errors.Is(err, ErrExists) {
			return
		}
		require.NoError(t, err)
		require.Contains(t, after[owner].Pinned, "zoe@contoso.com")
		delete(after, owner)
		delete(lists, owner)
		require.Empty(t, cmp.Diff(lists, after))
	})
}

func TestCommentsThatCannotBeWrittenBackGiveWayToTheLists(t *testing.T) {
	d, lists, err := parse("x", []byte(sample))
	require.NoError(t, err)
	d.root.Content[0].HeadComment = "no comment: [at all"
	d.preamble = []byte("}")
	text, err := d.text("x", lists)
	require.NoError(t, err)
	require.False(t, strings.Contains(string(text), "#"))
	require.True(t, means("x", text, lists))
}

func TestAFileThatIsFullTakesNothingMoreAndKeepsItsComments(t *testing.T) {
	d, lists, err := parse("x", []byte("# full"))
	require.NoError(t, err)
	d.preamble = bytes.Repeat([]byte("#"), maxSize)
	text, _, err := d.edit("x", lists, ana, (&File{maxContacts: 1}).addMember(Pinned, "bob@contoso.com"))
	require.ErrorIs(t, err, ErrFull)
	require.Nil(t, text)
	require.Len(t, d.preamble, maxSize, "comments do not make room")
}
