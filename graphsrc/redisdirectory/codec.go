package redisdirectory

import (
	"encoding/binary"
	"errors"
	"slices"
	"strings"

	"github.com/google/uuid"

	"ucwagate/graphsrc"
)

const (
	version = 1
	nobody  = 0
	user    = 1
	idSize  = 16
	// maxStrings bounds a list, so that what is malformed takes no memory.
	maxStrings = 10_000
)

var errMalformed = errors.New("what is stored is malformed")

// schemes may precede what a reference leads to. Their order is part of the format.
var schemes = [...]string{"", "SMTP:", "smtp:", "sip:", "SIP:"}

// The fields of a user in the order in which they are written, but for the id.

func texts(u *graphsrc.User) [9]*string {
	return [...]*string{
		&u.UserPrincipalName, &u.Mail, &u.DisplayName, &u.JobTitle, &u.Department, &u.CompanyName, &u.OfficeLocation,
		&u.MobilePhone, &u.UserType,
	}
}

func lists(u *graphsrc.User) [4]*[]string {
	return [...]*[]string{&u.IMAddresses, &u.ProxyAddresses, &u.OtherMails, &u.BusinessPhones}
}

// encode writes a user, or that there is nobody. It fails if the id is none.
func encode(u *graphsrc.User) (string, error) {
	if u == nil {
		return string([]byte{version, nobody}), nil
	}
	id, err := uuid.Parse(u.ID)
	if err != nil {
		return "", err
	}
	w := writer{b: make([]byte, 0, 256)}
	w.b = append(w.b, version, user)
	w.b = append(w.b, id[:]...)
	for _, s := range texts(u) {
		w.text(*s)
	}
	for _, l := range lists(u) {
		w.b = binary.AppendUvarint(w.b, uint64(len(*l)))
		for _, s := range *l {
			w.text(s)
		}
	}
	return string(w.b), nil
}

// writer writes strings. An even number is twice the length of one that follows, an
// odd one is a reference to an earlier one, and a byte for the scheme before it.
type writer struct {
	b       []byte
	earlier []string
}

func (w *writer) text(s string) {
	if s != "" {
		for i, scheme := range schemes {
			rest, ok := strings.CutPrefix(s, scheme)
			if at := slices.Index(w.earlier, rest); ok && at >= 0 {
				w.b = binary.AppendUvarint(w.b, uint64(at)<<1|1)
				w.b = append(w.b, byte(i))
				return
			}
		}
		w.earlier = append(w.earlier, s)
	}
	w.b = binary.AppendUvarint(w.b, uint64(len(s))<<1)
	w.b = append(w.b, s...)
}

// decode is the inverse of encode.
func decode(s string) (*graphsrc.User, error) {
	if len(s) < 2 || s[0] != version {
		return nil, errMalformed
	}
	if s[1] == nobody {
		return nil, nil
	}
	if s[1] != user || len(s) < 2+idSize {
		return nil, errMalformed
	}
	id, _ := uuid.FromBytes([]byte(s[2 : 2+idSize]))
	u := &graphsrc.User{ID: id.String()}
	r := reader{rest: s[2+idSize:]}
	for _, t := range texts(u) {
		*t = r.text()
	}
	for _, l := range lists(u) {
		n := r.number()
		if n > maxStrings || n > uint64(len(r.rest)) {
			return nil, errMalformed
		}
		for range n {
			*l = append(*l, r.text())
		}
	}
	if r.bad {
		return nil, errMalformed
	}
	return u, nil
}

type reader struct {
	rest    string
	earlier []string
	bad     bool
}

func (r *reader) number() uint64 {
	n, size := binary.Uvarint([]byte(r.rest[:min(len(r.rest), binary.MaxVarintLen64)]))
	if size <= 0 {
		r.bad, r.rest = true, ""
		return 0
	}
	r.rest = r.rest[size:]
	return n
}

func (r *reader) text() string {
	n := r.number()
	if n&1 == 0 {
		if n >>= 1; n > uint64(len(r.rest)) {
			r.bad = true
			return ""
		}
		s := r.rest[:n]
		if r.rest = r.rest[n:]; s != "" {
			r.earlier = append(r.earlier, s)
		}
		return s
	}
	if n >>= 1; n >= uint64(len(r.earlier)) || r.rest == "" || int(r.rest[0]) >= len(schemes) {
		r.bad = true
		return ""
	}
	scheme := schemes[r.rest[0]]
	r.rest = r.rest[1:]
	return scheme + r.earlier[n]
}
