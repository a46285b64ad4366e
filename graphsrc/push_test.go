package graphsrc

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/mapping"
)

// notified is a change notification as Graph sends it.
func notified(id, availability string) PresenceChange {
	return PresenceChange{ID: id, Availability: availability, Activity: availability}
}

// covering starts a source that watches and covers people, long after their first
// reading.
func covering(t testing.TB, n *tenant, crowd int, change func(*Options)) (*Source, *diary, *missed) {
	t.Helper()
	s, d := watching(t, n, &fakeBudget{}, change)
	m := &missed{}
	s.OnMissed(m.note)
	s.Watch(people(0, crowd)...)
	wait(time.Minute)
	s.Cover(people(0, crowd))
	wait(10*time.Minute + 5*time.Second) // not at the moment of a step
	d.tear()
	n.forget()
	return s, d, m
}

type missed struct {
	mu  sync.Mutex
	ids []string
}

func (m *missed) note(id string) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.ids = append(m.ids, id)
}

func (m *missed) list() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return append([]string(nil), m.ids...)
}

func idsIn(asked []question) int {
	n := 0
	for _, q := range asked {
		n += len(q.ids)
	}
	return n
}

func TestWhoIsCoveredIsReadByTheSafetyNetOnly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTenant()
		s, _, _ := covering(t, n, 6500, nil)
		wait(20 * time.Minute)
		require.InDelta(t, 4*6500, idsIn(n.questions()), 6500/15*2, "four times in twenty minutes")
		require.LessOrEqual(t, len(n.questions()), 61, "one request every 20 s")
		stats := s.Stats()
		require.Equal(t, 6500, stats.Pushed.People)
		require.Equal(t, 5*time.Minute, stats.Pushed.Interval)
		require.LessOrEqual(t, stats.OldestAge, stats.AgeBound)
		require.Equal(t, 20*time.Second+5*time.Minute, stats.AgeBound)
		n.forget()
		_, err := s.Presence(t.Context(), id(7))
		require.NoError(t, err)
		require.Empty(t, n.questions(), "what is pushed is fresh")
	})
}

func TestOthersAreReadAsOftenBesideCoveredPeople(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTenant()
		s, _, _ := covering(t, n, 650, nil)
		s.Watch(people(1000, 1650)...)
		wait(time.Minute)
		n.forget()
		wait(10 * time.Minute)
		asked := make(map[string]int)
		for _, q := range n.questions() {
			for _, one := range q.ids {
				asked[one]++
			}
		}
		for i := range 650 {
			require.InDelta(t, 2, asked[id(i)], 1, "covered")
			require.InDelta(t, 30, asked[id(1000+i)], 1, "not covered")
		}
	})
}

func TestANotifiedChangeIsReportedAtOnceAndConfirmedSoon(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTenant()
		s, d, m := covering(t, n, 650, nil)
		n.put(id(3), "Busy")
		s.Apply(notified(id(3), "Busy"))
		changes := d.tear()
		require.Len(t, changes, 1)
		require.Equal(t, id(3), changes[0].ID)
		require.Equal(t, "Available", changes[0].Before.Presence.Words.Availability)
		require.Equal(t, "Busy", changes[0].After.Presence.Words.Availability)
		r, err := s.Presence(t.Context(), id(3))
		require.NoError(t, err)
		require.Equal(t, "Busy", r.Presence.Words.Activity)
		require.Equal(t, time.Now(), r.ReadAt)
		require.Equal(t, time.Now(), r.LastActive)
		n.mu.Lock()
		n.truth[id(3)] = Presence{ID: id(3), Words: mapping.Presence{Availability: "Busy", Activity: "Busy", StatusMessage: "in the lab"}}
		n.mu.Unlock()
		wait(41 * time.Second)
		changes = d.tear()
		require.Len(t, changes, 1, "the note, which no notification has")
		require.Equal(t, "in the lab", changes[0].After.Presence.Words.StatusMessage)
		s.Apply(notified(id(3), "Busy"))
		require.Empty(t, d.tear(), "twice is once")
		require.Empty(t, m.list())
		require.Equal(t, uint64(2), s.Stats().Notified)
	})
}

func TestAReadingOfTheTimeBeforeANotificationUndoesNothing(t *testing.T) {
	reading := func(availability, sequence string) func([]string) ([]Presence, error) {
		return func(ids []string) ([]Presence, error) {
			var out []Presence
			for _, one := range ids {
				out = append(out, Presence{ID: one, Sequence: sequence, Words: mapping.Presence{Availability: availability, Activity: availability}})
			}
			return out, nil
		}
	}
	t.Run("that was under way", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := newTenant()
			s, d, _ := covering(t, n, 1, nil)
			n.delay(2 * time.Second)
			n.set(reading("Available", "")) // whenever it arrives
			s.Reread([]string{id(0)})
			wait(time.Second)
			s.Apply(notified(id(0), "Busy"))
			require.Len(t, d.tear(), 1)
			n.set(reading("Busy", ""))
			wait(time.Minute)
			require.Empty(t, d.tear())
		})
	})
	t.Run("or bears the number of that time, once", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := newTenant()
			n.set(reading("Available", "A1"))
			s, d, _ := covering(t, n, 1, nil)
			s.Apply(notified(id(0), "Busy"))
			require.Len(t, d.tear(), 1)
			wait(25 * time.Second)
			require.Empty(t, d.tear())
			require.Equal(t, uint64(1), s.Stats().Regressions)
			wait(20 * time.Second)
			require.Len(t, d.tear(), 1, "the second time the notification was wrong")
		})
	})
	t.Run("but a later one is believed", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := newTenant()
			n.set(reading("Available", "A1"))
			s, d, _ := covering(t, n, 1, nil)
			s.Apply(notified(id(0), "Busy"))
			n.set(reading("Available", "A2"))
			wait(21 * time.Second)
			require.Len(t, d.tear(), 2)
		})
	})
	t.Run("and one that comes again, or late, has a reading decide", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := newTenant()
			n.set(reading("Available", "A1"))
			s, d, _ := covering(t, n, 1, nil)
			n.set(reading("Busy", "A2"))
			s.Apply(notified(id(0), "Busy"))
			n.set(reading("Available", "A3"))
			s.Apply(notified(id(0), "Available"))
			s.Apply(notified(id(0), "Busy"))
			wait(5 * time.Second)
			changes := d.tear()
			require.Len(t, changes, 2)
			require.Equal(t, "Available", changes[1].After.Presence.Words.Availability)
			wait(5 * time.Minute)
			require.Empty(t, d.tear())
		})
	})
	t.Run("and a notification with an older number is not", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := newTenant()
			n.set(reading("Available", "A2"))
			s, d, _ := covering(t, n, 1, nil)
			c := notified(id(0), "Busy")
			c.Sequence = "A1"
			s.Apply(c)
			require.Empty(t, d.tear())
		})
	})
}

func TestWhoWaitsForAnAnswerGetsTheNotification(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTenant()
		s, _, _ := covering(t, n, 1, nil)
		n.delay(5 * time.Second)
		k := mustKey(t, id(0))
		var got []outcome
		var wg sync.WaitGroup
		wg.Go(func() { got = s.coalescer.ask(context.Background(), 0, []userKey{k}) })
		wait(time.Second)
		s.Apply(notified(id(0), "Busy"))
		wg.Wait()
		require.NoError(t, got[0].err)
		words := got[0].rec.words.unpack()
		require.Equal(t, "Busy", words.Availability)
	})
}

func TestWhatANotificationDoesNotTellIsRead(t *testing.T) {
	for name, c := range map[string]PresenceChange{
		"no words":     {ID: id(0)},
		"one word":     {ID: id(0), Availability: "Busy"},
		"nobody knows": {ID: id(0), Availability: "PresenceUnknown", Activity: "PresenceUnknown"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newTenant()
				s, d, m := covering(t, n, 650, nil)
				n.put(id(0), "Busy")
				s.Apply(c)
				wait(time.Second)
				require.True(t, slices.ContainsFunc(n.questions(), func(q question) bool { return slices.Equal(q.ids, people(0, 1)) }))
				require.Len(t, d.tear(), 1)
				require.Len(t, m.list(), 1, "found by a reading, whoever asked for it")
			})
		})
	}
	t.Run("nor of people who are not known, or not watched", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := newTenant()
			s, d, _ := covering(t, n, 1, nil)
			s.Apply(notified(id(5), "Busy"))
			s.Apply(notified("nonsense", "Busy"))
			n.fail(&Error{Op: "get presence", Kind: KindUnavailable, Status: 503})
			s.Watch(id(6))
			s.Apply(notified(id(6), "Busy"))
			wait(10 * time.Second)
			require.Empty(t, d.tear())
			n.heal()
			wait(time.Minute)
			require.Len(t, d.tear(), 1)
		})
	})
}

func TestAChangeThatNobodyNotifiedIsMissed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTenant()
		s, d, m := covering(t, n, 650, nil)
		n.put(id(3), "Busy")
		n.mu.Lock()
		n.truth[id(4)] = Presence{ID: id(4), Words: mapping.Presence{Availability: "Available", Activity: "Available", StatusMessage: "a note"}}
		n.mu.Unlock()
		wait(6 * time.Minute)
		require.Len(t, d.tear(), 2)
		require.Equal(t, []string{id(3)}, m.list(), "notes are never notified")
		require.Equal(t, uint64(1), s.Stats().Missed)
	})
}

func TestWhoIsUncoveredIsReadAtOnceAndInTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTenant()
		s, _, m := covering(t, n, 650, nil)
		s.Uncover(people(0, 650))
		wait(time.Minute + time.Second)
		require.InDelta(t, 3*650, idsIn(n.questions()), 650)
		require.Zero(t, s.Stats().Pushed.People)
		n.put(id(3), "Busy")
		wait(30 * time.Second)
		require.Empty(t, m.list())
	})
}

func TestCoverEndsWithWatching(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTenant()
		s, _, _ := covering(t, n, 650, nil)
		s.Unwatch(people(0, 650)...)
		s.Watch(people(0, 650)...)
		wait(time.Second)
		require.Zero(t, s.Stats().Pushed.People)
		s.Cover(people(600, 700))
		wait(30 * time.Second)
		require.Equal(t, 50, s.Stats().Pushed.People)
	})
}

// What is not believed at once of people who are not covered is not believed of
// covered people either, and asked for again as soon.
func TestAnswersAboutCoveredPeopleThatAreDoubtedAreSoonFollowedByOthers(t *testing.T) {
	for name, answer := range map[string]Presence{
		"nobody knows any more":       {Words: mapping.Presence{Availability: "PresenceUnknown", Activity: "PresenceUnknown"}, Sequence: "A3"},
		"the numbers have begun anew": {Words: mapping.Presence{Availability: "Busy", Activity: "Busy"}, Sequence: "A1"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				n := newTenant()
				n.set(func(ids []string) ([]Presence, error) {
					return []Presence{{ID: id(0), Sequence: "A2", Words: mapping.Presence{Availability: "Away", Activity: "Away"}}}, nil
				})
				s, d, _ := covering(t, n, 1, nil)
				n.set(func(ids []string) ([]Presence, error) {
					p := answer
					p.ID = id(0)
					return []Presence{p}, nil
				})
				s.Apply(PresenceChange{ID: id(0)}) // something has changed
				wait(time.Minute)
				changes := d.tear()
				require.Len(t, changes, 1)
				require.Equal(t, answer.Words.Availability, changes[0].After.Presence.Words.Availability)
			})
		})
	}
}

func TestReadingAgainDoesNotTrustWhatWasAskedBefore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTenant()
		s, d, _ := covering(t, n, 1, nil)
		var asked atomic.Int32
		n.set(func(ids []string) ([]Presence, error) {
			word := "Available" // what was the case when the request left
			if asked.Add(1) > 1 {
				word = "Busy"
			}
			<-time.After(2 * time.Second)
			return []Presence{{ID: id(0), Words: mapping.Presence{Availability: word, Activity: word}}}, nil
		})
		s.Reread([]string{id(0)})
		wait(time.Second)
		s.Reread([]string{id(0)})
		wait(4 * time.Second)
		require.EqualValues(t, 2, asked.Load())
		changes := d.tear()
		require.Len(t, changes, 1)
		require.Equal(t, "Busy", changes[0].After.Presence.Words.Availability)
	})
}

func TestWhoIsCoveredStaysAmongTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTenant()
		s, _, _ := covering(t, n, 650, nil)
		s.Watch(people(650, 5000)...)
		wait(time.Minute)
		for i := 650; i < 4000; i++ {
			_, err := s.Presence(t.Context(), id(i))
			require.NoError(t, err)
		}
		wait(20 * time.Minute)
		for i := 650; i < 4000; i++ {
			_, err := s.Presence(t.Context(), id(i))
			require.NoError(t, err)
		}
		require.ElementsMatch(t, people(0, 650), s.Watched(1300)[:650], "although nothing has happened to them")
		wait(3 * time.Hour)
		for i := 650; i < 4000; i++ {
			_, err := s.Presence(t.Context(), id(i))
			require.NoError(t, err)
		}
		require.NotContains(t, s.Watched(1300), id(0), "until nothing has for long, and others are looked at")
	})
}

func TestThoseSomebodyLooksAtAreTheFirstToBeCovered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n := newTenant()
		s, _ := watching(t, n, &fakeBudget{}, nil)
		s.Watch(people(0, 3000)...)
		wait(time.Minute)
		for i := range 100 {
			_, err := s.Presence(t.Context(), id(2000+i))
			require.NoError(t, err)
		}
		require.ElementsMatch(t, people(2000, 2100), s.Watched(100))
		require.Len(t, s.Watched(3000), 3000)
		require.Len(t, s.Watched(10_000), 3000)
		require.Empty(t, s.Watched(0))
	})
}

// Whatever happens at the same time, in the end everybody is known as they are.
func TestNotificationsAndReadingsEndWithTheTruth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const crowd = 200
		n := newTenant()
		n.delay(300 * time.Millisecond)
		s, d := watching(t, n, &fakeBudget{}, func(o *Options) { o.Fresh, o.SafetyNet = 2*time.Second, 10*time.Second })
		ids := people(0, crowd)
		s.Watch(ids...)
		wait(5 * time.Second)
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		worker := func(seed uint64, do func(r *rand.Rand)) {
			wg.Go(func() {
				r := rand.New(rand.NewPCG(1, seed))
				for ctx.Err() == nil {
					do(r)
					wait(time.Duration(1+r.IntN(50)) * time.Millisecond)
				}
			})
		}
		words := []string{"Available", "Busy", "Away", "DoNotDisturb", "Offline", "PresenceUnknown"}
		var version atomic.Int64
		for i := range 4 {
			worker(uint64(i), func(r *rand.Rand) {
				one, word := ids[i*crowd/4+r.IntN(crowd/4)], words[r.IntN(len(words))] // of one person in order
				p := Presence{ID: one, Words: mapping.Presence{Availability: word, Activity: word}, Sequence: fmt.Sprintf("A%09d", version.Add(1))}
				n.mu.Lock()
				n.truth[one] = p
				n.mu.Unlock()
				if r.IntN(10) > 0 {
					s.Apply(notified(one, word))
				}
			})
		}
		worker(10, func(r *rand.Rand) { _, _ = s.Presence(ctx, ids[r.IntN(crowd)]) })
		worker(11, func(r *rand.Rand) { s.Reread(ids[:r.IntN(20)]) })
		worker(12, func(r *rand.Rand) {
			from := r.IntN(crowd)
			if some := ids[from:min(from+30, crowd)]; r.IntN(3) == 0 {
				s.Uncover(some)
			} else {
				s.Cover(some)
			}
		})
		worker(13, func(r *rand.Rand) {
			one := ids[r.IntN(crowd)]
			s.Watch(one)
			s.Unwatch(one)
		})
		wait(2 * time.Minute)
		cancel()
		wg.Wait()
		wait(time.Minute)
		seen := make(map[string]string)
		for _, c := range d.tear() {
			if was, ok := seen[c.ID]; ok {
				require.Equal(t, was, c.Before.Presence.Words.Availability, "changes of a person follow each other")
			}
			seen[c.ID] = c.After.Presence.Words.Availability
		}
		for _, one := range ids {
			want := "Available"
			if p, ok := n.truth[one]; ok {
				want = p.Words.Availability
			}
			r, err := s.Presence(t.Context(), one)
			require.NoError(t, err)
			require.Equal(t, want, r.Presence.Words.Availability, one)
			require.Equal(t, want, seen[one], "and reported")
		}
	})
}
