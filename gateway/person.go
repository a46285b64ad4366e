package gateway

import (
	"context"
	"errors"
	"strings"
	"sync"
	"time"

	"ucwagate/gateway/session"
	"ucwagate/graphsrc"
	"ucwagate/mapping"
)

// Person is what the gateway knows of somebody apart from presence.
type Person struct {
	// Address is the SIP address in lower case, without scheme. In the answer
	// to a look-up it is the address that was asked for.
	Address string
	// URI is the person's own SIP address with its scheme.
	URI            string
	Name           string
	EmailAddresses []string
	Title          string
	Department     string
	Company        string
	Office         string
	WorkPhone      string // tel: URI
	MobilePhone    string // tel: URI
	// Guest is true for a person whose home is another tenant.
	Guest bool
	// Unknown is true for a subscribed address that nobody has.
	Unknown bool

	id     string
	tenant *Tenant
}

// Presence is what the gateway knows of somebody at the moment.
type Presence struct {
	mapping.Contact
	// LastActive is zero until the gateway has seen the person active.
	LastActive time.Time
}

// Me returns the signed-in user. A user whom the directory does not know, and
// every user while the directory is out of reach, has a name and an address
// only: an application must not fail for that.
func (g *Gateway) Me(ctx context.Context, p Principal) (Person, error) {
	me, err := g.self(ctx, p)
	if err == nil {
		me.Address, me.URI = p.Address, "sip:"+p.Address
		return me, nil
	}
	if errors.Is(err, context.Canceled) {
		return Person{}, err
	}
	if !hasReason(err, DestinationNotFound) {
		g.log.DebugContext(ctx, "the signed-in user could not be read from the directory", "error", err)
	}
	name := p.Name
	if name == "" {
		name = p.Address
	}
	return Person{Address: p.Address, URI: "sip:" + p.Address, Name: name}, nil
}

// self finds the signed-in user in the directory.
func (g *Gateway) self(ctx context.Context, p Principal) (Person, error) {
	t := g.tenantOf(p.Address)
	if t != nil && p.ObjectID != "" {
		u, err := t.Source.User(ctx, p.ObjectID)
		if err != nil {
			return Person{}, sourceError("The signed-in user", err)
		}
		return person(t, u), nil
	}
	return g.Person(ctx, p, p.Address)
}

// Person finds somebody by address, in any letter case, with or without "sip:".
// Errors are *Error: DestinationNotFound for an address nobody has, and for one
// in a domain that is not served; Forbidden for somebody whom p may not see.
func (g *Gateway) Person(ctx context.Context, p Principal, address string) (Person, error) {
	clean, t, u, err := g.lookup(ctx, p.Address, address)
	if err != nil {
		return Person{}, err
	}
	found := person(t, u)
	found.Address = clean
	if found.URI == "" {
		found.URI = "sip:" + clean
	}
	return found, nil
}

// Contact finds somebody as an application sees them: who is in one of its
// subscriptions is a contact even if nobody has the address.
func (g *Gateway) Contact(ctx context.Context, app Application, p Principal, address string) (Person, error) {
	who, err := g.Person(ctx, p, address)
	if clean, ok := g.stranger(ctx, app, address, err); ok {
		return Person{Address: clean, URI: "sip:" + clean, Name: clean, Unknown: true}, nil
	}
	return who, err
}

// Presence returns what somebody's presence is now, and the address in the
// form in which hrefs carry it. Who is subscribed to and does not exist is Offline.
func (g *Gateway) Presence(ctx context.Context, app Application, address string) (string, Presence, error) {
	// What every client asks most often does not pay for the contact card.
	clean, t, u, err := g.lookup(ctx, app.Owner, address)
	if err != nil {
		if clean, ok := g.stranger(ctx, app, address, err); ok {
			return clean, offline, nil
		}
		return "", Presence{}, err
	}
	p, err := g.presence(askedBy(ctx, t, app), t, u.ID, clean)
	return clean, p, err
}

// askedBy lets an application be told of changes by itself (Change.To). Without
// other sources nobody ever has to be, and this costs nothing.
func askedBy(ctx context.Context, t *Tenant, app Application) context.Context {
	if t == nil || !t.Source.Recounts() {
		return ctx
	}
	return graphsrc.AskedBy(ctx, app.ID)
}

// offline is the presence of somebody who does not exist.
var offline = Presence{Contact: mapping.Contact{Availability: mapping.Offline, NoteType: mapping.Personal}}

// stranger says whether an address that could not be found, as err says, is
// in a subscription of the application.
func (g *Gateway) stranger(ctx context.Context, app Application, address string, err error) (string, bool) {
	if !hasReason(err, DestinationNotFound) {
		return "", false
	}
	clean, ok := lenientAddress(address)
	if !ok {
		return "", false
	}
	watched, err := update(ctx, g, app, func(s *session.Session) (bool, error) { return s.Watches(clean), nil })
	return clean, err == nil && watched
}

// PresenceOf returns the presence of somebody found before.
func (g *Gateway) PresenceOf(ctx context.Context, app Application, who Person) (Presence, error) {
	if who.tenant == nil {
		return offline, nil
	}
	return g.presence(askedBy(ctx, who.tenant, app), who.tenant, who.id, who.Address)
}

// lookup finds somebody for a reader. What the reader may see is decided by the
// person's own address, whichever of them was asked for.
func (g *Gateway) lookup(ctx context.Context, reader, address string) (clean string, t *Tenant, u graphsrc.User, err error) {
	clean, err = graphsrc.ParseAddress(address)
	if err != nil && !strings.Contains(address, "@") {
		return "", nil, u, &Error{Reason: NotFound, Message: "There is no such resource, and it is no address of a contact.", Err: err}
	}
	if err != nil {
		return "", nil, u, &Error{Reason: DestinationNotFound, Message: "The address is not a SIP address of the form user@domain.", Err: err}
	}
	if t = g.tenantOf(clean); t == nil {
		return "", nil, u, &Error{Reason: DestinationNotFound, Message: "The domain of " + clean + " is not served here."}
	}
	if u, err = t.Source.Lookup(ctx, clean); err != nil {
		return "", nil, u, sourceError("The contact "+clean, err)
	}
	own := graphsrc.Address(u)
	if own == "" {
		// Such as a guest by the principal name that this tenant made up.
		return "", nil, u, &Error{Reason: DestinationNotFound, Message: "Nobody has the SIP address " + clean + "."}
	}
	// People may have signed in by another address than their own.
	if clean != reader && !g.mayRead(reader, own) {
		return "", nil, u, notAllowed(clean)
	}
	g.watch.learned(ctx, clean, u)
	return clean, t, u, nil
}

func (g *Gateway) presence(ctx context.Context, t *Tenant, id, address string) (Presence, error) {
	r, err := t.Source.Presence(ctx, id)
	if err != nil {
		return Presence{}, sourceError("The presence of "+address, err)
	}
	c := mapping.Translate(r.Presence.Words, g.translation)
	g.report(c, t.Name)
	return Presence{Contact: c, LastActive: r.LastActive}, nil
}

// report logs presence words that the translation does not know, each once.
func (g *Gateway) report(c mapping.Contact, tenant string) {
	for _, word := range c.Unknown {
		if g.unknown.first(word) {
			g.log.Warn("Graph used a presence word that the translation does not know", "word", word, "tenant", tenant)
		}
	}
}

// person projects a user of the directory.
func person(t *Tenant, u graphsrc.User) Person {
	p := Person{
		Address: graphsrc.Address(u), Name: u.DisplayName, Title: u.JobTitle, Department: u.Department,
		Company: u.CompanyName, Office: u.OfficeLocation, MobilePhone: telURI(u.MobilePhone),
		Guest: strings.EqualFold(u.UserType, "Guest"), id: u.ID, tenant: t,
	}
	if p.Address != "" {
		p.URI = "sip:" + p.Address
	}
	if p.Name == "" {
		p.Name = p.Address
	}
	if u.Mail != "" {
		p.EmailAddresses = append(p.EmailAddresses, u.Mail)
	}
	for _, m := range u.OtherMails {
		if m != "" && !strings.EqualFold(m, u.Mail) {
			p.EmailAddresses = append(p.EmailAddresses, m)
		}
	}
	if len(u.BusinessPhones) > 0 {
		p.WorkPhone = telURI(u.BusinessPhones[0])
	}
	return p
}

// telURI turns a phone number as people write it into a tel: URI (RFC 3966):
// separators go, an extension becomes a parameter. A number without a single
// digit gives nothing.
func telURI(number string) string {
	main, ext := number, ""
	if i := strings.IndexAny(number, "xX;"); i >= 0 {
		main, ext = number[:i], digits(number[i:])
	}
	plus := strings.HasPrefix(strings.TrimLeft(main, " ("), "+")
	main = digits(main)
	if main == "" {
		return ""
	}
	uri := "tel:"
	if plus {
		uri += "+"
	}
	uri += main
	if ext != "" {
		uri += ";ext=" + ext
	}
	return uri
}

func digits(s string) string {
	return strings.Map(func(r rune) rune {
		if r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, s)
}

// unknownWords remembers which words were reported, so that each is logged
// once. It is bounded: Graph's words are few, garbage may be many.
type unknownWords struct {
	mu   sync.Mutex
	seen map[string]bool
}

const maxUnknownWords = 1000

func (u *unknownWords) count() uint64 {
	u.mu.Lock()
	defer u.mu.Unlock()
	return uint64(len(u.seen))
}

func (u *unknownWords) first(word string) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.seen[word] || len(u.seen) >= maxUnknownWords {
		return false
	}
	if u.seen == nil {
		u.seen = make(map[string]bool)
	}
	u.seen[word] = true
	return true
}
