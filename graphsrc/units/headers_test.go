package units

import (
	"math"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestHeadersAreBelievedWithinReason(t *testing.T) {
	h := func(name, value string) http.Header {
		out := http.Header{}
		out.Set(name, value)
		return out
	}
	for value, want := range map[string]int{"": 0, "3": 3, " 5 ": 5, "0": 0, "-2": 0, "2.5": 0, "x": 0, "1000000": maxCharge, "99999999999999999999": 0} {
		n, stated := charged(h(headerUnits, value))
		require.Equal(t, want, n, value)
		require.Equal(t, want > 0, stated, value)
	}
	for value, want := range map[string]float64{"": 0, "0.8": 0.8, "1.8": 1.8, "80": maxShare, "NaN": 0, "-1": 0, "Inf": maxShare, "1e400": 0, "x": 0} {
		require.Equal(t, want, share(h(headerShare, value)), value)
	}
	for value, want := range map[string][2]string{
		"Tenant_Application/ReadWrite/9a3d526c/0785ef7c": {"Tenant_Application", "ReadWrite"},
		"Tenant/Write":             {"Tenant", "Write"},
		"":                         {"", ""},
		"x":                        {"", ""},
		"bad word/Write/a/b":       {"", "Write"},
		"a/b\x1b[31m/c":            {"a", ""},
		" Application/Read/a/b/c ": {"Application", "Read"},
	} {
		scope, limit := scopeOf(h(headerScope, value))
		require.Equal(t, want, [2]string{scope, limit}, value)
	}
	require.Equal(t, "CPULimitExceeded", reasonOf(h(headerInformation, "CPULimitExceeded")))
	require.Empty(t, reasonOf(h(headerInformation, "a\nb")))
}

func FuzzHeaders(f *testing.F) {
	f.Add(200, "3", "0.9", "", "", "")
	f.Add(429, "", "1.8", "Tenant_Application/ReadWrite/a/b", "ResourceUnitLimitExceeded", "10")
	f.Add(429, "-1", "NaN", "////", "\x00", "Fri, 31 Dec 1999 23:59:59 GMT")
	f.Add(503, "1e9", "-0", "a/b", "x", "99999999999999999999")
	f.Fuzz(func(t *testing.T, status int, units, used, scope, reason, after string) {
		synctest.Test(t, func(t *testing.T) {
			header := map[string]string{
				headerUnits: units, headerShare: used, headerScope: scope, headerInformation: reason, "Retry-After": after,
			}
			s := &fakeGraph{}
			u := started(t, Small)
			wait(time.Minute)
			for range 3 {
				s.say(status, header)
				if err := send(t, t.Context(), u.Transport(s), getMembers); err != nil {
					t.Fatal(err)
				}
				st := u.Stats()
				if st.Rate < st.PlanRate/steps-1 || st.Rate > st.PlanRate || st.PausedFor < 0 || st.PausedFor > maxPause+time.Second ||
					st.Level > 350 || st.Level < -3*maxCharge || math.IsNaN(st.Share) || st.Share > maxShare {
					t.Fatalf("%+v", st)
				}
			}
			wait(2 * time.Hour)
			if st := u.Stats(); st.Rate != st.PlanRate || st.Level != 350 {
				t.Fatalf("it has not recovered: %+v", st)
			}
		})
	})
}
