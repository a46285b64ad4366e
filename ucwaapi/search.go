package ucwaapi

import (
	"net/http"

	"ucwagate/gateway"
	"ucwagate/ucwaapi/representation"
)

// search looks for people and distribution groups. A result without any hit has
// nothing embedded: sample code takes that for "none" and mishandles an empty
// list.
func (s *Server) search(k *call) error {
	in, err := s.input(k)
	if err != nil {
		return err
	}
	var req gateway.SearchRequest
	req.Query, _ = in.Text("query")
	req.Mail, _ = in.String("mail")
	if text, ok := in.String("limit"); ok && text != "" {
		limit, _, err := in.Int("limit")
		if err != nil || limit < 1 {
			limit = -1 // refused with the rest
		}
		req.Limit = limit
	}
	found, err := s.gateway.Search(k.Request().Context(), k.principal, req)
	if err != nil {
		return err
	}
	self := k.links.search()
	if raw := k.Request().URL.RawQuery; raw != "" {
		self += "?" + safeQuery(raw)
	}
	r := representation.New("search", self).SetBool("moreResultsAvailable", found.More)
	if len(found.People)+len(found.Groups) > 0 {
		groups := make([]*representation.Resource, len(found.Groups))
		for i, g := range found.Groups {
			groups[i] = s.groupResource(k, g)
		}
		r.EmbedAll("contact", s.contactResources(k.links, found.People)).EmbedAll("distributionGroup", groups)
	}
	return s.send(k, http.StatusOK, r)
}

// safeQuery is a query as it came, fit for an href: clients send characters raw
// that no URL may hold.
func safeQuery(raw string) string {
	const hex = "0123456789ABCDEF"
	var b []byte
	for i := range len(raw) {
		switch c := raw[i]; {
		case c > ' ' && c < 0x7f && c != '"' && c != '<' && c != '>' && c != '#' && c != '\\' && c != '^' && c != '`' && c != '{' && c != '|' && c != '}':
			b = append(b, c)
		default:
			b = append(b, '%', hex[c>>4], hex[c&15])
		}
	}
	return string(b)
}
