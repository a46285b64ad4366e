package redisconn

import (
	"context"
	"errors"
	"time"

	"github.com/redis/rueidis"
)

const (
	operationPipeline = "pipeline"
	operationOther    = "other"
)

// operations are the commands that have a name of their own in measurements.
var operations = map[string]string{
	"EVALSHA": "evalsha", "EVAL": "eval", "GET": "get", "SET": "set", "DEL": "del", "HGET": "hget", "HGETALL": "hgetall",
	"HMGET": "hmget", "MGET": "mget", "SMEMBERS": "smembers", "PUBLISH": "publish", "XADD": "xadd", "XREAD": "xread", "XRANGE": "xrange",
}

// Operations are the operations that are measured.
func Operations() []string {
	all := []string{operationPipeline, operationOther}
	for _, name := range operations {
		all = append(all, name)
	}
	return all
}

// The results of a command: it was answered, answered by an error, not answered
// in time, or not sent or its answer lost.
const (
	ResultOK      = "ok"
	ResultRefused = "refused"
	ResultTimeout = "timeout"
	ResultFailed  = "failed"
)

// Results are the results that are measured.
func Results() []string { return []string{ResultOK, ResultRefused, ResultTimeout, ResultFailed} }

func nameOf(words []string) string {
	if name, ok := operations[words[0]]; ok {
		return name
	}
	return operationOther
}

func resultOf(err error) string {
	if err == nil || rueidis.IsRedisNil(err) {
		return ResultOK
	}
	if answer, ok := rueidis.IsRedisErr(err); ok {
		if answer.IsNoScript() {
			// The script is sent next: that is how scripts are loaded.
			return ResultOK
		}
		return ResultRefused
	}
	if errors.Is(err, context.DeadlineExceeded) {
		return ResultTimeout
	}
	return ResultFailed
}

// measurement is of one command; the zero one measures nothing.
type measurement struct {
	c         *Client
	operation string
	waits     bool
	began     time.Time
}

func (c *Client) measure(operation string, waits bool) measurement {
	if c.o.Observe == nil {
		return measurement{}
	}
	return measurement{c, operation, waits, c.o.Clock.Now()}
}

func (m measurement) ended(err error) {
	if m.c == nil || errors.Is(err, context.Canceled) {
		return // whoever asked has gone: that says nothing of Redis
	}
	took := time.Duration(-1)
	if !m.waits {
		took = max(0, m.c.o.Clock.Now().Sub(m.began))
	}
	m.c.o.Observe(m.operation, resultOf(err), took)
}

// endedAll counts a pipeline by the worst of its results.
func (m measurement) endedAll(results []rueidis.RedisResult) {
	if m.c == nil {
		return
	}
	var worst error
	for _, r := range results {
		if err := r.Error(); resultOf(err) != ResultOK {
			worst = err
			if resultOf(err) != ResultRefused {
				break
			}
		}
	}
	m.ended(worst)
}
