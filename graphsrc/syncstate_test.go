package graphsrc

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// fakeState is a disk: it outlives sources.
type fakeState struct {
	mu    sync.Mutex
	state []byte
	saves int
	err   error
}

func (f *fakeState) Load(context.Context) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return bytes.Clone(f.state), f.err
}

func (f *fakeState) Save(_ context.Context, state []byte) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.saves++
	if f.err != nil {
		return f.err
	}
	f.state = bytes.Clone(state)
	return nil
}

func (f *fakeState) set(state []byte, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.state, f.err = state, err
}

func (f *fakeState) saved() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.saves
}

// put replaces what Graph answers to links.
func (f *fakeDirectory) put(pages map[string]UsersPage) {
	f.dmu.Lock()
	defer f.dmu.Unlock()
	f.pages = pages
}

func nobody(t *testing.T, s *Source, name string) {
	t.Helper()
	_, err := s.Lookup(t.Context(), name+"@contoso.com")
	require.Equal(t, KindNotFound, errKind(err))
}

func somebody(t *testing.T, s *Source, name string, n int) {
	t.Helper()
	u, err := s.Lookup(t.Context(), name+"@contoso.com")
	require.NoError(t, err)
	require.Equal(t, id(n), u.ID)
}

func keeping(disk SyncState) func(*Options) {
	return func(o *Options) { o.SyncState, o.SyncOwner = disk, "tenant one" }
}

func TestARestartReadsOnlyWhatHasChanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, g := &fakeState{}, &fakeGraph{}
		g.put(map[string]UsersPage{
			"":   {Users: []User{upn(1, "ana"), upn(2, "bo")}, Next: "n1"},
			"n1": {Users: []User{upn(3, "cy"), ana}, Delta: "d1"},
		})
		first := synced(t, g, keeping(disk))
		require.Equal(t, 1, disk.saved(), "a whole directory is kept at once")
		first.Close()
		require.Equal(t, 1, disk.saved(), "there is nothing new")

		g.forget()
		g.put(map[string]UsersPage{"d1": {Users: []User{upn(2, "bob"), {ID: id(3), Removed: true}}, Delta: "d2"}})
		g.delay = time.Second
		s := synced(t, g, keeping(disk))
		somebody(t, s, "bo", 2)
		somebody(t, s, "al", 1)
		require.False(t, s.Synchronized(), "what was kept may be old")
		require.Equal(t, []string{"delta d1"}, g.questions())
		wait(time.Second)
		synctest.Wait()
		require.True(t, s.Synchronized())
		somebody(t, s, "bob", 2)
		nobody(t, s, "bo")
		nobody(t, s, "cy")
		require.Equal(t, []string{"delta d1"}, g.questions())
		s.Close()
		require.Equal(t, 2, disk.saved(), "what is new is kept at the end")
	})
}

func TestAnInterruptedFirstReadingGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, g := &fakeState{}, &fakeGraph{}
		down := &Error{Op: "delta", Kind: KindUnavailable, Status: 503}
		g.put(map[string]UsersPage{
			"":   {Users: []User{upn(1, "ana")}, Next: "n1"},
			"n1": {Users: []User{upn(2, "bo")}, Delta: "d1"},
		})
		g.pageErr = map[string]error{"n1": down}
		first := synced(t, g, keeping(disk))
		require.Zero(t, disk.saved())
		first.Close()
		require.Equal(t, 1, disk.saved())

		g.forget()
		s := synced(t, g, keeping(disk))
		require.Equal(t, []string{"delta n1"}, g.questions())
		require.True(t, s.Synchronized())
		somebody(t, s, "ana", 1)
		somebody(t, s, "bo", 2)
	})
}

func TestAStateThatCannotBeUsedIsAFullReadLoggedOnce(t *testing.T) {
	var good []byte
	save := func(t *testing.T, change func(*Options), pause time.Duration) ([]byte, []string, string) {
		t.Helper()
		disk, g, log := &fakeState{state: bytes.Clone(good)}, &fakeGraph{}, &bytes.Buffer{}
		whole := UsersPage{Users: []User{upn(1, "ana"), upn(2, "bo")}, Delta: "d1"}
		g.put(map[string]UsersPage{"": whole, "d1": {Delta: "d1"}})
		wait(pause)
		s := synced(t, g, func(o *Options) {
			keeping(disk)(o)
			o.Logger = slog.New(slog.NewTextHandler(log, nil))
			if change != nil {
				change(o)
			}
		})
		somebody(t, s, "ana", 1)
		somebody(t, s, "bo", 2)
		require.True(t, s.Synchronized())
		s.Close()
		return disk.state, g.questions(), log.String()
	}
	synctest.Test(t, func(t *testing.T) {
		var asked []string
		good, asked, _ = save(t, nil, 0)
		require.Equal(t, []string{"delta "}, asked)
		_, asked, log := save(t, nil, 0)
		require.Equal(t, []string{"delta d1"}, asked, "a good state is used")
		require.NotContains(t, log, "WARN")
	})
	whole := good
	for _, c := range []struct {
		name   string
		state  func() []byte
		change func(*Options)
		pause  time.Duration
		says   string
	}{
		{"a flipped bit", func() []byte { b := bytes.Clone(whole); b[len(b)/2] ^= 4; return b }, nil, 0, "damaged"},
		{"a missing end", func() []byte { return whole[:len(whole)-5] }, nil, 0, "damaged"},
		{"only the head", func() []byte { return whole[:stateHead] }, nil, 0, "damaged"},
		{"another version", func() []byte { b := bytes.Clone(whole); b[len(stateMagic)-1]++; return b }, nil, 0, "another version"},
		{"something else", func() []byte { return []byte("hello") }, nil, 0, "not the state"},
		{"another tenant", nil, func(o *Options) { o.SyncOwner = "tenant two" }, 0, "another tenant"},
		{"a state of eight days ago", nil, nil, 8 * 24 * time.Hour, "too long ago"},
		{"a disk that fails", nil, func(o *Options) { o.SyncState = &fakeState{err: errors.New("no disk")} }, 0, "no disk"},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// The state is of the beginning of a bubble's time, as this is.
				good = whole
				if c.state != nil {
					good = c.state()
				}
				_, asked, log := save(t, c.change, c.pause)
				require.Equal(t, "delta ", asked[0])
				require.Contains(t, log, c.says)
				require.Equal(t, 1, strings.Count(log, "the directory that was kept cannot be used"))
			})
		})
	}
	t.Run("a smaller limit", func(t *testing.T) {
		_, err := decodeState(whole, "tenant one", newIndex(1, nil))
		require.ErrorIs(t, err, errLargeState)
	})
}

func TestADirectoryThatDoesNotFitIsNotKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, g := &fakeState{}, &fakeGraph{}
		g.put(map[string]UsersPage{"": {Users: []User{upn(1, "ana"), upn(2, "bo")}, Delta: "d"}})
		s := synced(t, g, func(o *Options) {
			keeping(disk)(o)
			o.DirectorySize = 1
		})
		s.Close()
		require.Zero(t, disk.saved())
	})
}

func TestChangesAreKeptNowAndThenAndLinksRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		disk, g := &fakeState{}, &fakeGraph{}
		g.put(map[string]UsersPage{"": {Users: []User{upn(1, "ana")}, Delta: "d"}, "d": {Delta: "d"}})
		s := synced(t, g, keeping(disk))
		wait(keepLinkEvery - time.Minute)
		require.Equal(t, 1, disk.saved(), "nobody has changed")
		wait(10 * time.Minute)
		require.Equal(t, 2, disk.saved(), "but links get old")

		n := 0
		g.put(nil)
		g.dmu.Lock()
		g.pages = map[string]UsersPage{"d": {Users: []User{upn(1, "ana.maria")}, Delta: "d"}}
		g.dmu.Unlock()
		wait(20 * time.Minute)
		require.Equal(t, 3, disk.saved(), "a change is kept within a quarter of an hour, and a replay is none")
		wait(time.Hour)
		require.Equal(t, 3, disk.saved())

		disk.set(nil, errors.New("the disk is full"))
		for range 8 {
			n++
			g.put(map[string]UsersPage{"d": {Users: []User{upn(1, "ana"+strings.Repeat("x", n))}, Delta: "d"}})
			wait(5 * time.Minute)
		}
		require.Equal(t, 6, disk.saved(), "failures are repeated with pauses")
		somebody(t, s, "ana"+strings.Repeat("x", n), 1)
	})
}

func FuzzState(f *testing.F) {
	x := newIndex(10, nil)
	x.apply([]User{ana, obrien, {ID: id(3), OtherMails: []string{"a@b", ""}, BusinessPhones: []string{"1"}}})
	at := time.Unix(1_700_000_000, 0)
	good := encodeState("o", &kept{link: "https://graph.test/v1.0/users/delta?$deltatoken=x", at: at, whole: true, users: x})
	f.Add(good)
	f.Add(encodeState("o", &kept{link: "n", at: at, users: newIndex(10, nil)}))
	f.Add(good[:len(good)-3])
	f.Add([]byte(stateMagic))
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, raw []byte) {
		// Behind the sum the fuzzer would find nothing: it is made right first.
		if len(raw) >= stateHead {
			raw = bytes.Clone(raw)
			copy(raw, stateMagic)
			sum := sha256.Sum256(raw[stateHead:])
			copy(raw[len(stateMagic):], sum[:])
		}
		x := newIndex(10, nil)
		got, err := decodeState(raw, "o", x)
		if err != nil {
			return
		}
		// What was read can be kept again, and says the same.
		again, err := decodeState(encodeState("o", got), "o", newIndex(10, nil))
		require.NoError(t, err)
		require.Equal(t, got.link, again.link)
		require.Equal(t, got.whole, again.whole)
		require.True(t, got.at.Equal(again.at))
		got.users.each(func(e *entry) bool {
			u, ok := again.users.get(e.key)
			require.True(t, ok)
			require.Equal(t, e.user(), u)
			return true
		})
	})
}
