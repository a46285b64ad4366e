package delegated

import (
	"context"
	"encoding/json"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/clock"
	"ucwagate/graphsrc/graphsim"
)

func TestAFileThatEverybodyMayReadIsRefused(t *testing.T) {
	p := newPlace(t, graphsim.Config{})
	p.signIn(t, p.open(t), p.ana().UserPrincipalName)
	for _, mode := range []fs.FileMode{0o604, 0o644, 0o602, 0o666} {
		require.NoError(t, os.Chmod(p.file, mode))
		m := p.open(t)
		e := m.refused(t, graphsrc.KindUnauthorized)
		require.NotErrorIs(t, e, graphsrc.ErrSignInNeeded)
		require.ErrorContains(t, e, "its mode must be 0600")
		require.NoError(t, os.Chmod(p.file, 0o600))
		m.token(t)
	}
	require.NoError(t, os.Chmod(p.file, 0o640))
	m := p.open(t)
	m.token(t)
	require.Equal(t, 1, m.log.count("mode 0600 keeps it out"))
}

func TestALinkToTheFileStaysALink(t *testing.T) {
	p := newPlace(t, graphsim.Config{})
	target := p.file
	p.signIn(t, p.open(t), p.ana().UserPrincipalName)
	p.file = filepath.Join(t.TempDir(), "link.json")
	require.NoError(t, os.Symlink(target, p.file))
	p.hasty(t)
	forgetAccessTokens(t, target)
	m := p.open(t)
	m.token(t)
	link := p.file
	info, err := os.Lstat(link)
	require.NoError(t, err)
	require.Equal(t, fs.ModeSymlink, info.Mode().Type())
	p.file = target
	p.open(t).token(t)
	// The link leads to another file from now on, as when a secret is replaced.
	p.file = target + "2"
	p.signIn(t, p.open(t), p.ben().UserPrincipalName)
	require.NoError(t, os.Symlink(p.file, link+"2"))
	require.NoError(t, os.Rename(link+"2", link))
	require.NoError(t, os.Remove(target))
	m.token(t)
	require.Equal(t, p.ben().ID, m.ID())
}

// The names of files that are too long for what lies beside them make a file
// system read-only to whoever runs the test.
const (
	longestName   = 255
	tooLongToSave = longestName - len(".lock")
	tooLongToLock = longestName
)

func TestWhereTheFileCannotBeWrittenTheTokenInMemoryIsUsed(t *testing.T) {
	for name, length := range map[string]int{"nor locked": tooLongToLock, "but locked": tooLongToSave} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t, graphsim.Config{})
			p.signIn(t, p.open(t), p.ana().UserPrincipalName)
			long := filepath.Join(filepath.Dir(p.file), strings.Repeat("h", length))
			require.NoError(t, os.Rename(p.file, long))
			p.file = long
			p.hasty(t)
			forgetAccessTokens(t, p.file)
			before, err := os.ReadFile(p.file)
			require.NoError(t, err)
			m := p.open(t)
			seen := map[string]bool{}
			for range 4 {
				seen[m.token(t)] = true
			}
			require.Len(t, seen, 4, "each refresh token works once: the newest was used each time")
			require.Equal(t, 1, m.log.count("lives in memory only"))
			require.LessOrEqual(t, m.log.count("cannot be locked"), 1)
			require.Equal(t, length == tooLongToLock, m.log.count("cannot be locked") == 1)
			after, err := os.ReadFile(p.file)
			require.NoError(t, err)
			require.Equal(t, string(before), string(after))
		})
	}
}

func TestWhatIsNoSignInIsNotRead(t *testing.T) {
	p := newPlace(t, graphsim.Config{})
	const secret = "secret-content"
	for name, text := range map[string]string{
		"nothing": "", "text": secret, "another object": `{"x":"` + secret + `"}`, "a later format": `{"format":2,"username":"u","cache":{}}`,
		"no account": `{"format":1,"cache":{}}`, "no cache": `{"format":1,"username":"` + secret + `"}`,
		"a cache of nothing":   `{"format":1,"username":"u","id":"i","cache":{},"tenant_id":"` + p.graph.TenantID + `","client_id":"` + p.graph.ClientID + `"}`,
		"a cache of something": `{"format":1,"username":"u","id":"i","cache":"` + secret + `","tenant_id":"` + p.graph.TenantID + `","client_id":"` + p.graph.ClientID + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, os.WriteFile(p.file, []byte(text), 0o600))
			m := p.open(t)
			e := m.refused(t, graphsrc.KindUnauthorized)
			require.ErrorIs(t, e, graphsrc.ErrSignInNeeded)
			require.NotContains(t, e.Error()+m.log.String(), secret)
			require.Zero(t, m.wire.tokens.Load())
		})
	}
	require.NoError(t, os.WriteFile(p.file, make([]byte, maxFile+1), 0o600))
	require.ErrorContains(t, p.open(t).refused(t, graphsrc.KindUnauthorized), "more than")
	p.file = t.TempDir()
	require.ErrorContains(t, p.open(t).refused(t, graphsrc.KindUnauthorized), "not a regular file")
}

func TestOnlyTheFileOfAnAccountIsRemoved(t *testing.T) {
	p := newPlace(t, graphsim.Config{})
	require.ErrorIs(t, Forget(t.Context(), p.file), fs.ErrNotExist)
	_, err := Read(t.Context(), p.file)
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoError(t, os.WriteFile(p.file, []byte("precious"), 0o600))
	require.Error(t, Forget(t.Context(), p.file))
	require.FileExists(t, p.file)
	require.Error(t, Forget(t.Context(), filepath.Dir(p.file)))
	p.signIn(t, p.open(t), p.ana().UserPrincipalName)
	require.NoError(t, os.Chmod(p.file, 0o644))
	link := p.file + ".link"
	require.NoError(t, os.Symlink(p.file, link))
	require.NoError(t, Forget(t.Context(), link))
	require.NoFileExists(t, p.file)
}

func TestALockIsWaitedForAndHeldOnce(t *testing.T) {
	v := newVault(filepath.Join(t.TempDir(), "f"), clock.System(), slog.New(slog.DiscardHandler))
	unlock, err := v.lock(t.Context())
	require.NoError(t, err)
	on(t, 50*time.Millisecond, func(ctx context.Context) {
		_, err := v.lock(ctx)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, errLocked)
	})
	got := make(chan error, 1)
	go func() {
		again, err := v.lock(t.Context())
		if err == nil {
			again()
		}
		got <- err
	}()
	unlock()
	require.NoError(t, <-got)
}

func FuzzAFileIsReadOrRefused(f *testing.F) {
	f.Add([]byte(`{"format":1,"username":"ana@contoso.test","id":"1","cache":{"Account":{}}}`))
	f.Add([]byte(`{"format":1,"username":"ana@contoso.test","cache":null}`))
	f.Add([]byte(`[]`))
	f.Add([]byte("\x00"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		file := filepath.Join(t.TempDir(), "f")
		require.NoError(t, os.WriteFile(file, raw, 0o600))
		c, err := readContent(t.Context(), file)
		if err != nil {
			require.ErrorIs(t, err, graphsrc.ErrSignInNeeded)
			return
		}
		require.NotEmpty(t, c.Username)
		require.True(t, json.Valid(c.Cache))
	})
}
