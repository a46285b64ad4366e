package representation

import (
	"hash/fnv"
	"strconv"
	"time"
)

// Resource is one UCWA resource before it is encoded. The zero value is not
// useful; begin with New.
type Resource struct {
	// Rel names the kind of the resource. It never carries a revision.
	Rel string
	// Href is the self link: the identity of the resource.
	Href string

	properties []property
	links      []link
	embedded   []embedded
	etag       string
	// few holds the properties of a small resource, so that the ones that are
	// asked for most often are built with one allocation.
	few [4]property
}

// New begins a resource with its rel and its self link.
func New(rel, href string) *Resource {
	r := &Resource{Rel: rel, Href: href}
	r.properties = r.few[:0]
	return r
}

type kind uint8

const (
	kindString kind = iota
	kindInt
	kindBool
	kindTime
	kindList
)

type property struct {
	name string
	kind kind
	text string
	num  int64
	time time.Time
	list []string
}

type link struct {
	rel      string
	href     string
	revision string
	// many is set on a rel that is multi-valued by definition: it is an array
	// in JSON even with one element or none. An entry of such a rel with an
	// empty href stands for the empty array.
	many bool
}

type embedded struct {
	rel       string
	many      bool
	resources []*Resource
}

// Set adds a string property.
func (r *Resource) Set(name, value string) *Resource {
	r.properties = append(r.properties, property{name: name, kind: kindString, text: value})
	return r
}

// SetNonEmpty adds a string property unless value is empty: data that is not
// there is left out, never null.
func (r *Resource) SetNonEmpty(name, value string) *Resource {
	if value != "" {
		r.Set(name, value)
	}
	return r
}

// SetInt adds an integer property.
func (r *Resource) SetInt(name string, value int64) *Resource {
	r.properties = append(r.properties, property{name: name, kind: kindInt, num: value})
	return r
}

// SetBool adds a boolean property.
func (r *Resource) SetBool(name string, value bool) *Resource {
	p := property{name: name, kind: kindBool}
	if value {
		p.num = 1
	}
	r.properties = append(r.properties, p)
	return r
}

// SetTime adds a date property. The zero time is left out.
func (r *Resource) SetTime(name string, value time.Time) *Resource {
	if !value.IsZero() {
		r.properties = append(r.properties, property{name: name, kind: kindTime, time: value})
	}
	return r
}

// SetList adds a list of strings, which may be empty.
func (r *Resource) SetList(name string, values []string) *Resource {
	r.properties = append(r.properties, property{name: name, kind: kindList, list: values})
	return r
}

// Link adds a link of a rel that has one value.
func (r *Resource) Link(rel, href string) *Resource {
	r.links = append(r.links, link{rel: rel, href: href})
	return r
}

// LinkRevision adds a link that names the revision of what it points at.
func (r *Resource) LinkRevision(rel, href, revision string) *Resource {
	r.links = append(r.links, link{rel: rel, href: href, revision: revision})
	return r
}

// LinkAll adds the links of a rel that is multi-valued by definition; no href
// at all gives an empty array.
func (r *Resource) LinkAll(rel string, hrefs []string) *Resource {
	if len(hrefs) == 0 {
		r.links = append(r.links, link{rel: rel, many: true})
	}
	for _, href := range hrefs {
		r.links = append(r.links, link{rel: rel, href: href, many: true})
	}
	return r
}

// Embed embeds one resource under its own rel; nil embeds nothing.
func (r *Resource) Embed(child *Resource) *Resource {
	if child != nil {
		r.embedded = append(r.embedded, embedded{rel: child.Rel, resources: []*Resource{child}})
	}
	return r
}

// EmbedAll embeds the resources of a rel that is multi-valued by definition;
// an empty list gives an empty array.
func (r *Resource) EmbedAll(rel string, children []*Resource) *Resource {
	r.embedded = append(r.embedded, embedded{rel: rel, many: true, resources: children})
	return r
}

// Tag computes the entity tag from the resource's own properties and links
// (embedded resources do not influence it) and makes it the etag property. It
// is decimal, as the Skype server's was.
func (r *Resource) Tag() *Resource {
	h := fnv.New64a()
	write := func(parts ...string) {
		for _, s := range parts {
			_, _ = h.Write([]byte(s))
			_, _ = h.Write([]byte{0})
		}
	}
	write(r.Rel, r.Href)
	for _, p := range r.properties {
		write(p.name, p.text, strconv.FormatInt(p.num, 10), p.time.UTC().Format(time.RFC3339Nano))
		write(p.list...)
	}
	for _, l := range r.links {
		write(l.rel, l.href, l.revision)
	}
	r.etag = strconv.FormatUint(h.Sum64()>>16, 10)
	return r
}

// ETag returns the entity tag without quotes, or an empty string where the
// resource has none.
func (r *Resource) ETag() string { return r.etag }
