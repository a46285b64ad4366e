package ucwaapi

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ucwagate/gateway/session"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// TestEveryEventShape keeps the exact form of every event and every link of the
// channel, in both representations.
func TestEveryEventShape(t *testing.T) {
	const ana = "ana@contoso.com"
	part := func(kind session.Kind) *session.Event {
		return &session.Event{Kind: kind, Type: session.Updated, Class: session.Medium, Key: ana}
	}
	in := func(in session.In, rel, group string, kind session.Type) *session.Event {
		return &session.Event{Kind: session.Contact, Type: kind, In: in, Key: ana, Group: group, GroupRel: rel}
	}
	shapes := map[string]*session.Event{
		"contactPresence-updated":                 part(session.ContactPresence),
		"contactNote-updated":                     part(session.ContactNote),
		"contactLocation-updated":                 part(session.ContactLocation),
		"contactSupportedModalities-updated":      part(session.ContactSupportedModalities),
		"presenceSubscription-added":              {Kind: session.PresenceSubscription, Type: session.Added, Key: "5f00"},
		"presenceSubscription-updated":            {Kind: session.PresenceSubscription, Type: session.Updated, Key: "5f00"},
		"presenceSubscription-updated-group":      {Kind: session.PresenceSubscription, Type: session.Updated, Key: "pinned", Group: "pinned"},
		"presenceSubscription-deleted":            {Kind: session.PresenceSubscription, Type: session.Deleted, Key: "5f00"},
		"contact-added-subscribedContacts":        in(session.SubscribedContacts, "", "", session.Added),
		"contact-deleted-subscribedContacts":      in(session.SubscribedContacts, "", "", session.Deleted),
		"contact-added-myContacts":                in(session.MyContacts, "", "", session.Added),
		"contact-deleted-myContacts":              in(session.MyContacts, "", "", session.Deleted),
		"contact-added-group":                     in(session.InGroup, "group", "8c1d", session.Added),
		"contact-deleted-pinnedGroup":             in(session.InGroup, "pinnedGroup", "pinned", session.Deleted),
		"group-added-myGroups":                    {Kind: session.Group, Type: session.Added, In: session.MyGroups, Key: "8c1d", Group: "8c1d", GroupRel: "group"},
		"distributionGroup-deleted-myGroups":      {Kind: session.Group, Type: session.Deleted, In: session.MyGroups, Key: "8c1d", Group: "8c1d", GroupRel: "distributionGroup"},
		"group-updated":                           {Kind: session.Group, Type: session.Updated, Key: "8c1d", Group: "8c1d", GroupRel: "group"},
		"myContactsAndGroupsSubscription-updated": {Kind: session.ContactsAndGroupsSubscription, Type: session.Updated},
		"communication-updated": {Kind: session.CommunicationResource, Type: session.Updated, Communication: &session.Communication{
			PassThrough: "0f3c9d0a-6a4e-4c1f-9d55-3f6b7a1c2e90", Modalities: []string{"Messaging"}, Formats: []string{"Plain"},
		}},
		"me-updated":       {Kind: session.Me, Type: session.Updated},
		"presence-added":   {Kind: session.OwnPresence, Type: session.Added},
		"presence-updated": {Kind: session.OwnPresence, Type: session.Updated},
		"note-updated":     {Kind: session.OwnNote, Type: session.Updated},
		"location-updated": {Kind: session.OwnLocation, Type: session.Updated},
	}
	for name, e := range shapes {
		goldenPackage(t, name, &session.Package{Ack: 4, Rel: session.Next, NextAck: 5, Events: []*session.Event{e}}, "", false)
	}
	added, presence := shapes["presenceSubscription-added"], shapes["contactPresence-updated"]
	goldenPackage(t, "several", &session.Package{Ack: 4, Rel: session.Next, NextAck: 5, Events: []*session.Event{added, presence}}, "", false)
	goldenPackage(t, "senders", &session.Package{Ack: 4, Rel: session.Next, NextAck: 5, Events: []*session.Event{
		shapes["communication-updated"], shapes["me-updated"], shapes["presence-added"], presence, shapes["location-updated"],
	}}, "", false)
	goldenPackage(t, "empty", &session.Package{Ack: 4, Rel: session.Next, NextAck: 5}, "", false)
	goldenPackage(t, "resume", &session.Package{Ack: 4, Rel: session.Resume, NextAck: 5}, "", false)
	goldenPackage(t, "resync", &session.Package{Ack: 9, Rel: session.Resync, NextAck: 5}, "", false)
	goldenPackage(t, "resync-with-next", &session.Package{Ack: 9, Rel: session.Resync, NextAck: 5}, "", true)
	goldenPackage(t, "instance", &session.Package{Ack: 4, Rel: session.Next, NextAck: 5}, "tab 2", false)
}

func goldenPackage(t *testing.T, name string, p *session.Package, instance string, nextWithResync bool) {
	t.Helper()
	l := linksOf("101")
	var pretty bytes.Buffer
	raw := appendPackageJSON(nil, l, p, instance, nextWithResync)
	require.NoError(t, json.Indent(&pretty, raw, "", " "), "%s: %s", name, raw)
	require.Equal(t, string(raw), string(appendPackageJSON(nil, l, p, instance, nextWithResync)), "the same package has the same bytes")
	golden(t, name+".json", append(pretty.Bytes(), '\n'))

	raw = appendPackageXML(nil, l, p, instance, nextWithResync)
	for d := xml.NewDecoder(bytes.NewReader(raw)); ; {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("%s: %v", raw, err)
		}
	}
	golden(t, name+".xml", []byte(strings.ReplaceAll(string(raw), "><", ">\n<")+"\n"))
}

func golden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := "testdata/events/" + name
	if *update {
		require.NoError(t, os.MkdirAll("testdata/events", 0o755))
		require.NoError(t, os.WriteFile(path, got, 0o644))
	}
	want, err := os.ReadFile(path)
	require.NoError(t, err)
	require.Equal(t, string(want), string(got), name)
}

// TestOneEncodingServesEveryApplication shows that an event is encoded once
// and carries the id of whoever receives it.
func TestOneEncodingServesEveryApplication(t *testing.T) {
	e := &session.Event{Kind: session.ContactPresence, Type: session.Updated, Key: "o'neil+x@contoso.com"}
	p := &session.Package{Ack: 1, Rel: session.Next, NextAck: 2, Events: []*session.Event{e}}
	var first *any
	for i := range 3 {
		id := fmt.Sprint(100 + i)
		got := string(appendPackageJSON(nil, linksOf(id), p, "", false))
		require.Equal(t, 5, strings.Count(got, "/applications/"+id+"/"))
		require.NotContains(t, got, "{application}")
		if first == nil {
			first = e.Encoded.Load()
		}
		require.Same(t, first, e.Encoded.Load())
	}
}
