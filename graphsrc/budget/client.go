package budget

import "context"

type clientKey struct{}

// WithClient returns a context whose requests are made for a client: whoever
// must not wait for the many requests of another, such as an application or a
// user. The key is opaque. Callers with an empty one, which is what work in the
// background has, are one client together.
func WithClient(ctx context.Context, key string) context.Context {
	return context.WithValue(ctx, clientKey{}, key)
}

// ClientOf returns the key of WithClient, or "" without one.
func ClientOf(ctx context.Context) string {
	key, _ := ctx.Value(clientKey{}).(string)
	return key
}
