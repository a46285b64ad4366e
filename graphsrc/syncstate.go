package graphsrc

import (
	"bufio"
	"bytes"
	"compress/flate"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"time"

	"ucwagate/graphsrc/clock"
)

const (
	// keepEvery is how often changes are saved, keepLinkEvery how often a link
	// alone: Graph keeps it for 7 days.
	keepEvery     = 15 * time.Minute
	keepLinkEvery = 12 * time.Hour
	// maxKept is the age beyond which what was kept is not used.
	//
	// Source: https://learn.microsoft.com/en-us/graph/delta-query-overview
	// (tokens of directory objects are valid for 7 days)
	maxKept = 7 * 24 * time.Hour
	// keepTimeout bounds loading and saving.
	keepTimeout = 30 * time.Second
)

// keepWhen says how urgent it is to save.
type keepWhen int

const (
	keepNowAndThen keepWhen = iota // if keepEvery has passed
	keepAtEnd                      // if there is anything new
	keepAtOnce
)

// kept is what is saved of a synchronization.
type kept struct {
	link  string    // the next request
	at    time.Time // when Graph made the link, or nearly
	whole bool      // users are all there are; if not, the link leads to more
	users *index
}

// keeper loads and saves.
type keeper struct {
	store SyncState // nil: keeps nothing
	owner string
	clk   clock.Clock
	log   *slog.Logger

	changes int  // since it was last saved
	moved   bool // the link is another one
	saved   time.Time
	failing bool
}

// load fills x with what was kept; false if that is nothing, or nothing that
// can be used.
func (k *keeper) load(ctx context.Context, x *index) (*kept, bool) {
	k.saved = k.clk.Now()
	if k.store == nil {
		return nil, false
	}
	ctx, cancel := context.WithTimeout(ctx, keepTimeout)
	defer cancel()
	raw, err := k.store.Load(ctx)
	if err == nil && len(raw) == 0 {
		k.log.Info("no directory was kept; reading it from the beginning")
		return nil, false
	}
	var got *kept
	if err == nil {
		got, err = decodeState(raw, k.owner, x)
	}
	if err == nil && k.clk.Now().Sub(got.at) > maxKept {
		err = fmt.Errorf("it is of %s, which is too long ago", got.at.Format(time.RFC3339))
	}
	if err != nil {
		k.log.Warn("the directory that was kept cannot be used; reading it from the beginning", "error", err)
		return nil, false
	}
	return got, true
}

// keep saves, if it is time.
func (k *keeper) keep(ctx context.Context, when keepWhen, what *kept) {
	if k.store == nil {
		return
	}
	now := k.clk.Now()
	age := now.Sub(k.saved)
	due := k.moved && age >= keepLinkEvery || k.changes > 0 && age >= keepEvery
	if !due && when != keepAtOnce && (when != keepAtEnd || k.changes == 0) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, keepTimeout)
	defer cancel()
	err := k.store.Save(ctx, encodeState(k.owner, what))
	k.saved = now // after a failure too: the next try has time
	switch {
	case err == nil:
		k.changes, k.moved, k.failing = 0, false, false
	case !k.failing:
		k.failing = true
		k.log.Warn("the directory cannot be kept; a restart will read it from the beginning", "error", err)
	}
}

// A state is
//
//	magic and version    8 bytes
//	SHA-256 of the rest  32 bytes
//	deflated:            owner, properties, link, time, whole, number of users
//	                     and of each its id and its properties
//
// where a text is its length and its bytes, a list its length and its texts,
// and a number a varint. What is searched is not in it: it follows from the rest.
const (
	stateMagic = "ucwadir\x01" // the last byte is the version
	stateHead  = len(stateMagic) + sha256.Size
)

// Bounds of what is read from a state.
const (
	maxStateText = 1 << 16
	maxStateList = 1 << 14
)

func stateProperties() string { return strings.Join(UserFields, ",") }

func encodeState(owner string, s *kept) []byte {
	var out bytes.Buffer
	out.Write(make([]byte, stateHead))
	// The level is a valid one, and a bytes.Buffer takes everything.
	zip, _ := flate.NewWriter(&out, flate.BestSpeed)
	w := stateWriter{w: bufio.NewWriterSize(zip, 1<<16)}
	n, _ := s.users.size()
	w.text(owner)
	w.text(stateProperties())
	w.text(s.link)
	w.number(uint64(s.at.Unix()))
	w.flag(s.whole)
	w.number(uint64(n))
	s.users.each(func(e *entry) bool {
		u := e.user()
		_, _ = w.w.Write(e.key[:])
		w.user(&u)
		return true
	})
	_ = w.w.Flush()
	_ = zip.Close()
	raw := out.Bytes()
	copy(raw, stateMagic)
	sum := sha256.Sum256(raw[stateHead:])
	copy(raw[len(stateMagic):], sum[:])
	return raw
}

type stateWriter struct {
	w       *bufio.Writer
	scratch [binary.MaxVarintLen64]byte
}

func (w *stateWriter) number(n uint64) {
	_, _ = w.w.Write(w.scratch[:binary.PutUvarint(w.scratch[:], n)])
}

func (w *stateWriter) flag(set bool) {
	if set {
		w.number(1)
		return
	}
	w.number(0)
}

func (w *stateWriter) text(s string) {
	w.number(uint64(len(s)))
	_, _ = w.w.WriteString(s)
}

func (w *stateWriter) user(u *User) {
	for _, s := range u.names() {
		w.text(*s)
	}
	for _, s := range u.texts() {
		w.text(*s)
	}
	for _, lists := range [...][2]*[]string{u.addresses(), u.lists()} {
		for _, l := range lists {
			w.number(uint64(len(*l)))
			for _, s := range *l {
				w.text(s)
			}
		}
	}
}

// Reasons why a state is of no use.
var (
	errOtherState   = errors.New("it is not the state of a directory, or of another version of the gateway")
	errDamagedState = errors.New("it is damaged")
	errForeignState = errors.New("it is of another tenant")
	errOtherFields  = errors.New("it holds other properties of users")
	errLargeState   = errors.New("it holds more users than the limit")
)

// decodeState reads a state into x, which is empty and is left half filled if
// there is an error.
func decodeState(raw []byte, owner string, x *index) (*kept, error) {
	if len(raw) < stateHead || string(raw[:len(stateMagic)]) != stateMagic {
		return nil, errOtherState
	}
	if sum := sha256.Sum256(raw[stateHead:]); string(sum[:]) != string(raw[len(stateMagic):stateHead]) {
		return nil, errDamagedState
	}
	r := stateReader{r: bufio.NewReaderSize(flate.NewReader(bytes.NewReader(raw[stateHead:])), 1<<16)}
	if r.text() != owner && r.err == nil {
		return nil, errForeignState
	}
	if r.text() != stateProperties() && r.err == nil {
		return nil, errOtherFields
	}
	got := &kept{link: r.text(), at: time.Unix(int64(r.number()), 0), whole: r.number() == 1, users: x}
	n := r.number()
	if r.err == nil && n > uint64(x.limit) {
		return nil, errLargeState
	}
	page := make([]User, 0, 256)
	for range n {
		u := r.user()
		if r.err != nil {
			break
		}
		if page = append(page, u); len(page) == cap(page) {
			x.apply(page)
			page = page[:0]
		}
	}
	x.apply(page)
	if users, _ := x.size(); r.err != nil || got.link == "" || uint64(users) != n {
		return nil, errDamagedState
	}
	return got, nil
}

// stateReader reads until the first error, and then nothing.
type stateReader struct {
	r   *bufio.Reader
	err error
}

func (r *stateReader) number() uint64 {
	if r.err != nil {
		return 0
	}
	n, err := binary.ReadUvarint(r.r)
	r.err = err
	return n
}

func (r *stateReader) bytes(n uint64) []byte {
	if r.err == nil && n > maxStateText {
		r.err = errDamagedState
	}
	if r.err != nil {
		return nil
	}
	b := make([]byte, n)
	_, r.err = io.ReadFull(r.r, b)
	return b
}

func (r *stateReader) text() string { return string(r.bytes(r.number())) }

func (r *stateReader) user() User {
	var k userKey
	copy(k[:], r.bytes(uint64(len(k))))
	u := User{ID: k.String()}
	for _, s := range u.names() {
		*s = r.text()
	}
	for _, s := range u.texts() {
		*s = r.text()
	}
	for _, lists := range [...][2]*[]string{u.addresses(), u.lists()} {
		for _, l := range lists {
			n := r.number()
			if r.err == nil && n > maxStateList {
				r.err = errDamagedState
			}
			for range n {
				if r.err != nil {
					return u
				}
				*l = append(*l, r.text())
			}
		}
	}
	return u
}
