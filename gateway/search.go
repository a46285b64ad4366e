package gateway

import (
	"context"
	"fmt"
	"strings"
	"unicode/utf8"

	"ucwagate/graphsrc"
)

// The bounds of a search (UCWA reference: search). The documentation gives no
// default for limit.
const (
	MaxSearchText      = 256 // characters
	MaxSearchLimit     = 100
	DefaultSearchLimit = 50
)

// SearchRequest is what is searched for: Query, Mail or both; zero Limit is the
// default.
type SearchRequest struct {
	Query, Mail string
	Limit       int
}

// SearchResult is what was found.
type SearchResult struct {
	People []Person
	Groups []Group // distribution groups
	// More says that there are others beyond the limit.
	More bool
}

// Search looks for people and distribution groups in the directory of p.
func (g *Gateway) Search(ctx context.Context, p Principal, r SearchRequest) (SearchResult, error) {
	if err := r.validate(); err != nil {
		return SearchResult{}, err
	}
	if r.Limit == 0 {
		r.Limit = DefaultSearchLimit
	}
	t := g.tenantOf(p.Address)
	if address, ok := lenientAddress(strings.Trim(strings.TrimSpace(r.Query), "<>")); ok {
		// An address is in the directory of its own tenant.
		if home := g.tenantOf(address); home != nil {
			t = home
		}
		r.Query = address
	}
	if t == nil {
		return SearchResult{}, nil
	}
	found, err := t.Source.Search(ctx, graphsrc.SearchQuery{Text: r.Query, Mail: r.Mail, Limit: r.Limit})
	if err != nil {
		return SearchResult{}, sourceError("The directory", err)
	}
	out := SearchResult{More: found.More}
	for _, u := range found.Users {
		if who := person(t, u); g.tenantOf(who.Address) != nil && g.mayRead(p.Address, who.Address) {
			out.People = append(out.People, who)
		}
	}
	for _, one := range found.Groups {
		if one.Mail != "" {
			out.Groups = append(out.Groups, distributionGroup(one))
		}
	}
	return out, nil
}

func (r SearchRequest) validate() error {
	var problems []Parameter
	if n := utf8.RuneCountInString(r.Query); n > MaxSearchText {
		problems = append(problems, tooLong("query", n, MaxSearchText))
	}
	if n := utf8.RuneCountInString(r.Mail); n > MaxSearchText {
		problems = append(problems, tooLong("mail", n, MaxSearchText))
	}
	if strings.TrimSpace(r.Query) == "" && strings.TrimSpace(r.Mail) == "" {
		problems = append(problems, Parameter{"query", fmt.Sprintf("or mail is required: 1 to %d characters", MaxSearchText)})
	}
	if r.Limit < 0 || r.Limit > MaxSearchLimit {
		problems = append(problems, Parameter{"limit", fmt.Sprintf("must be a whole number from 1 to %d", MaxSearchLimit)})
	}
	if problems != nil {
		return Invalid(problems...)
	}
	return nil
}

func distributionGroup(g graphsrc.Group) Group {
	return Group{
		Kind: DistributionGroup, ID: strings.ToLower(g.ID), Name: g.DisplayName,
		URI: "sip:" + strings.ToLower(g.Mail), source: g.ID,
	}
}

// foundGroup reads a distribution group that is none of p's own, as a search
// finds it.
func (g *Gateway) foundGroup(ctx context.Context, p Principal, id string) (Group, error) {
	t := g.tenantOf(p.Address)
	if t == nil || len(id) != len("00000000-0000-0000-0000-000000000000") {
		return Group{}, noGroup()
	}
	one, err := t.Source.Group(ctx, id)
	switch {
	case err == nil && one.Mail != "":
		return distributionGroup(one), nil
	case err == nil || isKind(err, graphsrc.KindNotFound, graphsrc.KindInvalid, graphsrc.KindForbidden):
		return Group{}, noGroup()
	}
	return Group{}, sourceError("The group", err)
}

func noGroup() error { return &Error{Reason: NotFound, Message: "There is no such group."} }

// Photo is somebody's photo.
type Photo struct {
	Content []byte // not to be changed
	Type    string // media type
}

// HasPhotos says whether photos are served.
func (g *Gateway) HasPhotos() bool { return !g.noPhotos }

// Photo returns a photo of somebody whose edge is the largest offered of at
// most px pixels. NotFound: there is none.
func (g *Gateway) Photo(ctx context.Context, p Principal, address string, px int) (Photo, error) {
	if g.noPhotos {
		return Photo{}, &Error{Reason: Forbidden, Message: "Photos are switched off."}
	}
	_, t, u, err := g.lookup(ctx, p.Address, address)
	if hasReason(err, DestinationNotFound) {
		return Photo{}, noPhoto()
	}
	if err != nil {
		return Photo{}, err
	}
	photo, err := t.Source.Photo(ctx, u.ID, px)
	switch {
	case isKind(err, graphsrc.KindNotFound):
		return Photo{}, noPhoto()
	case isKind(err, graphsrc.KindTimeout):
		return Photo{}, &Error{Reason: PhotoTimeout, Message: "The photo could not be read in time.", Err: err}
	case err != nil:
		return Photo{}, sourceError("The photo", err)
	}
	return Photo{Content: photo.Content, Type: photo.Type}, nil
}

func noPhoto() error { return &Error{Reason: NotFound, Message: "There is no photo."} }
