package redisshare

import (
	"encoding/binary"
	"errors"
	"strconv"
	"time"

	"github.com/google/uuid"

	"ucwagate/graphsrc"
	"ucwagate/mapping"
)

const (
	idSize   = 16
	sameSize = idSize + 4 + 3 // a reading of somebody who has not changed
	maxAge   = 1<<24 - 1      // milliseconds that fit into it
	timeSize = 13             // decimal digits of a time in milliseconds
	headSize = timeSize + 4 + 1 + timeSize
	absent   = 0x80 // in the byte of refusals
	maxText  = 255  // bytes of a sequence number
)

var errMalformed = errors.New("what is stored is malformed")

// encodeWords is never empty.
func encodeWords(p *mapping.Presence) string {
	b := make([]byte, 0, 8+len(p.Availability)+len(p.Activity)+len(p.WorkLocation)+len(p.StatusMessage)+len(p.OutOfOfficeMessage))
	if p.OutOfOffice {
		b = append(b, 1)
	} else {
		b = append(b, 0)
	}
	for _, s := range texts(p) {
		b = binary.AppendUvarint(b, uint64(len(*s)))
		b = append(b, *s...)
	}
	return string(b)
}

func texts(p *mapping.Presence) [5]*string {
	return [...]*string{&p.Availability, &p.Activity, &p.WorkLocation, &p.StatusMessage, &p.OutOfOfficeMessage}
}

func decodeWords(s string) (p mapping.Presence, err error) {
	if s == "" {
		return p, errMalformed
	}
	p.OutOfOffice = s[0] == 1
	b := []byte(s[1:])
	for _, t := range texts(&p) {
		n, size := binary.Uvarint(b)
		if size <= 0 || n > uint64(len(b)-size) {
			return mapping.Presence{}, errMalformed
		}
		*t = string(b[size : size+int(n)])
		b = b[size+int(n):]
	}
	return p, nil
}

// state is the byte of refusals.
func state(r *graphsrc.SharedReading) string {
	b := min(r.Refusals, absent-1)
	if r.Absent {
		b |= absent
	}
	return string([]byte{b})
}

func sequence(r *graphsrc.SharedReading) string {
	if len(r.Sequence) > maxText {
		return ""
	}
	return r.Sequence
}

func digest(r *graphsrc.SharedReading) string {
	return string(binary.BigEndian.AppendUint32(nil, r.Digest()))
}

// appendSame appends a reading of somebody who has not changed; not ok if it is
// too old for that.
func appendSame(b []byte, r *graphsrc.SharedReading, age time.Duration) ([]byte, bool) {
	ms := max(age.Milliseconds(), 0)
	if ms > maxAge {
		return b, false
	}
	b = append(b, r.ID[:]...)
	b = binary.BigEndian.AppendUint32(b, r.Digest())
	return append(b, byte(ms>>16), byte(ms>>8), byte(ms)), true
}

// decodeSame reads one of them; told is when, in milliseconds of Redis.
func decodeSame(s string, told int64) (id uuid.UUID, digest uint32, readAt int64) {
	copy(id[:], s)
	b := []byte(s[idSize:sameSize])
	return id, binary.BigEndian.Uint32(b), told - (int64(b[4])<<16 | int64(b[5])<<8 | int64(b[6]))
}

// decodeRecord reads a record; local makes a time of milliseconds of Redis.
func decodeRecord(id, s string, local func(ms int64) time.Time) (r graphsrc.SharedReading, err error) {
	if len(id) != idSize || len(s) < headSize+2 {
		return r, errMalformed
	}
	copy(r.ID[:], id)
	read, err1 := strconv.ParseInt(s[:timeSize], 10, 64)
	active, err2 := strconv.ParseInt(s[timeSize+5:headSize], 10, 64)
	if err1 != nil || err2 != nil {
		return r, errMalformed
	}
	r.ReadAt = local(read)
	if active > 0 {
		r.LastActive = local(active)
	}
	b := s[timeSize+4]
	r.Refusals, r.Absent = b&(absent-1), b&absent != 0
	var ok1, ok2 bool
	rest := s[headSize:]
	r.Revision, rest, ok1 = cutText(rest)
	r.Sequence, rest, ok2 = cutText(rest)
	if !ok1 || !ok2 {
		return r, errMalformed
	}
	r.Words, err = decodeWords(rest)
	return r, err
}

// cutText takes a text with its length before it from the beginning of s.
func cutText(s string) (text, rest string, ok bool) {
	if s == "" || len(s) <= int(s[0]) {
		return "", "", false
	}
	n := int(s[0])
	return s[1 : 1+n], s[1+n:], true
}

// position is an entry of the stream: its id and its number.
type position struct {
	id string
	n  int64
}

func (p position) String() string { return p.id + " " + strconv.FormatInt(p.n, 10) }
