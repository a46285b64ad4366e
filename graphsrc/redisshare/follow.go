package redisshare

import (
	"context"
	"strconv"
	"time"

	"github.com/redis/rueidis"

	"ucwagate/graphsrc"
)

// entry is one entry of the stream.
type entry struct {
	position
	at     int64 // when it was told, in milliseconds of Redis
	who    string
	fields []rueidis.XRangeFieldValue // those after t, n and w
}

// read returns the entries after one; none if there are none after a while.
func (s *Share) read(ctx context.Context, after string, wait time.Duration) ([]entry, error) {
	// Not a deadline: with one the client does not look at anything else, and the
	// end of ctx would wait for it.
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer time.AfterFunc(wait+blockSlack, cancel).Stop()
	streams, err := s.o.Client.Do(ctx, s.o.Client.B().Xread().Count(readCount).Block(wait.Milliseconds()).
		Streams().Key(s.keys[2]).Id(after).Build()).AsXReadSlices()
	if rueidis.IsRedisNil(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	entries := make([]entry, 0, len(streams[s.keys[2]]))
	for _, x := range streams[s.keys[2]] {
		e := entry{position: position{id: x.ID}}
		if f := x.FieldValues; len(f) >= 3 && f[0].Field == "t" && f[1].Field == "n" && f[2].Field == "w" {
			e.at, _ = strconv.ParseInt(f[0].Value, 10, 64)
			e.n, _ = strconv.ParseInt(f[1].Value, 10, 64) // 0 is no number: a gap
			e.who, e.fields = f[2].Value, f[3:]
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// follow hands on what is told, until ctx ends.
func (s *Share) follow(ctx context.Context, m graphsrc.Member) {
	var at position
	epoch, whole := "", false // whole: nothing up to at is missing
	var seen *standing
	for ctx.Err() == nil {
		st := s.standing.Load()
		if st == nil {
			s.pause(ctx, errorPause/10) // the first heartbeat
			continue
		}
		if !whole || st != seen && (st.epoch != epoch || st.lost) {
			now, err := s.where(ctx)
			if err == nil {
				err = m.Resync(ctx)
			}
			if err != nil {
				s.failed(ctx, "records could not be read", err)
				continue
			}
			at, epoch, whole = now.end, now.epoch, true
			s.followed.Store(at.n)
		}
		seen = st
		asked := s.elapsed()
		entries, err := s.read(ctx, at.id, s.block)
		if err != nil {
			s.failed(ctx, "the stream could not be read", err)
			continue
		}
		for i := range entries {
			e := &entries[i]
			if e.n != at.n+1 {
				s.o.Logger.Info("some of what others have read was missed, the records are read", "tenant", s.o.Tenant)
				whole = false
				break
			}
			at = e.position
			s.followed.Store(at.n)
			if e.who != s.who {
				s.hear(ctx, m, e)
			}
		}
		if whole && len(entries) < readCount { // else there may be more
			s.heard.Store(asked)
		}
	}
}

// where asks how things stand, without a claim to the lead.
func (s *Share) where(ctx context.Context) (st standing, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	answer, err := s.o.Client.Do(ctx, s.o.Client.B().Hmget().Key(s.keys[1]).Field("epoch", "n", "last").Build()).AsStrSlice()
	if err != nil {
		return st, err
	}
	st.epoch, st.end = answer[0], position{id: answer[2]}
	if st.end.id == "" {
		st.end.id = "0-0"
		return st, nil
	}
	st.end.n, err = strconv.ParseInt(answer[1], 10, 64)
	return st, err
}

// Hears implements graphsrc.Shared: all was heard that was told before now minus
// Delay, with a fifth of it for what is not known exactly of Redis' clock.
func (s *Share) Hears() bool {
	at := s.heard.Load()
	return at != 0 && s.elapsed()-at <= int64(s.o.Delay)*4/5
}

// failed rests after an error.
func (s *Share) failed(ctx context.Context, what string, err error) {
	if ctx.Err() == nil {
		s.o.Logger.Debug(what, "tenant", s.o.Tenant, "error", err)
		s.pause(ctx, errorPause)
	}
}

// hear hands an entry on.
func (s *Share) hear(ctx context.Context, m graphsrc.Member, e *entry) {
	var heard []graphsrc.Heard
	for _, f := range e.fields {
		switch f.Field {
		case "u":
			if heard == nil {
				heard = make([]graphsrc.Heard, 0, len(f.Value)/sameSize+len(e.fields)-1)
			}
			for v := f.Value; len(v) >= sameSize; v = v[sameSize:] {
				id, digest, readAt := decodeSame(v, e.at)
				heard = append(heard, graphsrc.Heard{
					SharedReading: graphsrc.SharedReading{ID: id, ReadAt: s.local(readAt)}, Same: true, Digest: digest,
				})
			}
		case "f", "c", "a":
			if r, ok := s.record(f.Value, e.id); ok {
				h := graphsrc.Heard{SharedReading: r, Changed: f.Field != "f"}
				if f.Field == "c" {
					h.ChangedAt = s.local(e.at)
				}
				heard = append(heard, h)
			}
		}
	}
	if len(heard) > 0 {
		m.Hear(ctx, heard)
	}
}

// record reads a whole reading of an entry.
func (s *Share) record(v, revision string) (graphsrc.SharedReading, bool) {
	if len(v) < idSize {
		return graphsrc.SharedReading{}, false
	}
	r, err := decodeRecord(v[:idSize], v[idSize:], s.local)
	if err != nil {
		s.o.Logger.Error("an entry could not be read", "tenant", s.o.Tenant, "entry", revision, "error", err)
		return r, false
	}
	r.Revision = revision
	return r, true
}
