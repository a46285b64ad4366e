package graphsrc

import (
	"fmt"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ucwagate/mapping"
)

func mustKey(t testing.TB, id string) userKey {
	t.Helper()
	k, ok := parseKey(id)
	require.True(t, ok, id)
	return k
}

func TestTheCacheNeverHoldsMoreThanItsSize(t *testing.T) {
	for _, size := range []int{1, 7, 1000, 5000} {
		t.Run(fmt.Sprint(size), func(t *testing.T) {
			epoch := time.Unix(0, 0)
			c := newCache(size, time.Second, epoch, &counters{})
			for range 3 * size {
				p := available("")
				c.apply(uuid.New(), &p, epoch, false)
			}
			require.LessOrEqual(t, c.size(), size)
			require.GreaterOrEqual(t, c.size(), size*9/10)
		})
	}
}

func TestPeopleInUseOutliveOthers(t *testing.T) {
	epoch := time.Unix(0, 0)
	c := newCache(100, time.Second, epoch, &counters{})
	popular := mustKey(t, id(1))
	p := available("")
	c.apply(popular, &p, epoch, false)
	for n := range 10_000 {
		c.apply(mustKey(t, id(n+2)), &p, epoch, false)
		_, known := c.get(popular)
		require.True(t, known)
	}
}

// The record follows the rules of apply for any row of answers.
func TestApplyFollowsItsRules(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		epoch := time.Unix(1000, 0)
		fresh := 20 * time.Second
		c := newCache(10, fresh, epoch, &counters{})
		k := userKey{1}
		now := epoch
		var last record
		var shown mapping.Presence
		known := false
		for range rapid.IntRange(1, 30).Draw(t, "answers") {
			now = now.Add(time.Duration(rapid.IntRange(0, 60).Draw(t, "seconds")) * time.Second)
			p := Presence{
				Sequence: rapid.SampledFrom([]string{"", "A1", "A2", "A3", "A10"}).Draw(t, "sequence"),
				Words: mapping.Presence{
					Availability:  rapid.SampledFrom([]string{"", "Available", "Away", "PresenceUnknown"}).Draw(t, "availability"),
					StatusMessage: rapid.SampledFrom([]string{"", "out to lunch"}).Draw(t, "note"),
				},
			}
			_, rec, changed := c.apply(k, &p, now, false)
			words := rec.words.unpack()
			if got, ok := c.get(k); !ok || got != rec {
				t.Fatalf("what apply returned is not what stands: %+v, %+v", rec, got)
			}
			if changed != (!known || words != shown) {
				t.Fatalf("changed = %v, from %+v to %+v", changed, shown, words)
			}
			if believed := words == p.Words && rec.sequence == p.Sequence && rec.readAt == int64(now.Sub(epoch)); !believed {
				if words != shown || rec.sequence != last.sequence || rec.readAt != last.readAt {
					t.Fatalf("neither believed nor kept: %+v", rec)
				}
				lower := older(p.Sequence, last.sequence)
				held := isUnknown(p.Words.Availability) && now.Sub(epoch)-time.Duration(last.readAt) < 2*fresh
				if !lower && !held {
					t.Fatalf("kept %+v over %+v", words, p)
				}
			}
			if rec.regressions >= regressLimit {
				t.Fatalf("%d lower stamps in a row were not believed", rec.regressions)
			}
			if !c.isFresh(&rec, now) {
				t.Fatal("an answer is not fresh")
			}
			last, shown, known = rec, words, true
		}
	})
}

func TestAPersonInTheCacheIsSmall(t *testing.T) {
	const n = 50_000
	epoch := time.Unix(0, 0)
	words := []string{"Available", "Busy", "Away", "Offline", "DoNotDisturb"}
	var before, after runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&before)
	c := newCache(n, time.Second, epoch, &counters{})
	for i := range n {
		w := words[rand.N(len(words))]
		p := Presence{Sequence: fmt.Sprintf("A%010d", i), Words: mapping.Presence{Availability: w, Activity: w, WorkLocation: "office"}}
		if i%10 == 0 {
			p.Words.StatusMessage = fmt.Sprintf("back at half past %d, please leave a message", i)
		}
		c.apply(uuid.New(), &p, epoch, false)
	}
	runtime.GC()
	runtime.ReadMemStats(&after)
	perPerson := float64(after.HeapAlloc-before.HeapAlloc) / float64(c.size())
	t.Logf("%.0f bytes per person", perPerson)
	require.Less(t, perPerson, 400.0)
	runtime.KeepAlive(c)
}
