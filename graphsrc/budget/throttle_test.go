package budget

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestAPauseClosesTheTapForAllLanes(t *testing.T) {
	for name, c := range map[string]struct {
		after  time.Duration
		stated bool
		jitter float64
		want   time.Duration
	}{
		"whole seconds":                       {3 * time.Second, true, 0, 3 * time.Second},
		"a fraction is rounded up":            {1900 * time.Millisecond, true, 0, 2 * time.Second},
		"jitter prolongs":                     {1900 * time.Millisecond, true, 0.5, 2500 * time.Millisecond},
		"zero is at least a second":           {0, true, 0, time.Second},
		"negative is at least a second":       {-time.Hour, true, 0, time.Second},
		"nothing stated is half a window":     {0, false, 0, 15 * time.Second},
		"a day is an hour":                    {24 * time.Hour, true, 0, time.Hour},
		"nonsense from a jitter is bounded":   {time.Second, true, 99, 2 * time.Second},
		"negative nonsense is bounded, too":   {time.Second, true, -99, time.Second},
		"a statement of too little is obeyed": {time.Nanosecond, true, 0, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBudget(t, Options{Jitter: func() float64 { return c.jitter }})
				wait(10 * time.Second)
				held, err := b.Acquire(t.Context(), Interactive)
				require.NoError(t, err)
				b.Throttled(c.after, c.stated)
				require.Equal(t, c.want, b.Stats().PausedFor)
				require.Zero(t, b.Stats().Tokens)
				require.Zero(t, b.Stats().Held)
				_, ok := b.spend(held)
				require.False(t, ok, "a permit does not survive into a pause")

				var waiters []*caller
				for lane := range Lane(LaneCount) {
					waiters = append(waiters, acquireAsync(t.Context(), b, lane))
				}
				wait(c.want)
				for _, w := range waiters {
					require.False(t, w.finished())
				}
				wait(time.Second)
				for _, w := range waiters {
					require.True(t, w.finished())
					require.NoError(t, w.err)
				}
				require.Zero(t, b.Stats().PausedFor)
			})
		})
	}
}

func TestThrottlingHalvesTheRateOncePerPause(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Options{})
		rate := func() float64 { return b.Stats().Rate }

		b.Throttled(2*time.Second, true)
		b.Throttled(4*time.Second, true)
		b.Throttled(time.Second, true)
		require.Equal(t, 22.5, rate())
		require.Equal(t, 4*time.Second, b.Stats().PausedFor, "prolonged, never shortened")
		require.EqualValues(t, 3, b.Stats().Throttled)

		wait(4 * time.Second)
		b.Throttled(time.Second, true)
		require.Equal(t, 11.25, rate())
		for range 5 {
			wait(time.Second)
			b.Throttled(time.Second, true)
		}
		require.Equal(t, 4.5, rate(), "the floor is a tenth of the plan")

		wait(time.Second + 30*time.Second - 1)
		require.Equal(t, 4.5, rate(), "quiet for almost a window after the pause")
		wait(1)
		require.Equal(t, 9.0, rate())
		wait(7 * 30 * time.Second)
		require.Equal(t, 40.5, rate())
		wait(time.Hour)
		require.Equal(t, 45.0, rate(), "never above the plan")
	})
}

func TestAnEchoPausesButDoesNotHalveAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Options{})
		wait(time.Second)
		early := b.time.now()
		b.throttle(time.Second, true, early)
		require.Equal(t, 22.5, b.Stats().Rate)
		wait(5 * time.Second)
		b.throttle(time.Second, true, early) // a slow answer to a request sent before the pause
		require.Equal(t, 22.5, b.Stats().Rate)
		require.Equal(t, time.Second, b.Stats().PausedFor)
		wait(5 * time.Second)
		b.throttle(time.Second, true, b.time.now())
		require.Equal(t, 11.25, b.Stats().Rate)
	})
}

func TestAPauseTellsHopelessWaitersAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Options{})
		within := func(d time.Duration, lane Lane) *caller {
			ctx, cancel := context.WithTimeout(t.Context(), d)
			t.Cleanup(cancel)
			return acquireAsync(ctx, b, lane)
		}
		hopeless := within(2*time.Second, Interactive)
		patient := within(time.Minute, Interactive)
		// By the queue of the moment its token comes after 2 s and 2/22.5 s,
		// because the one that is refused takes none.
		narrow := within(2100*time.Millisecond, Publish)
		endless := acquireAsync(t.Context(), b, Refresh)
		b.Throttled(2*time.Second, true)

		require.True(t, hopeless.finished())
		var e *ExhaustedError
		require.ErrorAs(t, hopeless.err, &e)
		require.InDelta(t, 2+1/22.5, e.RetryAfter.Seconds(), 1e-6)
		require.Zero(t, hopeless.took)
		require.False(t, patient.finished())
		require.False(t, narrow.finished())

		wait(3 * time.Second)
		require.True(t, patient.finished())
		require.NoError(t, patient.err)
		require.True(t, narrow.finished())
		require.NoError(t, narrow.err)
		require.InDelta(t, 2+2/22.5, narrow.took.Seconds(), 1e-6)
		require.True(t, endless.finished())
		require.NoError(t, endless.err)
	})
}

func TestADeadlineWithinAPauseIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(t, Options{})
		wait(time.Minute)
		b.Throttled(10*time.Second, true)
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		_, err := b.Acquire(ctx, Interactive)
		var e *ExhaustedError
		require.ErrorAs(t, err, &e)
		require.InDelta(t, 10+1/22.5, e.RetryAfter.Seconds(), 1e-6)
	})
}

func TestAPauseIsLoggedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		b := newBudget(t, Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		b.Throttled(2*time.Second, true)
		b.Throttled(2*time.Second, true)
		require.Equal(t, 1, strings.Count(log.String(), "throttled by the service"))
		require.Contains(t, log.String(), "rate=22.5 planned_rate=45")
	})
}

var retryAfterNow = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestParseRetryAfter(t *testing.T) {
	later := retryAfterNow.Add(90 * time.Second).Format(http.TimeFormat)
	earlier := retryAfterNow.Add(-90 * time.Second).Format(http.TimeFormat)
	for name, c := range map[string]struct {
		value, date string
		want        time.Duration
		stated      bool
	}{
		"missing":                                {"", "", 0, false},
		"an integer":                             {"120", "", 2 * time.Minute, true},
		"zero":                                   {"0", "", 0, true},
		"a fraction":                             {"2.128", "", 2128 * time.Millisecond, true},
		"a fraction without whole":               {".5", "", 500 * time.Millisecond, true},
		"spaces around":                          {"  7 ", "", 7 * time.Second, true},
		"very long":                              {"3600", "", time.Hour, true},
		"longer than very long":                  {"86400", "", time.Hour, true},
		"beyond any number":                      {strings.Repeat("9", 400), "", time.Hour, true},
		"negative":                               {"-5", "", 0, false},
		"not a number":                           {"NaN", "", 0, false},
		"infinity":                               {"Inf", "", 0, false},
		"an exponent":                            {"1e9", "", 0, false},
		"two points":                             {"1.2.3", "", 0, false},
		"only a point":                           {".", "", 0, false},
		"a word":                                 {"soon", "", 0, false},
		"a date to come":                         {later, "", 90 * time.Second, true},
		"a date past":                            {earlier, "", 0, false},
		"a date of now":                          {retryAfterNow.Format(http.TimeFormat), "", 0, false},
		"a date of the old format":               {retryAfterNow.Add(time.Minute).Format(time.ANSIC), "", time.Minute, true},
		"a date in a year":                       {retryAfterNow.AddDate(1, 0, 0).Format(http.TimeFormat), "", time.Hour, true},
		"a past date of a server that is behind": {earlier, retryAfterNow.Add(-100 * time.Second).Format(http.TimeFormat), 10 * time.Second, true},
		"a date with a broken Date":              {later, "yesterday", 90 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			h := http.Header{}
			if c.value != "" {
				h.Set("Retry-After", c.value)
			}
			if c.date != "" {
				h.Set("Date", c.date)
			}
			got, stated := ParseRetryAfter(h, retryAfterNow)
			require.Equal(t, c.want, got)
			require.Equal(t, c.stated, stated)
		})
	}
}

func FuzzParseRetryAfter(f *testing.F) {
	for _, seed := range []string{
		"", "0", "1", "1.9", "2.128", ".5", "5.", ".", "-1", "+1", "1e3", "0x10", "NaN", "Inf", "1_000", "99999999999999999999",
		"Sun, 01 Mar 2026 12:00:10 GMT", "Sun Mar  1 12:00:10 2026", "Sunday, 01-Mar-26 12:00:10 GMT", "Thu, 01 Jan 1970 00:00:00 GMT", "soon",
	} {
		f.Add(seed, "Sun, 01 Mar 2026 12:00:00 GMT")
	}
	f.Fuzz(func(t *testing.T, value, date string) {
		h := http.Header{"Retry-After": {value}, "Date": {date}}
		after, stated := ParseRetryAfter(h, retryAfterNow)
		if after < 0 || after > maxPause {
			t.Fatalf("%q: %s is out of range", value, after)
		}
		if !stated && after != 0 {
			t.Fatalf("%q: %s, but not stated", value, after)
		}
	})
}
