package budget

import "context"

type clientKey struct{}

// WithClient returns a context whose requests are made for a client: whoever
// must not wait for the many requests of another, such as an application or a
// user. The key is opaque. Callers with an empty one, which is what work in the
// background has, are one client together.
func WithClient(ctx context.Context, key string) context.Context {
	return &clientContext{ctx, key}
}

// clientContext is one allocation where context.WithValue has two: every request
// of a client has one.
type clientContext struct {
	context.Context
	key string
}

func (c *clientContext) Value(key any) any {
	if key == (clientKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// ClientOf returns the key of WithClient, or "" without one.
func ClientOf(ctx context.Context) string {
	if c, ok := ctx.Value(clientKey{}).(*clientContext); ok {
		return c.key
	}
	return ""
}
