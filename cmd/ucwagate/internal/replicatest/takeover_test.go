package replicatest

import (
	"fmt"
	"testing"
	"time"

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
	rest := here.begin(t, crowd)
	for i, server := range redis.Servers {
		redis.AwaitReplica(t)
		pass(t, 5*time.Second)
		t.Logf("master %d is killed", i)
		server.Kill()
		redis.AwaitMaster(t, redis.Servers[1-i])
		pass(t, 5*time.Second)
		server.Restart()
	}
	rest()
	agree(t, crowd, here, "in the end")
	check(t, w, here, crowd)
}
