package session

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"time"
	"unique"
)

// The stored form is JSON with short names; a field that is missing is zero.
// Version changes when an older program could not read the form.
const storedVersion = 1

type storedSession struct {
	Version  int             `json:"v"`
	Limits   Limits          `json:"limits"`
	Seen     int64           `json:"seen"`
	Used     bool            `json:"used,omitempty"`
	Reset    bool            `json:"reset,omitempty"`
	Quiet    int64           `json:"quiet"`
	Tickets  uint64          `json:"tickets,omitempty"`
	Subs     []storedSub     `json:"subs,omitempty"`
	Entered  []string        `json:"entered,omitempty"`
	Left     []string        `json:"left,omitempty"`
	Roster   *storedRoster   `json:"roster,omitempty"`
	Channels []storedChannel `json:"channels,omitempty"`
	Wakes    []Wake          `json:"wakes,omitempty"`
	Self     *storedSelf     `json:"self,omitempty"`

	Communication *Communication `json:"communication,omitempty"`
}

type storedSelf struct {
	Owner    string        `json:"owner"`
	Inactive time.Duration `json:"inactive"`
	Active   int64         `json:"active"`
	Due      int64         `json:"due,omitempty"`
	Wanted   bool          `json:"wanted,omitempty"`
	Publish  bool          `json:"publish,omitempty"`
	Located  bool          `json:"located,omitempty"`
	Location string        `json:"location,omitempty"`
}

type storedSub struct {
	ID      string   `json:"id"`
	Group   bool     `json:"group,omitempty"`
	Members []string `json:"members,omitempty"`
	Barred  []string `json:"barred,omitempty"`
	Expires int64    `json:"expires"`
	Warn    int64    `json:"warn,omitempty"`
}

type storedRoster struct {
	Groups  []RosterGroup `json:"groups,omitempty"`
	Expires int64         `json:"expires"`
	Warn    int64         `json:"warn,omitempty"`
}

type storedChannel struct {
	Instance string        `json:"instance,omitempty"`
	Opened   bool          `json:"opened,omitempty"`
	Lent     bool          `json:"lent,omitempty"`
	Resume   bool          `json:"resume,omitempty"`
	Next     int64         `json:"next"`
	Sent     *Package      `json:"sent,omitempty"`
	Burnt    int64         `json:"burnt,omitempty"`
	Quiet    int64         `json:"quiet,omitempty"`
	Low      time.Duration `json:"low"`
	Medium   time.Duration `json:"medium"`
	Timeout  time.Duration `json:"timeout"`
	Parked   *storedParked `json:"parked,omitempty"`
	Queue    []storedItem  `json:"queue,omitempty"`
}

type storedParked struct {
	Ticket   uint64 `json:"ticket"`
	Ack      int64  `json:"ack"`
	Priority int    `json:"priority,omitempty"`
	Deadline int64  `json:"deadline"`
	Until    int64  `json:"until"`
	Name     uint64 `json:"name,omitempty"`
	Lost     bool   `json:"lost,omitempty"`
}

type storedItem struct {
	Event *Event `json:"e"`
	At    int64  `json:"at"`
	Class Class  `json:"c"`
}

// MarshalBinary implements encoding.BinaryMarshaler.
func (s *Session) MarshalBinary() ([]byte, error) {
	d := storedSession{
		Version: storedVersion, Limits: s.limits, Seen: s.seen, Used: s.used, Reset: s.reset, Quiet: s.quiet,
		Tickets: s.tickets, Wakes: s.wakes, Communication: s.communication,
	}
	if a := s.self; a != nil {
		d.Self = &storedSelf{
			Owner: a.owner.Value(), Inactive: a.inactive, Active: a.active, Due: a.due,
			Wanted: a.wanted, Publish: a.publish, Located: a.located, Location: a.location,
		}
	}
	for i := range s.subs {
		sub := &s.subs[i]
		d.Subs = append(d.Subs, storedSub{
			ID: sub.id, Group: sub.group, Members: values(sub.members), Barred: values(sub.barred), Expires: sub.expires, Warn: sub.warn,
		})
	}
	for a, entered := range s.changed {
		if entered {
			d.Entered = append(d.Entered, a.Value())
		} else {
			d.Left = append(d.Left, a.Value())
		}
	}
	if r := s.roster; r != nil {
		d.Roster = &storedRoster{Expires: r.expires, Warn: r.warn}
		for _, g := range r.groups {
			d.Roster.Groups = append(d.Roster.Groups, RosterGroup{ID: g.id, Rel: g.rel, Name: g.name, List: g.list, Members: values(g.members)})
		}
	}
	for i := range s.channels {
		d.Channels = append(d.Channels, s.channels[i].store())
	}
	b, err := json.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("storing a session: %w", err)
	}
	return b, nil
}

// SameState says whether two forms that MarshalBinary returned differ in
// nothing but the time that the session has seen last.
func SameState(a, b []byte) bool {
	before, after, ok := seenIn(a)
	otherBefore, otherAfter, otherOK := seenIn(b)
	return ok && otherOK && bytes.Equal(before, otherBefore) && bytes.Equal(after, otherAfter)
}

// seenIn returns what stands around that time. Before it there are numbers
// only, so that its name is the first of its kind.
func seenIn(b []byte) (before, after []byte, ok bool) {
	before, after, ok = bytes.Cut(b, []byte(`"seen":`))
	return before, bytes.TrimLeft(after, "-0123456789"), ok
}

func (c *channel) store() storedChannel {
	d := storedChannel{
		Instance: c.instance, Opened: c.opened, Lent: c.lent, Resume: c.resume, Next: c.next, Sent: c.sent, Burnt: c.burnt, Quiet: c.quiet,
		Low: c.low, Medium: c.medium, Timeout: c.timeout,
	}
	if p := c.parked; p.ticket != 0 {
		d.Parked = &storedParked{Ticket: p.ticket, Ack: p.ack, Priority: p.priority, Deadline: p.deadline, Until: p.until, Name: p.name, Lost: p.lost}
	}
	for _, it := range c.queue.items {
		if it.event != nil {
			d.Queue = append(d.Queue, storedItem{it.event, it.at, it.class})
		}
	}
	return d
}

// UnmarshalBinary implements encoding.BinaryUnmarshaler. What no MarshalBinary
// can have written is an error, and s is then as it was.
func (s *Session) UnmarshalBinary(b []byte) error {
	var d storedSession
	if err := json.Unmarshal(b, &d); err != nil {
		return fmt.Errorf("reading a stored session: %w", err)
	}
	if err := d.check(); err != nil {
		return fmt.Errorf("reading a stored session: %w", err)
	}
	n := Session{
		limits: d.Limits.WithDefaults(), seen: d.Seen, used: d.Used, reset: d.Reset, quiet: d.Quiet,
		tickets: d.Tickets, wakes: d.Wakes, communication: d.Communication,
	}
	if a := d.Self; a != nil {
		n.self = &available{
			owner: unique.Make(a.Owner), inactive: a.Inactive, active: a.Active, due: a.Due,
			wanted: a.Wanted, publish: a.Publish, located: a.Located, location: a.Location,
		}
	}
	for _, sub := range d.Subs {
		n.subs = append(n.subs, subscription{
			id: sub.ID, group: sub.Group, members: distinct(sub.Members), barred: distinct(sub.Barred),
			lease: lease{expires: sub.Expires, warn: sub.Warn},
		})
	}
	if n.members() > scanned {
		n.count()
	}
	for _, a := range d.Entered {
		n.note(unique.Make(a), true)
	}
	for _, a := range d.Left {
		n.note(unique.Make(a), false)
	}
	if d.Roster != nil {
		n.roster = &roster{groups: intern(Roster{Groups: d.Roster.Groups}), lease: lease{expires: d.Roster.Expires, warn: d.Roster.Warn}}
	}
	for i := range d.Channels {
		n.channels = append(n.channels, d.Channels[i].restore())
	}
	*s = n
	return nil
}

func (d *storedChannel) restore() channel {
	c := channel{
		instance: d.Instance, opened: d.Opened, lent: d.Lent, resume: d.Resume, next: d.Next, sent: d.Sent, burnt: d.Burnt, quiet: d.Quiet,
		low: d.Low, medium: d.Medium, timeout: d.Timeout,
	}
	if p := d.Parked; p != nil {
		c.parked = parked{ticket: p.Ticket, ack: p.Ack, priority: p.Priority, deadline: p.Deadline, until: p.Until, name: p.Name, lost: p.Lost}
	}
	// Items were collapsed when they came, and are put back as they stood.
	for _, it := range d.Queue {
		c.queue.enter(item{it.Event, it.At, it.Class})
		c.queue.items = append(c.queue.items, item{it.Event, it.At, it.Class})
	}
	return c
}

// farthest is a bound of stored numbers that leaves room to count and to add
// times.
const farthest = int64(1) << 61

func (d *storedSession) check() error {
	if d.Version != storedVersion {
		return fmt.Errorf("version %d is not known", d.Version)
	}
	for _, t := range []int64{d.Seen, d.Quiet} {
		if t < -farthest || t > farthest {
			return errors.New("a time is out of range")
		}
	}
	if a := d.Self; a != nil && (a.Active < -farthest || a.Active > farthest || a.Due < -farthest || a.Due > farthest ||
		a.Inactive <= 0 || int64(a.Inactive) > farthest) {
		return errors.New("a time is out of range")
	}
	ids := make(map[string]bool)
	for _, sub := range d.Subs {
		if ids[sub.ID] {
			return fmt.Errorf("the subscription %q stands twice", sub.ID)
		}
		ids[sub.ID] = true
		if sub.Expires > farthest || sub.Expires < -farthest || sub.Warn > farthest || sub.Warn < -farthest {
			return errors.New("a time is out of range")
		}
	}
	if r := d.Roster; r != nil && (r.Expires > farthest || r.Expires < -farthest || r.Warn > farthest || r.Warn < -farthest) {
		return errors.New("a time is out of range")
	}
	names := make(map[string]bool)
	for i := range d.Channels {
		c := &d.Channels[i]
		if names[c.Instance] {
			return fmt.Errorf("the event channel %q stands twice", c.Instance)
		}
		names[c.Instance] = true
		if err := c.check(d.Tickets); err != nil {
			return fmt.Errorf("event channel %q: %w", c.Instance, err)
		}
	}
	return nil
}

func (d *storedChannel) check(tickets uint64) error {
	switch p := d.Parked; {
	case d.Next < 1 || d.Next > farthest || d.Burnt < 0 || d.Burnt > d.Next:
		return errors.New("a package number is out of range")
	case min(d.Low, d.Medium) < MinAggregation, max(d.Low, d.Medium, d.Timeout) > MaxTimer, d.Timeout < MinTimeout:
		return errors.New("a timer is out of range")
	case p != nil && (p.Ticket == 0 || p.Ticket > tickets):
		return errors.New("a ticket was never given")
	case p != nil && (p.Deadline < -farthest || p.Deadline > farthest):
		return errors.New("a time is out of range")
	case p != nil && d.Sent != nil:
		return errors.New("a P-GET waits although the last package is not acknowledged")
	}
	if p := d.Sent; p != nil {
		if p.Ack < 1 || p.Ack >= d.Next || p.NextAck != p.Ack+1 || (p.Rel != Next && p.Rel != Resume) {
			return errors.New("the package sent last does not fit")
		}
		for _, e := range p.Events {
			if err := e.check(); err != nil {
				return err
			}
		}
	}
	for _, it := range d.Queue {
		if err := it.Event.check(); err != nil {
			return err
		}
		if it.Class < High || it.Class > Low || it.At < -farthest || it.At > farthest {
			return errors.New("a queued event does not fit")
		}
	}
	return nil
}

func (e *Event) check() error {
	if e == nil || e.Kind < ContactPresence || e.Kind > OwnLocation ||
		e.Type < Added || e.Type > Deleted || e.Class < High || e.Class > Low || e.In > MyGroups || (e.Kind == CommunicationResource) != (e.Communication != nil) {
		return errors.New("an event does not fit")
	}
	return nil
}
