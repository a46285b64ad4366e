package people

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
)

// kind keeps the object ids of different sorts of things apart.
type kind uint64

const (
	kindUser kind = iota + 1
	kindGroup
	kindRole
	kindPlace
)

// mix is the finalizer of SplitMix64: a bijection of 64-bit words in which
// every input bit moves about half of the output bits.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// hash draws a number for a purpose from the seed and an index.
func (d *Directory) hash(purpose string, index int) uint64 {
	h := mix(d.seed)
	for _, b := range []byte(purpose) {
		h = (h ^ uint64(b)) * 0x100000001b3
	}
	return mix(h ^ mix(uint64(index)))
}

const feistelRounds = 4

// feistel permutes 32-bit numbers under a key; unfeistel undoes it. It only
// has to look unordered, not to resist anyone.
func feistel(key uint64, x uint32) uint32 {
	l, r := uint16(x>>16), uint16(x)
	for round := range feistelRounds {
		l, r = r, l^uint16(mix(key^uint64(round)<<32^uint64(r)))
	}
	return uint32(l)<<16 | uint32(r)
}

func unfeistel(key uint64, x uint32) uint32 {
	l, r := uint16(x>>16), uint16(x)
	for round := feistelRounds - 1; round >= 0; round-- {
		l, r = r^uint16(mix(key^uint64(round)<<32^uint64(l))), l
	}
	return uint32(l)<<16 | uint32(r)
}

// objectID makes the GUID (version 4 form, lower case) of the index-th thing
// of a kind: the first 32 bits are the permuted index, the rest is a hash.
func (d *Directory) objectID(k kind, index int) string {
	key := mix(d.seed ^ uint64(k)<<56)
	var raw [16]byte
	binary.BigEndian.PutUint32(raw[0:], feistel(key, uint32(index)))
	tail := mix(key ^ uint64(index))
	binary.BigEndian.PutUint64(raw[4:], tail)
	binary.BigEndian.PutUint32(raw[12:], uint32(mix(tail)))
	raw[6] = raw[6]&0x0f | 0x40
	raw[8] = raw[8]&0x3f | 0x80
	return formatGUID(raw)
}

// indexOf is the reverse of objectID.
func (d *Directory) indexOf(k kind, id string) (int, bool) {
	raw, ok := parseGUID(id)
	if !ok {
		return 0, false
	}
	index := int(unfeistel(mix(d.seed^uint64(k)<<56), binary.BigEndian.Uint32(raw[0:])))
	return index, strings.EqualFold(d.objectID(k, index), id)
}

func formatGUID(raw [16]byte) string {
	var text [36]byte
	hex.Encode(text[0:8], raw[0:4])
	hex.Encode(text[9:13], raw[4:6])
	hex.Encode(text[14:18], raw[6:8])
	hex.Encode(text[19:23], raw[8:10])
	hex.Encode(text[24:36], raw[10:16])
	text[8], text[13], text[18], text[23] = '-', '-', '-', '-'
	return string(text[:])
}

func parseGUID(text string) (raw [16]byte, ok bool) {
	if len(text) != 36 || text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return raw, false
	}
	digits := text[0:8] + text[9:13] + text[14:18] + text[19:23] + text[24:36]
	_, err := hex.Decode(raw[:], []byte(digits))
	return raw, err == nil
}

// IsGUID reports whether text has the form of an object id.
func IsGUID(text string) bool {
	_, ok := parseGUID(text)
	return ok
}

// GUID draws a GUID for a purpose from a seed, for ids that are no user's.
func GUID(seed uint64, purpose string) string {
	d := Directory{seed: seed}
	h := d.hash(purpose, 0)
	return d.objectID(kindPlace, int(uint32(h)))
}
