package gateway_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway/session"
	"ucwagate/graphsrc"
	"ucwagate/mapping"
)

func TestAChangeIsToldInThePartsThatDiffer(t *testing.T) {
	available := mapping.Presence{Availability: "Available", Activity: "Available"}
	with := func(f func(*mapping.Presence)) mapping.Presence {
		p := available
		f(&p)
		return p
	}
	for _, c := range []struct {
		name          string
		before, after mapping.Presence
		want          []string
	}{
		{"another availability", available, mapping.Presence{Availability: "Busy", Activity: "Busy"}, []string{"contactPresence"}},
		{"another activity", mapping.Presence{Availability: "Busy", Activity: "InACall"}, mapping.Presence{Availability: "Busy", Activity: "InAMeeting"}, []string{"contactPresence"}},
		{"other words for the same", available, mapping.Presence{Availability: "available", Activity: "Available"}, nil},
		{"a note", available, with(func(p *mapping.Presence) { p.StatusMessage = "On the train" }), []string{"contactNote"}},
		{"no note any more", with(func(p *mapping.Presence) { p.StatusMessage = "On the train" }), available, []string{"contactNote"}},
		{
			"an out-of-office note", available,
			with(func(p *mapping.Presence) { p.OutOfOffice, p.OutOfOfficeMessage = true, "Back on Monday" }),
			[]string{"contactPresence", "contactNote"},
		},
		{"another work location", available, with(func(p *mapping.Presence) { p.WorkLocation = "remote" }), []string{"contactLocation"}},
		{"out of reach", available, mapping.Presence{Availability: "Offline", Activity: "Offline"}, []string{"contactPresence", "contactSupportedModalities"}},
		{"within reach again", mapping.Presence{Availability: "Offline", Activity: "Offline"}, available, []string{"contactPresence", "contactSupportedModalities"}},
		{
			"everything", available,
			mapping.Presence{Availability: "Offline", Activity: "OffWork", StatusMessage: "Gone", WorkLocation: "office"},
			[]string{"contactPresence", "contactNote", "contactLocation", "contactSupportedModalities"},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			inBubble(t, "me ana", func(w *world) {
				w.source.set(c.before, "ana")
				me := w.client("me")
				me.subscribe("ana")
				me.settle()
				w.source.set(c.after, "ana")
				var want []string
				for _, kind := range c.want {
					want = append(want, kind+" updated ana")
				}
				require.ElementsMatch(w.t, want, me.next())
			})
		})
	}
}

func TestWhatIsLearntAboutSomebodyFirstIsToldAsFarAsItIsSomething(t *testing.T) {
	inBubble(t, "me ana", func(w *world) {
		w.source.set(mapping.Presence{Availability: "Busy", Activity: "Busy", StatusMessage: "Hello", WorkLocation: "office"}, "ana")
		me := w.client("me")
		me.subscribe("ana")
		require.ElementsMatch(w.t, []string{
			"contact added ana in subscribedContacts", "presenceSubscription added",
			"contactPresence updated ana", "contactNote updated ana", "contactLocation updated ana",
		}, me.next())
	})
}

func TestWhoeverIsLearntToBeOutOfReachIsNotToldTwice(t *testing.T) {
	inBubble(t, "me ana", func(w *world) {
		w.source.say("Offline", "ana")
		me := w.client("me")
		me.subscribe("ana")
		require.Equal(w.t, []string{
			"contact added ana in subscribedContacts", "presenceSubscription added", "contactPresence updated ana",
		}, me.next())
	})
}

func TestAChangeReachesExactlyWhoWatches(t *testing.T) {
	inBubble(t, "me bo", func(w *world) {
		w.source.hire("ana", "ana.alias@contoso.com")
		one, alias, both, other, nobody := w.client("me"), w.client("me"), w.client("me"), w.client("bo"), w.client("bo")
		left := w.endpoint("me", "tabs", "left", "en-US")
		right := w.endpoint("me", "tabs", "right", "en-US")
		require.Equal(w.t, left.app.ID, right.app.ID)
		one.subscribe("ana")
		alias.subscribe("ana.alias")
		both.subscribe("ana", "bo")
		both.subscribe("ana.alias", "ana")
		other.subscribe("bo")
		left.subscribe("ana")
		all := []*client{one, alias, both, other, nobody, left, right}
		for _, c := range all {
			c.settle()
		}
		require.Equal(w.t, []string{"id-ana", "id-bo"}, w.source.watched())

		waiting := make([]*pget, len(all))
		for i, c := range all {
			waiting[i] = c.pget(session.Poll{Timeout: session.MaxTimer})
		}
		w.source.say("Busy", "ana")
		pass(6 * time.Second)
		want := [][]string{
			{"contactPresence updated ana"},
			{"contactPresence updated ana.alias"},
			{"contactPresence updated ana", "contactPresence updated ana.alias"},
			nil, nil,
			{"contactPresence updated ana"},
			{"contactPresence updated ana"},
		}
		for i, p := range waiting {
			if want[i] == nil {
				require.True(w.t, p.parked(), i)
				p.cancel()
				continue
			}
			require.False(w.t, p.parked(), i)
			require.NoError(w.t, p.err, i)
			require.ElementsMatch(w.t, want[i], said(p.pack), i)
		}

		w.source.say("Away", "bo", "ana")
		for _, c := range []*client{both, other} {
			c.ack++
		}
		other.ack-- // its P-GET went away with nothing
		require.Len(w.t, both.next(), 3)
		require.Equal(w.t, []string{"contactPresence updated bo"}, other.next())
	})
}

func TestAnOutageOfGraphLosesNothing(t *testing.T) {
	inBubble(t, "me same back away ill new", func(w *world) {
		me, you := w.client("me"), w.client("me")
		me.subscribe("same", "back", "away", "ill")
		you.subscribe("away")
		me.settle()
		you.settle()
		w.source.fail(graph(graphsrc.KindUnavailable))
		began := time.Now()
		w.source.say("Away", "back", "away")
		w.source.say("Offline", "ill")
		me.subscribe("new")
		require.Len(w.t, me.next(), 3, "a subscription needs nothing of Graph")
		for range 3 { // of three minutes each
			w.source.sweep()
			other := you.pget(session.Poll{})
			require.Empty(w.t, me.next(), "what is known stays")
			<-other.done
			require.NoError(w.t, other.err)
			require.Empty(w.t, other.pack.Events)
			you.ack = other.pack.NextAck
		}
		w.source.say("Available", "back")
		pass(time.Until(began.Add(10 * time.Minute)))
		w.source.fail(nil)
		w.source.sweep()
		require.ElementsMatch(w.t, []string{
			"contactPresence updated away", "contactPresence updated ill", "contactSupportedModalities updated ill",
		}, me.next())
		require.Equal(w.t, []string{"contactPresence updated away"}, you.next())
		require.ElementsMatch(w.t, []string{
			"contactPresence updated new", "contactNote updated new", "contactLocation updated new", "contactSupportedModalities updated new",
		}, me.next(), "who was subscribed to meanwhile")
		require.Contains(w.t, w.source.watched(), "id-new")
		me.settle()
		you.settle()
	})
}
