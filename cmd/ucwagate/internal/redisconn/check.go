package redisconn

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/redis/rueidis"

	"ucwagate/cmd/ucwagate/internal/config"
)

// minMajor and minMinor are the oldest Redis that has what is used.
const minMajor, minMinor = 6, 2

// Report is what Check found.
type Report struct {
	// Server is the software and its version, such as "Redis 7.0.15".
	Server string
	// Problems keep the gateway from working; Warnings may one day.
	Problems, Warnings []string
}

// Check connects to what c names and looks whether it is fit: the version, the
// kind of server, whether keys may be evicted or lost, and whether the user may do
// what the gateway does. The error is why nothing could be looked at.
func Check(ctx context.Context, c config.Redis) (Report, error) {
	o, err := option(c)
	if err != nil {
		return Report{}, err
	}
	o.DisableRetry = true
	client, err := rueidis.NewClient(o)
	if client != nil {
		defer client.Close()
	}
	if err != nil {
		return Report{}, fmt.Errorf("connecting to Redis: %w%s", err, hint(err, c))
	}
	ctx, cancel := context.WithTimeout(ctx, 10*c.Timeout)
	defer cancel()
	r := &checker{cfg: c, client: client}
	for address, node := range r.nodes() {
		if err := r.server(ctx, address, node); err != nil {
			return r.Report, err
		}
	}
	r.permissions(ctx)
	return r.Report, nil
}

// hint says what an error in connecting often means.
func hint(err error, c config.Redis) string {
	text := strings.ToUpper(err.Error())
	switch {
	case c.Sentinel != "" && strings.Contains(text, "UNKNOWN COMMAND"):
		return " (redis.addresses are no sentinels?)"
	case c.Sentinel != "" && strings.Contains(text, "NO SUCH MASTER"):
		return fmt.Sprintf(" (the sentinels know no master %q)", c.Sentinel)
	case !c.TLS.Enabled && strings.Contains(text, "EOF"):
		return " (does it speak TLS?)"
	default:
		return ""
	}
}

type checker struct {
	Report
	cfg    config.Redis
	client rueidis.Client
}

func (r *checker) problem(format string, args ...any) {
	r.Problems = append(r.Problems, fmt.Sprintf(format, args...))
}

func (r *checker) warning(format string, args ...any) {
	r.Warnings = append(r.Warnings, fmt.Sprintf(format, args...))
}

// nodes are the servers to look at: of a cluster all, else the one in use.
func (r *checker) nodes() map[string]rueidis.Client {
	if r.client.Mode() == rueidis.ClientModeCluster {
		return r.client.Nodes()
	}
	return map[string]rueidis.Client{r.cfg.Addresses[0]: r.client}
}

func (r *checker) server(ctx context.Context, address string, node rueidis.Client) error {
	text, err := node.Do(ctx, node.B().Info().Build()).ToString()
	if err != nil {
		return fmt.Errorf("asking %s for INFO: %w", address, err)
	}
	info := fields(text)
	r.version(address, info)
	switch mode := info["redis_mode"]; {
	case mode == "sentinel":
		r.problem("%s is a sentinel: set redis.sentinel to the name of the master", address)
	case mode == "cluster" && !r.cfg.Cluster:
		r.problem("%s is a member of a cluster: set redis.cluster", address)
	case mode != "cluster" && r.cfg.Cluster:
		r.problem("%s is not a member of a cluster, and redis.cluster is set", address)
	}
	if info["role"] == "slave" && !r.cfg.Cluster {
		r.problem("%s is a replica, which takes no writes: name its master, or its sentinels", address)
	}
	if policy := info["maxmemory_policy"]; policy != "" && policy != "noeviction" {
		r.warning("%s may throw keys away when its memory is full (maxmemory-policy %s): set it to noeviction", address, policy)
	}
	r.lasting(address, info)
	return nil
}

// lasting warns of what is lost in a restart or a failover.
func (r *checker) lasting(address string, info map[string]string) {
	if info["aof_enabled"] == "0" {
		r.warning("%s keeps at most a snapshot over a restart (appendonly no): set appendonly yes", address)
	}
	copies, _ := strconv.Atoi(info["connected_slaves"])
	if _, set := info["min_slaves_good_slaves"]; r.cfg.Sentinel != "" && copies > 1 && !set {
		r.warning("%s goes on taking writes where it is cut off from its %d replicas, and they are lost when another is made the master: "+
			"set min-replicas-to-write 1 and min-replicas-max-lag 10", address, copies)
	}
}

func (r *checker) version(address string, info map[string]string) {
	name, version := "Redis", info["redis_version"]
	if v := info["valkey_version"]; v != "" {
		r.Server = "Valkey " + v
		return
	}
	r.Server = name + " " + version
	parts := strings.SplitN(version, ".", 3)
	if len(parts) < 2 {
		r.warning("%s does not say its version", address)
		return
	}
	major, _ := strconv.Atoi(parts[0])
	minor, _ := strconv.Atoi(parts[1])
	if major < minMajor || major == minMajor && minor < minMinor {
		r.problem("%s is Redis %s, and at least %d.%d is needed", address, version, minMajor, minMinor)
	}
}

func fields(info string) map[string]string {
	all := map[string]string{}
	for line := range strings.Lines(info) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			all[key] = value
		}
	}
	return all
}

// touched does what the gateway's scripts do, with one key that is gone again
// in the end.
const touched = `
local k = KEYS[1]
redis.call('TIME')
for _, c in ipairs({
  {'SET', k, '1', 'PX', '10000'}, {'GET', k}, {'PEXPIRE', k, '10000'}, {'PTTL', k}, {'EXISTS', k}, {'INCR', k}, {'DEL', k},
  {'HSET', k, 'f', '1'}, {'HGET', k, 'f'}, {'HGETALL', k}, {'HINCRBY', k, 'f', '1'}, {'HDEL', k, 'f'},
  {'SADD', k, 'm'}, {'SREM', k, 'm'}, {'ZADD', k, '1', 'm'}, {'ZRANGEBYSCORE', k, '0', '1'}, {'ZREM', k, 'm'},
  {'RPUSH', k, 'v'}, {'LRANGE', k, '0', '-1'}, {'LTRIM', k, '1', '0'}, {'XADD', k, '*', 'f', 'v'}, {'XRANGE', k, '-', '+'}, {'DEL', k},
}) do redis.call(unpack(c)) end
return 1`

// permissions tries what ACLs may forbid.
func (r *checker) permissions(ctx context.Context) {
	if len(r.Problems) > 0 {
		return // these would be told again
	}
	b := r.client.B()
	key, channel := r.cfg.Prefix+":{check}:"+strconv.FormatInt(time.Now().UnixNano(), 36), r.cfg.Prefix+":check"
	tried := []struct {
		what string
		err  error
	}{
		{"write and read keys", r.client.Do(ctx, b.Set().Key(key).Value("1").ExSeconds(10).Build()).Error()},
		{"run scripts", r.client.Do(ctx, b.Eval().Script("return 1").Numkeys(1).Key(key).Build()).Error()},
		{"use the commands that scripts use", r.client.Do(ctx, b.Eval().Script(touched).Numkeys(1).Key(key).Build()).Error()},
		{"read streams", r.client.Do(ctx, b.Xread().Streams().Key(key).Id("0").Build()).Error()},
		{"read sets", r.client.Do(ctx, b.Smembers().Key(key).Build()).Error()},
		{"publish", r.client.Do(ctx, b.Publish().Channel(channel).Message("").Build()).Error()},
		{"subscribe", r.subscribes(ctx, channel)},
	}
	for _, t := range tried {
		if t.err != nil && !rueidis.IsRedisNil(t.err) {
			r.problem("the gateway may not %s: %v", t.what, t.err)
		}
	}
	if err := r.client.Do(ctx, b.Eval().Script("return redis.call('INFO', 'replication')").Numkeys(1).Key(key).Build()).Error(); err != nil {
		r.warning("scripts may not use INFO, so neither the budget nor the lists of who watches whom notice a failover before somebody misses what was lost in it: %v", err)
	}
}

// subscribes returns nil as soon as a subscription holds.
func (r *checker) subscribes(ctx context.Context, channel string) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	held := make(chan struct{})
	ctx = rueidis.WithOnSubscriptionHook(ctx, func(rueidis.PubSubSubscription) { close(held); cancel() })
	err := r.client.Receive(ctx, r.client.B().Subscribe().Channel(channel).Build(), func(rueidis.PubSubMessage) {})
	select {
	case <-held:
		return nil
	default:
		return err
	}
}
