package gateway

import "ucwagate/graphsrc"

// Whose returns the name of the tenant and the object id of a person's address,
// each empty if it is not known. It asks nobody.
func (g *Gateway) Whose(address string) (tenant, objectID string) {
	t := g.tenantOf(address)
	if t == nil {
		return "", ""
	}
	if u, ok := t.Source.Known(address); ok {
		objectID = u.ID
	}
	return t.Name, objectID
}

// CleanAddress returns the address in a text in the form of Principal.Address,
// with or without "sip:"; false: it is none.
func CleanAddress(text string) (string, bool) {
	address, err := graphsrc.ParseAddress(text)
	return address, err == nil
}
