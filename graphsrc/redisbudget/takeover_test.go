package redisbudget

import (
	"testing"
	"time"

	"github.com/redis/rueidis"
	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/redistest"
)

// member asks in the name of a replica that holds nothing.
type member struct {
	t          *testing.T
	lessor     *Lessor
	name       string
	seq, heard uint64
}

func (m *member) try() (budget.Grant, error) {
	m.seq++
	g, err := m.lessor.Lease(m.t.Context(), budget.Ask{Member: m.name, Seq: m.seq, Heard: m.heard, Share: shareOf(60, 150_000, 3)})
	if err == nil {
		m.heard = m.seq
	}
	return g, err
}

func (m *member) ask() budget.Grant {
	m.t.Helper()
	g, err := m.try()
	require.NoError(m.t, err)
	return g
}

// grown waits until all is in the bucket, but for shares that are set aside.
func grown(t *testing.T, members ...*member) {
	t.Helper()
	full := int64(20_000 * len(members))
	eventually(t, "the bucket is full", func() bool {
		level := int64(0)
		for _, m := range members {
			level = m.ask().Level
		}
		return level == full
	})
}

func members(t *testing.T, client rueidis.Client) (a, b *member) {
	lessor := quick(t, client, "t", 3)
	return &member{t: t, lessor: lessor, name: "a"}, &member{t: t, lessor: lessor, name: "b"}
}

func TestARestartWithItsDataEmptiesTheBucket(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.AOF())
	a, b := members(t, server.Client(t))
	grown(t, a, b)
	server.Kill()
	server.Restart()
	g := a.ask()
	require.Zero(t, g.Level, "who knows of what was lost has not asked yet")
	require.Equal(t, 3, g.Ghosts)
	require.GreaterOrEqual(t, g.Wait, 400*time.Millisecond, "a life and a grace")
	grown(t, a, b)
}

func TestATakeoverEmptiesTheBucketForAsLongAsTheOtherMayServe(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t)
	a, b := members(t, s.Client(t))
	grown(t, a, b)
	s.Servers[0].Kill()
	s.AwaitMaster(t, s.Servers[1])
	var g budget.Grant
	eventually(t, "the client has found the new master", func() bool {
		var err error
		g, err = a.try()
		return err == nil
	})
	require.Zero(t, g.Level)
	require.Equal(t, 3, g.Ghosts)
	require.Greater(t, g.Wait, missed)
	grown(t, a, b)
}

func TestAMasterThatMissesItsCopyServesOnlyThoseItHears(t *testing.T) {
	t.Parallel()
	s := redistest.StartSentinel(t)
	a, b := members(t, s.Servers[0].Client(t))
	eventually(t, "nobody is missed", func() bool { a.ask(); return b.ask().Ghosts == 0 })
	s.Servers[1].Freeze()
	eventually(t, "a share is set aside for one who may be elsewhere", func() bool { a.ask(); return b.ask().Ghosts == 1 })
	s.Servers[1].Thaw()
	eventually(t, "until nobody can be", func() bool { a.ask(); return b.ask().Ghosts == 0 })
}

func TestAServerThatDoesNotTellScriptsOfItsCopiesWillDo(t *testing.T) {
	t.Parallel()
	server := redistest.Start(t, redistest.User("gate", "secret", "~test:* +@all -info"))
	a, b := members(t, server.Client(t))
	grown(t, a, b)
	b.seq += 2
	b.heard = b.seq // which is not known
	require.Zero(t, b.ask().Level)
	grown(t, a, b)
}
