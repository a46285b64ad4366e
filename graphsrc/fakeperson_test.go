package graphsrc

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/graphsim/odata"
	"ucwagate/mapping"
)

// linger waits like a slow answer.
func linger(ctx context.Context, op string, d time.Duration) error {
	if d <= 0 {
		return nil
	}
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return &Error{Op: op, Kind: KindTimeout, Err: ctx.Err()}
	}
}

// fakePublisher notes what is said and answers from functions.
type fakePublisher struct {
	pmu       sync.Mutex
	said      []saying
	slow      time.Duration
	reply     func(n int) error // of the nth saying, from 1; nil: success
	carries   func() ([]string, error)
	inspected int
}

type saying struct {
	id     string
	action mapping.GraphAction
	lasts  time.Duration
	lane   budget.Lane
	at     time.Time
}

func (f *fakePublisher) Publish(ctx context.Context, id string, action mapping.GraphAction, lasts time.Duration) error {
	f.pmu.Lock()
	f.said = append(f.said, saying{id, action, lasts, budget.LaneOf(ctx), time.Now()})
	n, slow, reply := len(f.said), f.slow, f.reply
	f.pmu.Unlock()
	if err := linger(ctx, "publish", slow); err != nil {
		return err
	}
	if reply != nil {
		return reply(n)
	}
	return nil
}

func (f *fakePublisher) Permissions(context.Context) ([]string, error) {
	f.pmu.Lock()
	defer f.pmu.Unlock()
	f.inspected++
	if f.carries != nil {
		return f.carries()
	}
	return nil, nil
}

func (f *fakePublisher) carry(permissions ...string) {
	f.pmu.Lock()
	defer f.pmu.Unlock()
	f.carries = func() ([]string, error) { return permissions, nil }
}

func (f *fakePublisher) replyWith(reply func(n int) error) {
	f.pmu.Lock()
	defer f.pmu.Unlock()
	f.reply = reply
}

func (f *fakePublisher) sayings() []saying {
	f.pmu.Lock()
	defer f.pmu.Unlock()
	return slices.Clone(f.said)
}

func (f *fakePublisher) inspections() int {
	f.pmu.Lock()
	defer f.pmu.Unlock()
	return f.inspected
}

// fakePhotos gives everybody a photo of their own, in version "v1", unless told
// otherwise.
type fakePhotos struct {
	fmu     sync.Mutex
	taken   []string // "id/size etag" of each request
	lanes   []budget.Lane
	open    int
	most    int
	shutter time.Duration
	version string
	size    int // of a content, in bytes
	refuse  error
}

func (f *fakePhotos) Photo(ctx context.Context, id string, size int, etag string) (Photo, error) {
	f.fmu.Lock()
	f.taken = append(f.taken, fmt.Sprintf("%s/%d %s", id, size, etag))
	f.lanes = append(f.lanes, budget.LaneOf(ctx))
	f.open++
	f.most = max(f.most, f.open)
	shutter := f.shutter
	f.fmu.Unlock()
	err := linger(ctx, "photo", shutter)
	f.fmu.Lock()
	defer f.fmu.Unlock()
	f.open--
	version := f.version
	if version == "" {
		version = "v1"
	}
	switch {
	case err != nil:
		return Photo{}, err
	case f.refuse != nil:
		return Photo{}, f.refuse
	case etag == version:
		return Photo{NotModified: true}, nil
	}
	content := []byte(fmt.Sprintf("%s %s/%d", version, id, size))
	if f.size > 0 {
		content = make([]byte, f.size)
	}
	return Photo{Content: content, Type: "image/jpeg", ETag: version}, nil
}

func (f *fakePhotos) change(do func()) {
	f.fmu.Lock()
	defer f.fmu.Unlock()
	do()
}

func (f *fakePhotos) requests() []string {
	f.fmu.Lock()
	defer f.fmu.Unlock()
	return slices.Clone(f.taken)
}

// fakeSearcher searches the users of a fakeDirectory as Graph documents it.
type fakeSearcher struct {
	smu      sync.Mutex
	asked    []string
	lanes    []budget.Lane
	thinking time.Duration
	members  []User
	groups   []Group
	noUsers  error
	noGroups error
}

func (f *fakeSearcher) enter(ctx context.Context, what string, refusal *error) error {
	f.smu.Lock()
	f.asked = append(f.asked, what)
	f.lanes = append(f.lanes, budget.LaneOf(ctx))
	thinking, err := f.thinking, *refusal
	f.smu.Unlock()
	if late := linger(ctx, "search", thinking); late != nil {
		return late
	}
	return err
}

func (f *fakeSearcher) SearchUsers(ctx context.Context, search string, top int) ([]User, bool, error) {
	if err := f.enter(ctx, "users "+search, &f.noUsers); err != nil {
		return nil, false, err
	}
	parsed, err := odata.ParseSearch(search)
	if err != nil {
		return nil, false, &Error{Op: "search users", Kind: KindInvalid, Status: 400, Err: err}
	}
	return selected(f.members, top, func(u *User) bool { return parsed.Match(u.values, isTokenized) })
}

func (f *fakeSearcher) FilterUsers(ctx context.Context, filter string, top int) ([]User, bool, error) {
	if err := f.enter(ctx, "filter "+filter, &f.noUsers); err != nil {
		return nil, false, err
	}
	parsed, err := odata.ParseFilter(filter)
	if err != nil {
		return nil, false, &Error{Op: "filter users", Kind: KindInvalid, Status: 400, Err: err}
	}
	return selected(f.members, top, func(u *User) bool { return parsed.Match(u.values) })
}

func (f *fakeSearcher) SearchGroups(ctx context.Context, search string, top int) ([]Group, bool, error) {
	if err := f.enter(ctx, "groups "+search, &f.noGroups); err != nil {
		return nil, false, err
	}
	parsed, err := odata.ParseSearch(search)
	if err != nil {
		return nil, false, &Error{Op: "search groups", Kind: KindInvalid, Status: 400, Err: err}
	}
	return selected(f.groups, top, func(g *Group) bool {
		return parsed.Match(func(property string) []string {
			return map[string][]string{"displayName": {g.DisplayName}, "mail": {g.Mail}}[property]
		}, isTokenized)
	})
}

func (f *fakeSearcher) Group(ctx context.Context, id string) (Group, error) {
	if err := f.enter(ctx, "group "+id, &f.noGroups); err != nil {
		return Group{}, err
	}
	for _, g := range f.groups {
		if strings.EqualFold(g.ID, id) {
			return g, nil
		}
	}
	return Group{}, notFound("group")
}

// searches returns what was asked, sorted: users and groups are asked for at once.
func (f *fakeSearcher) searches() []string {
	f.smu.Lock()
	defer f.smu.Unlock()
	return slices.Sorted(slices.Values(f.asked))
}

func (f *fakeSearcher) change(do func()) {
	f.smu.Lock()
	defer f.smu.Unlock()
	do()
}

func isTokenized(property string) bool { return property == "displayName" }

func selected[E any](from []E, top int, match func(*E) bool) (list []E, more bool, err error) {
	for i := range from {
		if !match(&from[i]) {
			continue
		}
		if len(list) == top {
			return list, true, nil
		}
		list = append(list, from[i])
	}
	return list, false, nil
}

// values returns the values of a property as Graph spells it.
func (u *User) values(property string) []string {
	some := func(s string) []string {
		if s == "" {
			return nil
		}
		return []string{s}
	}
	switch property {
	case "displayName":
		return some(u.DisplayName)
	case "mail":
		return some(u.Mail)
	case "userPrincipalName":
		return some(u.UserPrincipalName)
	case "mobilePhone":
		return some(u.MobilePhone)
	case "businessPhones":
		return u.BusinessPhones
	case "otherMails":
		return u.OtherMails
	case "proxyAddresses":
		return u.ProxyAddresses
	}
	panic("a property nobody expects: " + property)
}
