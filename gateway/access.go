package gateway

import (
	"context"
	"errors"
	"slices"

	"ucwagate/graphsrc"
)

// Access decides who may do what. Implementations are fast: it is asked on every
// request.
type Access interface {
	// MayPublish says whether somebody may set their presence and note.
	MayPublish(who Principal) bool
	// MayRead says whether reader may know of the person whose SIP address is
	// address: presence, contact card and photo. Both are lower case and without
	// scheme.
	MayRead(reader, address string) bool
}

func (g *Gateway) mayRead(reader, address string) bool {
	return g.access == nil || g.access.MayRead(reader, address)
}

var errNotAllowed = errors.New("the reader is not allowed to see the person")

func notAllowed(address string) error {
	return &Error{Reason: Forbidden, Message: "You are not allowed to see " + address + ".", Err: errNotAllowed}
}

// visible keeps those whom reader may know of.
func (g *Gateway) visible(reader string, people []Person) []Person {
	if g.access == nil {
		return people
	}
	return slices.DeleteFunc(slices.Clone(people), func(one Person) bool { return !g.access.MayRead(reader, one.Address) })
}

// requireReadable refuses addresses that name somebody whom an application's
// owner may not know of, whichever of their addresses it is.
func (g *Gateway) requireReadable(ctx context.Context, app Application, addresses []string) error {
	if g.access == nil {
		return nil
	}
	for _, address := range addresses {
		own := address
		if t := g.tenantOf(address); t != nil {
			u, err := t.Source.Lookup(ctx, address)
			if err != nil && !isKind(err, graphsrc.KindNotFound) {
				return sourceError("The contact "+address, err)
			}
			if found := graphsrc.Address(u); err == nil && found != "" {
				own = found
			}
		}
		if address != app.Owner && !g.mayRead(app.Owner, own) {
			return notAllowed(address)
		}
	}
	return nil
}
