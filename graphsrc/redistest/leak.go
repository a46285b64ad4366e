package redistest

import "go.uber.org/goleak"

// Leftovers are what a rueidis client of a cluster leaves asleep for up to five
// seconds after it has been closed, for goleak.VerifyTestMain to overlook.
func Leftovers() []goleak.Option {
	return []goleak.Option{
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*clusterClient)._refresh.func2"),
		goleak.IgnoreAnyFunction("github.com/redis/rueidis.(*call).DelayDo.func1"),
	}
}
