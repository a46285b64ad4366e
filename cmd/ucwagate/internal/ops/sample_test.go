package ops

import (
	"context"
	"math"
	"regexp"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func used(points []point) []int {
	var list []int
	for _, p := range points {
		list = append(list, p.used)
	}
	return list
}

func TestTheBudgetIsSampledOnceASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tenant := contoso()
		s := newServer(t, func(o *Options) { o.Tenants = []NamedTenant{{"contoso", tenant}} })
		s.Start(t.Context())
		synctest.Wait()
		for i := range 3 {
			tenant.use(i)
			<-time.After(sampleEvery)
			synctest.Wait()
		}
		points := s.tenants[0].points(time.Now())
		require.Equal(t, []int{412, 0, 1, 2}, used(points))
		require.Equal(t, sampleEvery, points[1].at.Sub(points[0].at))

		<-time.After(2 * plotSpan)
		synctest.Wait()
		require.Len(t, s.tenants[0].points(time.Now()), ringSize, "no more than the plot shows")
		s.Close()
		before := s.tenants[0].next
		<-time.After(time.Minute)
		require.Equal(t, before, s.tenants[0].next, "nothing is sampled after Close")
		require.Len(t, s.tenants[0].points(time.Now()), ringSize-60, "what is old leaves the plot")
	})
}

func TestSamplingEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newServer(t, nil)
		ctx, cancel := context.WithCancel(t.Context())
		s.Start(ctx)
		<-time.After(10 * time.Second)
		cancel()
		synctest.Wait()
		s.work.Wait()
		require.InDelta(t, 11, s.tenants[0].n, 1)
	})
}

func TestTheLineGoesFromFiveMinutesAgoToNow(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	at := func(ago time.Duration, used int) point { return point{now.Add(-ago), used} }
	for _, c := range []struct {
		name       string
		points     []point
		limit      int
		line, area string
	}{
		{"nothing yet", nil, 1350, "", ""},
		{"one sample", []point{at(0, 0)}, 1350, "M300.0 100.0", "M300.0 100.0 L300.0 100 L300.0 100 Z"},
		{
			"from nothing to the limit",
			[]point{at(2*time.Second, 0), at(time.Second, 675), at(0, 1350)},
			1350, "M298.0 100.0 L299.0 54.0 L300.0 8.0", "M298.0 100.0 L299.0 54.0 L300.0 8.0 L300.0 100 L298.0 100 Z",
		},
		{
			"after a pause it begins anew",
			[]point{at(60*time.Second, 0), at(time.Second, 0)},
			1350, "M240.0 100.0 M299.0 100.0", "M240.0 100.0 L240.0 100 L240.0 100 ZM299.0 100.0 L299.0 100 L299.0 100 Z",
		},
		{"far above the limit it ends at the top", []point{at(0, 5000)}, 1350, "M300.0 0.0", "M300.0 0.0 L300.0 100 L300.0 100 Z"},
		{"without a limit there is no height", []point{at(0, 5)}, 0, "M300.0 100.0", "M300.0 100.0 L300.0 100 L300.0 100 Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			require.Equal(t, plot{Line: c.line, Area: c.area}, draw(c.points, now, c.limit))
		})
	}
}

var coordinates = regexp.MustCompile(`[ML](-?[0-9.]+) (-?[0-9.]+)`)

func TestEveryPlotStaysInItsFrame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		now := time.Unix(1_700_000_000, 0)
		w := watched{}
		for range rapid.IntRange(0, 2*ringSize).Draw(t, "samples") {
			now = now.Add(time.Duration(rapid.Int64Range(0, int64(10*time.Second)).Draw(t, "pause")))
			w.add(point{now, rapid.IntRange(-5, 10_000).Draw(t, "used")})
		}
		p := draw(w.points(now), now, rapid.IntRange(-5, 2000).Draw(t, "limit"))
		for _, pair := range coordinates.FindAllStringSubmatch(p.Line+p.Area, -1) {
			x, _ := strconv.ParseFloat(pair[1], 64)
			y, _ := strconv.ParseFloat(pair[2], 64)
			if math.IsNaN(x+y) || x < 0 || x > float64(plotWidth) || y < 0 || y > plotHeight {
				t.Fatalf("%v is outside", pair)
			}
		}
	})
}
