package graphsrc

import (
	"context"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"
)

// fakeDirectory holds users, understands the filters that are sent to it and
// remembers what it was asked.
type fakeDirectory struct {
	dmu      sync.Mutex
	users    []User
	asked    []string
	delay    time.Duration
	broken   error // answers everything
	noFilter error // answers filters
	pages    map[string]UsersPage
	pageErr  map[string]error
	lost     *Error // answers links that lead nowhere
}

func (f *fakeDirectory) enter(ctx context.Context, what string) error {
	f.dmu.Lock()
	f.asked = append(f.asked, what)
	broken, delay := f.broken, f.delay
	f.dmu.Unlock()
	if delay > 0 {
		select {
		case <-time.After(delay):
		case <-ctx.Done():
			return &Error{Op: what, Kind: KindTimeout, Err: ctx.Err()}
		}
	}
	return broken
}

func (f *fakeDirectory) breakWith(err error) {
	f.dmu.Lock()
	defer f.dmu.Unlock()
	f.broken = err
}

func (f *fakeDirectory) questions() []string {
	f.dmu.Lock()
	defer f.dmu.Unlock()
	return slices.Clone(f.asked)
}

func (f *fakeDirectory) forget() {
	f.dmu.Lock()
	defer f.dmu.Unlock()
	f.asked = nil
}

func notFound(op string) error { return &Error{Op: op, Kind: KindNotFound, Status: 404} }

func (f *fakeDirectory) User(ctx context.Context, idOrUPN string) (User, error) {
	if err := f.enter(ctx, "user "+idOrUPN); err != nil {
		return User{}, err
	}
	f.dmu.Lock()
	defer f.dmu.Unlock()
	for _, u := range f.users {
		if u.ID == idOrUPN || strings.EqualFold(u.UserPrincipalName, idOrUPN) {
			return u, nil
		}
	}
	return User{}, notFound("user")
}

var (
	literal    = regexp.MustCompile(`'((?:[^']|'')*)'`)
	expression = regexp.MustCompile(`^(userPrincipalName in \(|mail eq |imAddresses/any\(i:i eq |proxyAddresses/any\(p:p eq )`)
)

func (f *fakeDirectory) FindUsers(ctx context.Context, filter string, top int) ([]User, error) {
	if err := f.enter(ctx, filter); err != nil {
		return nil, err
	}
	f.dmu.Lock()
	defer f.dmu.Unlock()
	if f.noFilter != nil {
		return nil, f.noFilter
	}
	parts := strings.Split(filter, " or ")
	if len(parts) > 15 {
		return nil, &Error{Op: "find users", Kind: KindInvalid, Status: 400, Code: "Request_UnsupportedQuery"}
	}
	var out []User
	for _, u := range f.users {
		if len(out) < top && slices.ContainsFunc(parts, func(part string) bool { return matches(u, part) }) {
			out = append(out, u)
		}
	}
	return out, nil
}

func matches(u User, part string) bool {
	kind := expression.FindString(part)
	var values []string
	for _, m := range literal.FindAllStringSubmatch(part, -1) {
		values = append(values, strings.ReplaceAll(m[1], "''", "'"))
	}
	has := func(list ...string) bool {
		return slices.ContainsFunc(list, func(s string) bool {
			return slices.ContainsFunc(values, func(v string) bool { return strings.EqualFold(s, v) })
		})
	}
	switch {
	case strings.HasPrefix(kind, "user"):
		return len(values) <= 15 && has(u.UserPrincipalName)
	case strings.HasPrefix(kind, "mail"):
		return has(u.Mail)
	case strings.HasPrefix(kind, "im"):
		return has(u.IMAddresses...)
	case strings.HasPrefix(kind, "proxy"):
		return has(u.ProxyAddresses...)
	}
	panic("a filter nobody expects: " + part)
}

func (f *fakeDirectory) UsersDelta(ctx context.Context, link string) (UsersPage, error) {
	if err := f.enter(ctx, "delta "+link); err != nil {
		return UsersPage{}, err
	}
	f.dmu.Lock()
	defer f.dmu.Unlock()
	if err := f.pageErr[link]; err != nil {
		delete(f.pageErr, link)
		return UsersPage{}, err
	}
	page, ok := f.pages[link]
	if !ok {
		if f.lost != nil {
			return UsersPage{}, f.lost
		}
		return UsersPage{}, &Error{Op: "delta", Kind: KindGone, Status: 410}
	}
	return page, nil
}

func (f *fakeDirectory) Manager(ctx context.Context, id string) (User, error) {
	if err := f.enter(ctx, "manager "+id); err != nil {
		return User{}, err
	}
	if len(f.users) == 0 {
		return User{}, notFound("manager")
	}
	return f.users[0], nil
}

func (f *fakeDirectory) DirectReports(ctx context.Context, id string, limit int) ([]User, error) {
	return slices.Clone(f.users[:min(limit, len(f.users))]), f.enter(ctx, "reports "+id)
}

func (f *fakeDirectory) MemberOf(ctx context.Context, id string, _ int) ([]Group, error) {
	return []Group{{ID: newID(), DisplayName: "All hands", Unified: true}}, f.enter(ctx, "groups "+id)
}

func (f *fakeDirectory) GroupMembers(ctx context.Context, id string, limit int) ([]User, error) {
	return slices.Clone(f.users[:min(limit, len(f.users))]), f.enter(ctx, "members "+id)
}

// fakeMailbox gives everybody the same contact, or the same error.
type fakeMailbox struct {
	mmu     sync.Mutex
	opened  []string
	closeOf map[string]error // by id
}

func (f *fakeMailbox) open(what, id string) error {
	f.mmu.Lock()
	defer f.mmu.Unlock()
	f.opened = append(f.opened, what+" "+id)
	if err := f.closeOf[id]; err != nil {
		return err
	}
	return f.closeOf["*"]
}

func (f *fakeMailbox) opens() int {
	f.mmu.Lock()
	defer f.mmu.Unlock()
	return len(f.opened)
}

func (f *fakeMailbox) shut(id string, err error) {
	f.mmu.Lock()
	defer f.mmu.Unlock()
	if f.closeOf == nil {
		f.closeOf = map[string]error{}
	}
	f.closeOf[id] = err
}

func (f *fakeMailbox) People(_ context.Context, id string, _ int) ([]MailboxContact, error) {
	return []MailboxContact{{DisplayName: "Bo", Addresses: []string{"bo@contoso.com"}}}, f.open("people", id)
}

func (f *fakeMailbox) ContactFolders(_ context.Context, id string, _ int) ([]ContactFolder, error) {
	return []ContactFolder{{ID: "AAMk=", DisplayName: "Friends"}}, f.open("folders", id)
}

func (f *fakeMailbox) Contacts(_ context.Context, id, folder string, _ int) ([]MailboxContact, error) {
	return []MailboxContact{{DisplayName: "Cy", Addresses: []string{"cy@contoso.com"}}}, f.open("contacts "+folder, id)
}
