package redistest

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/rueidis"
)

const slots = 16384

// Cluster is three masters that share all slots evenly, in order, without replicas.
type Cluster struct {
	// Nodes are the masters. One that is killed and restarted is a member again.
	Nodes []*Server
}

// StartCluster starts a cluster and waits until every member finds it complete.
// It ends with the test. Options are for every member.
func StartCluster(tb testing.TB, o ...Option) *Cluster {
	tb.Helper()
	c := &Cluster{}
	for range 3 {
		c.Nodes = append(c.Nodes, Start(tb, append(o, clustered())...))
	}
	for i, n := range c.Nodes {
		if err := n.admin(func(ctx context.Context, client rueidis.Client) error { return c.join(ctx, client, i) }); err != nil {
			tb.Fatalf("redistest: making a cluster: %v", err)
		}
	}
	c.AwaitOK(tb)
	return c
}

// join gives member i its slots and lets it meet those before it.
func (c *Cluster) join(ctx context.Context, client rueidis.Client, i int) error {
	first, last := int64(i*slots/len(c.Nodes)), int64((i+1)*slots/len(c.Nodes)-1)
	if err := client.Do(ctx, client.B().ClusterAddslotsrange().StartSlotEndSlot().StartSlotEndSlot(first, last).Build()).Error(); err != nil {
		return fmt.Errorf("giving slots: %w", err)
	}
	if err := client.Do(ctx, client.B().ClusterSetConfigEpoch().ConfigEpoch(int64(i+1)).Build()).Error(); err != nil {
		return fmt.Errorf("setting the epoch: %w", err)
	}
	for _, n := range c.Nodes[:i] {
		if err := client.Do(ctx, client.B().ClusterMeet().Ip("127.0.0.1").Port(int64(n.port)).Build()).Error(); err != nil {
			return fmt.Errorf("meeting: %w", err)
		}
	}
	return nil
}

// AwaitOK waits until every member is connected to every other, without which it
// does not hand on what is published, and finds all slots served.
func (c *Cluster) AwaitOK(tb testing.TB) {
	tb.Helper()
	deadline := time.Now().Add(patience)
	for _, n := range c.Nodes {
		for {
			err := n.admin(c.ok)
			if err == nil {
				break
			}
			if time.Now().After(deadline) {
				tb.Fatalf("redistest: waiting for the cluster: %v", err)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
}

func (c *Cluster) ok(ctx context.Context, client rueidis.Client) error {
	info, err := client.Do(ctx, client.B().ClusterInfo().Build()).ToString()
	if err != nil {
		return err
	}
	for _, want := range []string{
		"cluster_state:ok\r\n", fmt.Sprintf("cluster_slots_ok:%d\r\n", slots),
		fmt.Sprintf("cluster_known_nodes:%d\r\n", len(c.Nodes)),
	} {
		if !strings.Contains(info, want) {
			return errors.New("not complete:\n" + info)
		}
	}
	nodes, err := client.Do(ctx, client.B().ClusterNodes().Build()).ToString()
	if err == nil && strings.Count(nodes, " connected") != len(c.Nodes) {
		err = errors.New("not connected:\n" + nodes)
	}
	return err
}

// Addrs are the host and port of each member.
func (c *Cluster) Addrs() []string {
	var addresses []string
	for _, n := range c.Nodes {
		addresses = append(addresses, n.Addr())
	}
	return addresses
}

// Option is how a client reaches the cluster.
func (c *Cluster) Option() rueidis.ClientOption {
	option := c.Nodes[0].Option()
	option.InitAddress = c.Addrs()
	return option
}

// Client is a client of the cluster that is closed with the test.
func (c *Cluster) Client(tb testing.TB) rueidis.Client {
	tb.Helper()
	return newClient(tb, c.Option())
}
