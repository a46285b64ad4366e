package config

import (
	"crypto/x509"
	"errors"
	"net"
	"strings"
	"time"
)

// Redis is what several replicas share.
type Redis struct {
	Addresses            []string      `key:"addresses" format:"endpoint" doc:"Host and port of the server; of some members with cluster; of the sentinels with sentinel. Empty: no Redis, for a single replica."`
	Cluster              bool          `key:"cluster" doc:"The addresses are members of a Redis Cluster."`
	Sentinel             string        `key:"sentinel" format:"word" doc:"Name of the master for which the sentinels at addresses are asked. Empty: the addresses are no sentinels."`
	Database             int           `key:"database" min:"0" max:"1023" doc:"Number of the database. A cluster has none but 0."`
	Username             string        `key:"username" format:"word" doc:"ACL user. Empty: the default user."`
	Password             Secret        `key:"password" doc:"The user's password; better from the environment than from the file."`
	PasswordFile         string        `key:"password_file" format:"file" doc:"File that holds the password, in place of password. Without sentinel it is read again for every new connection."`
	SentinelUsername     string        `key:"sentinel_username" format:"word" doc:"ACL user at the sentinels. Empty: the default user."`
	SentinelPassword     Secret        `key:"sentinel_password" doc:"The password at the sentinels."`
	SentinelPasswordFile string        `key:"sentinel_password_file" format:"file" doc:"File that holds the password at the sentinels, in place of sentinel_password."`
	TLS                  RedisTLS      `key:"tls" doc:"TLS to Redis, and to the sentinels."`
	Prefix               string        `key:"prefix" format:"label" doc:"Begins every key and channel. Gateways that share it are replicas of one another: give each group its own."`
	Replicas             int           `key:"replicas" min:"0" max:"1000" doc:"How many replicas there are at most, those that a rollout starts before it ends others included. Required with addresses. While Redis cannot be reached each uses the budget's part of one of so many."`
	Timeout              time.Duration `key:"timeout" min:"50ms" max:"10s" doc:"How long connecting and a command may take."`
}

// RedisTLS is TLS to Redis.
type RedisTLS struct {
	Enabled    bool   `key:"enabled" doc:"Speak TLS."`
	CAFile     string `key:"ca_file" format:"file" doc:"PEM file of further root certificates, trusted besides the system's."`
	CertFile   string `key:"certificate_file" format:"file" doc:"PEM file of the certificate that the gateway shows. Empty: it shows none. It and key_file are read again for every new connection."`
	KeyFile    string `key:"key_file" format:"file" doc:"PEM file of the private key of certificate_file."`
	ServerName string `key:"server_name" format:"host" doc:"Name in the servers' certificates. Empty: the host to which the gateway connects."`
}

// Enabled reports whether there is a Redis.
func (r Redis) Enabled() bool { return len(r.Addresses) > 0 }

// Credentials returns the password from password or password_file, and that of
// the sentinels; space around the content of a file is not part of it. An empty
// text means none.
func (r Redis) Credentials() (password, sentinel string, err error) {
	if password, err = secretOrFile(r.Password, "password_file", r.PasswordFile); err != nil {
		return "", "", err
	}
	if sentinel, err = secretOrFile(r.SentinelPassword, "sentinel_password_file", r.SentinelPasswordFile); err != nil {
		return "", "", err
	}
	return password, sentinel, nil
}

// RootCAs returns the system's root certificates and those of ca_file; nil,
// which means the system's to package crypto/tls, where no ca_file is set.
func (t RedisTLS) RootCAs() (*x509.CertPool, error) { return rootCAs(t.CAFile) }

func readEndpoint(text string) (string, error) {
	host, port, err := net.SplitHostPort(text)
	if err != nil || host == "" || port == "0" {
		return "", errors.New("must be host:port, such as redis.example.com:6379 or [::1]:6379")
	}
	return readListen(text)
}

// checkRedis wants the way to Redis to be one, and secrets to go nowhere else.
func (r *rules) checkRedis() {
	c := r.config.Redis
	if !r.ok("redis.addresses", "redis.cluster", "redis.sentinel") {
		return
	}
	if !c.Enabled() {
		r.redisWithout(c)
		return
	}
	r.unique("redis.addresses", c.Addresses)
	switch {
	case c.Cluster && c.Sentinel != "":
		r.wrong("redis.sentinel", "must not be set together with redis.cluster (%s): a cluster has no sentinels", r.at("redis.cluster"))
	case !c.Cluster && c.Sentinel == "" && len(c.Addresses) > 1:
		r.wrong("redis.addresses", "there are %d addresses, which needs cluster or sentinel: independent servers share nothing", len(c.Addresses))
	}
	if at := "redis.database"; c.Cluster && c.Database != 0 && r.ok(at) {
		r.wrong(at, "must be 0 with cluster")
	}
	r.required("redis.replicas", c.Replicas == 0)
	r.redisPassword("redis.", c.Username, c.Password, c.PasswordFile)
	if c.Sentinel != "" {
		r.redisPassword("redis.sentinel_", c.SentinelUsername, c.SentinelPassword, c.SentinelPasswordFile)
	} else {
		for _, key := range []struct {
			name string
			set  bool
		}{
			{"sentinel_username", c.SentinelUsername != ""},
			{"sentinel_password", c.SentinelPassword != ""},
			{"sentinel_password_file", c.SentinelPasswordFile != ""},
		} {
			if at := "redis." + key.name; key.set && r.ok(at) {
				r.wrong(at, "has no effect without sentinel")
			}
		}
	}
	r.redisTLS(c)
}

// redisWithout complains about what shows that Redis is meant to be used.
func (r *rules) redisWithout(c Redis) {
	meant := c.Cluster || c.Sentinel != "" || c.Username != "" || c.Password != "" || c.PasswordFile != "" || c.TLS.Enabled
	r.required("redis.addresses", meant)
}

// checkFallback warns of a budget that cannot be divided by the replicas: a part of
// it is a whole number of tokens, and rounded up the parts would be more than it.
func (r *rules) checkFallback(path string, b Budget) {
	c, at := r.config.Redis, path+".capacity"
	if !c.Enabled() || !r.ok("redis.replicas", at) || b.Capacity >= c.Replicas {
		return
	}
	r.warn(at, "is %d, below the %d of redis.replicas (%s): while Redis cannot be reached no replica has a token for itself, and nothing is sent",
		b.Capacity, c.Replicas, r.at("redis.replicas"))
}

func (r *rules) redisPassword(prefix, username string, password Secret, passwordFile string) {
	inline, file := prefix+"password", prefix+"password_file"
	if !r.ok(inline, file) {
		return
	}
	switch {
	case password != "" && passwordFile != "":
		r.bothSet(inline, file)
	case username != "" && password == "" && passwordFile == "":
		r.wrong(inline, "is required with %susername: password or password_file (%s)", strings.TrimPrefix(prefix, "redis."), envName(inline))
	default:
		r.notEmpty(file, passwordFile)
	}
}

func (r *rules) redisTLS(c Redis) {
	const at, ca, cert, key = "redis.tls", "redis.tls.ca_file", "redis.tls.certificate_file", "redis.tls.key_file"
	if !r.ok(at+".enabled", ca, cert, key) {
		return
	}
	if t := c.TLS; !t.Enabled {
		if t != (RedisTLS{}) {
			r.wrong(at, "has no effect without enabled")
		}
		r.redisInClear(c)
		return
	}
	if r.readable(ca, c.TLS.CAFile) {
		if _, err := c.TLS.RootCAs(); err != nil {
			r.wrong(ca, "%s", strings.TrimPrefix(err.Error(), "reading ca_file: "))
		}
	}
	switch {
	case c.TLS.CertFile != "" && c.TLS.KeyFile == "":
		r.wrong(key, "is required with certificate_file")
	case c.TLS.CertFile == "" && c.TLS.KeyFile != "":
		r.wrong(cert, "is required with key_file")
	default:
		r.readable(cert, c.TLS.CertFile)
		r.readable(key, c.TLS.KeyFile)
	}
}

// redisInClear warns of a password that leaves the machine without TLS.
func (r *rules) redisInClear(c Redis) {
	at := "redis.password"
	if c.PasswordFile != "" {
		at = "redis.password_file"
	} else if c.Password == "" {
		return
	}
	for _, address := range c.Addresses {
		if host, _, err := net.SplitHostPort(address); err == nil && !isLoopback(host) {
			r.warn(at, "is sent in clear: redis.tls is not enabled and %s is another machine", quote(address))
			return
		}
	}
}
