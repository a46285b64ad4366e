package redisconn

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"time"

	"github.com/redis/rueidis"

	"ucwagate/cmd/ucwagate/internal/config"
)

const (
	// clientName is what CLIENT LIST shows.
	clientName = "ucwagate"
	// buffer is that of reading and of writing of each connection, in bytes.
	buffer = 128 << 10
	// cache bounds the records kept for DoCache, in bytes for each connection:
	// of applications, a few hundred bytes each.
	cache = 64 << 20
	// blocking bounds the connections of commands that wait: one reads presence
	// of each tenant, a large pipeline takes one for a moment.
	blocking = 64
	// topology is how often sentinels and cluster are asked whether a master has
	// moved, beside what commands find out.
	topology = 5 * time.Second
	// retries bounds how often a command that may be repeated is.
	retries = 2
)

// option is how a client reaches what c names.
func option(c config.Redis) (rueidis.ClientOption, error) {
	password, sentinelPassword, err := c.Credentials()
	if err != nil {
		return rueidis.ClientOption{}, fmt.Errorf("redis: %w", err)
	}
	o := rueidis.ClientOption{
		InitAddress: c.Addresses, ShuffleInit: len(c.Addresses) > 1, SelectDB: c.Database, ClientName: clientName,
		Username: c.Username, Password: password, Dialer: net.Dialer{Timeout: c.Timeout, KeepAlive: time.Second},
		// A command gives up before its connection does, which takes all others
		// with it.
		ConnWriteTimeout:   2 * c.Timeout,
		ReadBufferEachConn: buffer, WriteBufferEachConn: buffer, CacheSizeEachConn: cache,
		BlockingPoolSize: blocking, BlockingPoolCleanup: time.Minute, BlockingPoolMinSize: 1,
		RetryDelay: retryDelay,
	}
	if o.TLSConfig, err = tlsConfig(c.TLS); err != nil {
		return rueidis.ClientOption{}, err
	}
	switch {
	case c.Sentinel != "":
		o.Sentinel = rueidis.SentinelOption{
			MasterSet: c.Sentinel, Username: c.SentinelUsername, Password: sentinelPassword, ClientName: clientName,
			Dialer: o.Dialer, TLSConfig: o.TLSConfig, TopologyRefreshInterval: topology,
		}
		return o, nil
	case c.Cluster:
		o.ClusterOption = rueidis.ClusterOption{ShardsRefreshInterval: topology, MaxMovedRedirections: 5}
	default:
		o.ForceSingleClient = true
	}
	if c.PasswordFile != "" {
		// Not with sentinels: they would be shown the same password.
		o.AuthCredentialsFn = func(rueidis.AuthCredentialsContext) (rueidis.AuthCredentials, error) {
			password, _, err := c.Credentials()
			return rueidis.AuthCredentials{Username: c.Username, Password: password}, err
		}
	}
	return o, nil
}

// retryDelay lets a command that only reads outlive a connection that broke, and
// one a failover. A subscription ends with its connection: whoever has it must
// know that messages were lost.
func retryDelay(attempts int, cmd rueidis.Completed, _ error) time.Duration {
	if attempts > retries || cmd.NoReply() {
		return -1
	}
	return time.Duration(attempts) * 20 * time.Millisecond
}

// tlsConfig is nil where TLS is not enabled.
func tlsConfig(c config.RedisTLS) (*tls.Config, error) {
	if !c.Enabled {
		return nil, nil
	}
	roots, err := c.RootCAs()
	if err != nil {
		return nil, fmt.Errorf("redis.tls: %w", err)
	}
	t := &tls.Config{RootCAs: roots, ServerName: c.ServerName, MinVersion: tls.VersionTLS12}
	if c.CertFile == "" {
		return t, nil
	}
	load := func() (*tls.Certificate, error) {
		pair, err := tls.LoadX509KeyPair(c.CertFile, c.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("redis.tls: reading the certificate: %w", err)
		}
		return &pair, nil
	}
	if _, err := load(); err != nil {
		return nil, err
	}
	t.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return load() }
	return t, nil
}

// builder makes commands before there is a connection: they know whether their
// keys must share a slot.
func builder(cluster bool) rueidis.Builder {
	o := rueidis.ClientOption{
		InitAddress: []string{"none:1"}, DisableCache: true, DisableRetry: true, ClientSetInfo: rueidis.DisableClientSetInfo,
		ForceSingleClient: !cluster, ReadBufferEachConn: 512, WriteBufferEachConn: 512, RingScaleEachConn: 2,
		DialCtxFn: func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) {
			if !cluster {
				return nil, errNotConnected
			}
			return pretendCluster(), nil
		},
	}
	// The library makes a builder for a cluster only with a client of one. This
	// one speaks to a few prepared answers, and is closed at once.
	c, _ := rueidis.NewClient(o)
	defer c.Close()
	return c.B()
}

// pretendCluster answers the greeting and the question for slots.
func pretendCluster() net.Conn {
	near, far := net.Pipe()
	go func() {
		defer far.Close()
		question := make([]byte, 512)
		for _, answer := range []string{
			"%1\r\n+proto\r\n:3\r\n",
			"*1\r\n*3\r\n:0\r\n:16383\r\n*2\r\n$4\r\nnone\r\n:1\r\n",
		} {
			if _, err := far.Read(question); err != nil {
				return
			}
			if _, err := far.Write([]byte(answer)); err != nil {
				return
			}
		}
		_, _ = far.Read(question) // until it is closed
	}()
	return near
}
