package graphsrc

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"strings"
	"unicode"
	"unicode/utf8"
)

// A user in memory is one string:
//
//	length of the text, the text that is searched
//	how many strings its lists hold, how many bytes its schemed strings take
//	principal name, mail
//	IM addresses, proxy addresses   each list as its length and its strings
//	the other texts
//	the other lists
//
// Most of what the directory says of a person it says several times: the
// principal name is the mail address is the IM address is a proxy address with
// "SMTP:" before it. So each string is a number, its length and its form,
//
//	literal   the bytes follow
//	repeated  a number follows: where in this string the same bytes stand
//	schemed   the same, and a byte that says which scheme precedes them
//
// which makes a user half as long, and still any string but a schemed one is a
// part of the whole that nobody has to copy.
type packed string

// The forms of a string.
const (
	formLiteral = iota
	formRepeated
	formSchemed
	formBits = 2
)

// minRepeat is the length from which a repeated string is shorter than a literal one.
const minRepeat = 4

// packedSchemes are the schemes of proxy addresses, as the directory spells them.
var packedSchemes = [...]string{"SMTP:", "smtp:", "sip:", "SIP:"}

// The fields of a user, in the order in which they are packed: those that hold
// addresses first, so that a comparison of addresses is soon over.

func (u *User) names() [2]*string { return [...]*string{&u.UserPrincipalName, &u.Mail} }

func (u *User) addresses() [2]*[]string { return [...]*[]string{&u.IMAddresses, &u.ProxyAddresses} }

func (u *User) texts() [7]*string {
	return [...]*string{
		&u.DisplayName, &u.JobTitle, &u.Department, &u.CompanyName, &u.OfficeLocation, &u.MobilePhone, &u.UserType,
	}
}

func (u *User) lists() [2]*[]string { return [...]*[]string{&u.OtherMails, &u.BusinessPhones} }

// packer packs users, one after the other, in memory of its own.
type packer struct {
	head, body []byte
	listed     int // strings in lists
	schemed    int // bytes of schemed strings
}

// pack packs everything of a user but the id. text is what is searched.
func (p *packer) pack(u *User, text string) packed {
	p.listed, p.schemed = 0, 0
	// Offsets count from the beginning of the text.
	p.body = append(p.body[:0], text...)
	for _, s := range u.names() {
		p.text(*s)
	}
	for _, l := range u.addresses() {
		p.list(*l)
	}
	for _, s := range u.texts() {
		p.text(*s)
	}
	for _, l := range u.lists() {
		p.list(*l)
	}
	p.head = binary.AppendUvarint(p.head[:0], uint64(len(text)))
	p.head = binary.AppendUvarint(p.head, uint64(p.listed))
	p.head = binary.AppendUvarint(p.head, uint64(p.schemed))
	var b strings.Builder
	b.Grow(len(p.head) + len(p.body))
	b.Write(p.head)
	b.Write(p.body)
	return packed(b.String())
}

func (p *packer) list(list []string) {
	p.body = binary.AppendUvarint(p.body, uint64(len(list)))
	p.listed += len(list)
	for _, s := range list {
		p.text(s)
	}
}

func (p *packer) text(s string) {
	if p.repeat(s, formRepeated) {
		return
	}
	for i, scheme := range packedSchemes {
		if rest, ok := strings.CutPrefix(s, scheme); ok && p.repeat(rest, formSchemed) {
			p.body = append(p.body, byte(i))
			p.schemed += len(s)
			return
		}
	}
	p.body = binary.AppendUvarint(p.body, uint64(len(s))<<formBits) // formLiteral
	p.body = append(p.body, s...)
}

// repeat writes a reference to bytes that are there already.
func (p *packer) repeat(s string, form uint64) bool {
	if len(s) < minRepeat {
		return false
	}
	at := bytes.Index(p.body, []byte(s))
	if at < 0 {
		return false
	}
	p.body = binary.AppendUvarint(p.body, uint64(len(s))<<formBits|form)
	p.body = binary.AppendUvarint(p.body, uint64(at))
	return true
}

// reader reads a packed user from front to back.
type reader struct {
	listed, schemed int
	body            string // from the text on
	at              int
}

// open returns a reader that has passed the text, and the text. Of nothing
// packed both are empty.
func (p packed) open() (r reader, text string) {
	if p == "" {
		return r, ""
	}
	r.body = string(p)
	size := r.number()
	r.listed, r.schemed = r.number(), r.number()
	r.body, r.at = r.body[r.at:], size
	return r, r.body[:size]
}

// text is what is searched of the user.
func (p packed) text() string {
	_, text := p.open()
	return text
}

func (r *reader) number() int {
	n := 0
	for shift := 0; ; shift += 7 {
		b := r.body[r.at]
		r.at++
		n |= int(b&0x7f) << shift
		if b < 0x80 {
			return n
		}
	}
}

// next reads a string: a scheme, which may be empty, and what follows it.
func (r *reader) next() (scheme, rest string) {
	n := r.number()
	n, form := n>>formBits, n&(1<<formBits-1)
	if form == formLiteral {
		rest = r.body[r.at : r.at+n]
		r.at += n
		return "", rest
	}
	at := r.number()
	rest = r.body[at : at+n]
	if form == formSchemed {
		scheme = packedSchemes[r.body[r.at]]
		r.at++
	}
	return scheme, rest
}

// user is the inverse of pack. It allocates twice: for the strings that are not
// parts of what is packed, and for the lists.
func (p packed) user(k userKey) User {
	var u User
	r, _ := p.open()
	var made strings.Builder
	made.Grow(36 + r.schemed)
	u.ID = writeKey(&made, k)
	list := make([]string, r.listed)
	text := func() string {
		scheme, rest := r.next()
		if scheme == "" {
			return rest
		}
		from := made.Len()
		made.WriteString(scheme)
		made.WriteString(rest)
		return made.String()[from:]
	}
	take := func(to *[]string) {
		n := r.number()
		if n == 0 {
			return
		}
		*to, list = list[:n:n], list[n:]
		for i := range *to {
			(*to)[i] = text()
		}
	}
	for _, s := range u.names() {
		*s = text()
	}
	for _, l := range u.addresses() {
		take(l)
	}
	for _, s := range u.texts() {
		*s = text()
	}
	for _, l := range u.lists() {
		take(l)
	}
	return u
}

// writeKey appends an object id to an empty builder.
func writeKey(b *strings.Builder, k userKey) string {
	var text [36]byte
	at := 0
	for i, part := range [...][]byte{k[:4], k[4:6], k[6:8], k[8:10], k[10:]} {
		if i > 0 {
			text[at] = '-'
			at++
		}
		at += hex.Encode(text[at:], part)
	}
	b.Write(text[:])
	return b.String()
}

// has says whether a normalized address is one under which the user is found,
// see eachAddress. It does not allocate.
func (p packed) has(address string) bool {
	r, _ := p.open()
	for range 2 { // names
		if r.isAddress(address) {
			return true
		}
	}
	for range r.number() { // IM addresses
		if r.isAddress(address) {
			return true
		}
	}
	for range r.number() { // proxy addresses
		scheme, s := r.next()
		found := scheme != ""
		if !found {
			if s, found = cutScheme(s, "sip:"); !found {
				s, found = cutScheme(s, "smtp:")
			}
		}
		if found && normalizesTo(s, address) {
			return true
		}
	}
	return false
}

// isAddress compares the next string, of which only "sip:" may be the scheme.
func (r *reader) isAddress(address string) bool {
	scheme, s := r.next()
	return (scheme == "" || strings.EqualFold(scheme, "sip:")) && normalizesTo(s, address)
}

// normalizesTo says whether a normalized address is what normalizeAddress makes
// of s. It does not allocate.
func normalizesTo(s, address string) bool {
	if s == address {
		return true
	}
	s, _ = cutScheme(strings.TrimSpace(s), "sip:")
	for s != "" {
		r, n := utf8.DecodeRuneInString(s)
		lower, m := utf8.DecodeRuneInString(address)
		if m == 0 || unicode.ToLower(r) != lower {
			return false
		}
		s, address = s[n:], address[m:]
	}
	return address == ""
}
