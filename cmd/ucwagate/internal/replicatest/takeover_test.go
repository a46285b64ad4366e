package replicatest

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"ucwagate/graphsrc/redistest"
)

// TestClientsGoOnWhenAnotherRedisTakesOver kills the master of a Redis that
// sentinels watch, and the one that took its place after the first has come back.
func TestClientsGoOnWhenAnotherRedisTakesOver(t *testing.T) {
	t.Parallel()
	const people = 300
	redis := redistest.StartSentinel(t)
	way := fmt.Sprintf(`sentinel: %s, addresses: ["%s"]`, redistest.MasterName, redis.Watcher.Addr())
	w := build(t, people, way, way)
	here := inhabit(t, w, people)
	crowd, leave := gather(t, w, here, 30, 50)
	defer leave()
	agree(t, crowd, here, "after signing in")
	for _, c := range crowd {
		c.forget()
	}
	clear(here.moved)
	life, stop := context.WithCancel(t.Context())
	defer stop()
	var living errgroup.Group
	living.Go(func() error { return here.live(life) })
	for i, server := range redis.Servers {
		redis.AwaitReplica(t)
		pass(t, 5*time.Second)
		t.Logf("master %d is killed", i)
		server.Kill()
		redis.AwaitMaster(t, redis.Servers[1-i])
		pass(t, 5*time.Second)
		server.Restart()
	}
	stop()
	require.NoError(t, living.Wait())
	agree(t, crowd, here, "in the end")
	check(t, w, here, crowd)
}
