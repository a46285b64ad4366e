package scale

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"

	"ucwagate/graphsrc"
)

// Fault is something that goes wrong with one request.
type Fault string

// The faults.
const (
	Throttled        Fault = "429 without Retry-After"
	ThrottledFor     Fault = "429 with Retry-After"
	Internal         Fault = "500"
	Unavailable      Fault = "503"
	UnavailableFor   Fault = "503 with Retry-After"
	RefusedPerson    Fault = "400 for one id"
	UnknownPerson    Fault = "404 for one id"
	Malformed        Fault = "an answer that makes no sense"
	MissingEntries   Fault = "missing entries"
	DoubledEntries   Fault = "doubled entries"
	PermutedEntries  Fault = "permuted entries"
	UpperCaseEntries Fault = "upper-case ids"
	ForeignEntries   Fault = "entries nobody asked for"
	Hang             Fault = "no answer"
	Reset            Fault = "a connection reset"
)

// Faults lists all of them.
func Faults() []Fault {
	return []Fault{
		Throttled, ThrottledFor, Internal, Unavailable, UnavailableFor, RefusedPerson, UnknownPerson, Malformed,
		MissingEntries, DoubledEntries, PermutedEntries, UpperCaseEntries, ForeignEntries, Hang, Reset,
	}
}

// statedPause is the Retry-After of the faults that have one.
const statedPause = 3 * time.Second

// badPerson is whom the faults about one id are about: every request that asks
// for one whose number ends so is refused.
const (
	badPerson  = 77
	badModulus = 1000
)

// Mix is how often each fault happens, as shares of all requests that add up to
// at most 1.
type Mix map[Fault]float64

// draw chooses what happens to one request; nothing is the usual.
func (m Mix) draw(rnd *rand.Rand) Fault {
	if len(m) == 0 {
		return ""
	}
	at := rnd.Float64()
	for _, f := range Faults() { // in this order, so that a seed says it all
		if at -= m[f]; at < 0 {
			return f
		}
	}
	return ""
}

// bend makes the fault of an answer; false if it does not concern it.
func (f Fault) bend(q *question, rnd *rand.Rand) bool {
	switch f {
	case Throttled, ThrottledFor:
		q.status = http.StatusTooManyRequests
	case Internal:
		q.status = http.StatusInternalServerError
	case Unavailable, UnavailableFor:
		q.status = http.StatusServiceUnavailable
	case RefusedPerson, UnknownPerson:
		if !asksForBad(q.ids) {
			return false
		}
		q.status = http.StatusBadRequest
		if f == UnknownPerson {
			q.status = http.StatusNotFound
		}
		q.body = `{"error":{"code":"BadRequest","message":"an id is not to the service's liking"}}`
	case Malformed:
		q.malformed = true
	case Reset:
		q.broken = errReset
	case Hang:
	default:
		return f.bendEntries(q, rnd)
	}
	if f == ThrottledFor || f == UnavailableFor {
		q.retryAfter = fmt.Sprint(int(statedPause / time.Second))
	}
	if q.status != http.StatusOK {
		q.answer = nil
	}
	return true
}

// bendEntries alters the entries of an answer that is otherwise good. A lone
// read has one entry that can be told in upper case only.
func (f Fault) bendEntries(q *question, rnd *rand.Rand) bool {
	if len(q.answer) < 2 && f != UpperCaseEntries {
		return false
	}
	switch f {
	case MissingEntries:
		kept := q.answer[:0]
		for _, p := range q.answer {
			if rnd.IntN(3) > 0 {
				kept = append(kept, p)
			}
		}
		q.answer = kept
	case DoubledEntries:
		q.answer = append(q.answer, q.answer...)
	case PermutedEntries:
		rnd.Shuffle(len(q.answer), func(i, j int) { q.answer[i], q.answer[j] = q.answer[j], q.answer[i] })
	case UpperCaseEntries:
		for i := range q.answer {
			q.answer[i].ID = strings.ToUpper(q.answer[i].ID)
		}
	case ForeignEntries:
		// A wrong word about somebody else, and one about nobody.
		q.answer = append(q.answer,
			graphsrc.Presence{ID: ID(1 << 40), Words: pairs[len(pairs)-1]},
			graphsrc.Presence{ID: "nobody", Words: pairs[len(pairs)-1]})
	default:
		return false
	}
	return true
}

func asksForBad(ids []string) bool {
	for _, id := range ids {
		if n, ok := personOf(id); ok && n%badModulus == badPerson {
			return true
		}
	}
	return false
}
