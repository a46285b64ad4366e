package redisshare

import (
	"context"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"ucwagate/graphsrc"
)

const (
	// leadBlock is how long a leader waits for entries at a time.
	leadBlock = 500 * time.Millisecond
	// maxDeliveryPause bounds the pause before a change is reported again.
	maxDeliveryPause = 5 * time.Second
	// maxTries is how often changes are reported of which none could be, while the
	// others wait: about half a minute.
	maxTries = 10
)

// lead reports changes in every term that begins, until ctx ends.
func (s *Share) lead(ctx context.Context, m graphsrc.Member) {
	for {
		select {
		case st := <-s.led:
			s.o.Logger.Info("reading presence for all", "tenant", s.o.Tenant, "term", st.term)
			t := &term{Share: s, member: m, number: st.term, tenure: st.tenure, at: parsePosition(st.mark)}
			t.run(ctx)
			s.o.Logger.Info("another one may read presence for all", "tenant", s.o.Tenant, "term", st.term)
		case <-ctx.Done():
			return
		}
	}
}

// term is the time of one lead.
type term struct {
	*Share
	member graphsrc.Member
	number int64
	tenure int64
	at     position // up to where changes were reported, but for those owed
	marked position
	debt   debt
}

// lasts says that nobody else leads, nor this one in another term.
func (t *term) lasts() bool {
	return t.Role() == graphsrc.Leading && t.Share.tenure.Load() == t.tenure
}

func (t *term) run(ctx context.Context) {
	t.marked = t.at
	for ctx.Err() == nil && t.lasts() {
		entries, err := t.read(ctx, t.at.id, leadBlock)
		if err != nil {
			t.failed(ctx, "the stream could not be read", err)
			continue
		}
		for i := range entries {
			if !t.deliver(ctx, &entries[i]) {
				break
			}
		}
		t.settle(ctx)
		t.mark(ctx)
	}
}

// deliver reports the changes of an entry, and says whether to go on with the next.
func (t *term) deliver(ctx context.Context, e *entry) bool {
	if e.n != t.at.n+1 {
		return t.deliverRecords(ctx)
	}
	changes := t.changes(e)
	if len(changes) > 0 {
		early := time.Duration(e.at-t.theirs())*time.Millisecond + t.o.Delay
		if !t.pause(ctx, min(early, t.o.Delay)) || !t.report(ctx, changes) {
			return false
		}
	}
	t.at = e.position
	return true
}

func (t *term) changes(e *entry) []graphsrc.SharedChange {
	var changes []graphsrc.SharedChange
	for i, f := range e.fields {
		if f.Field != "c" && f.Field != "a" {
			continue
		}
		r, ok := t.record(f.Value, e.id)
		if !ok {
			continue
		}
		c := graphsrc.SharedChange{After: r, At: t.local(e.at), Revision: e.id, Unsure: true}
		if i+1 < len(e.fields) {
			switch next := e.fields[i+1]; next.Field {
			case "b":
				words, err := decodeWords(next.Value)
				c.Before, c.First, c.Unsure = words, next.Value == "", next.Value != "" && err != nil
			case "s":
				c.Shown = t.shown(next.Value)
			}
		}
		changes = append(changes, c)
	}
	return changes
}

// shown reads lines of a time and a name.
func (t *term) shown(lines string) (all []graphsrc.Shown) {
	for line := range strings.Lines(lines) {
		at, by, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		if ms, err := strconv.ParseInt(at, 10, 64); err == nil {
			all = append(all, graphsrc.Shown{By: by, At: t.local(ms)})
		}
	}
	return all
}

// report reports changes; false if the term ends. Those that cannot be reported
// while others can are owed, and keep nobody else waiting; those of a part of the
// store that is known to be away are owed at once.
func (t *term) report(ctx context.Context, changes []graphsrc.SharedChange) bool {
	changes = t.debt.queue(changes)
	wait := errorPause
	for tries := 1; len(changes) > 0; tries++ {
		if ctx.Err() != nil || !t.lasts() {
			return false
		}
		failed, err := t.member.Deliver(ctx, changes)
		if len(failed) == 0 {
			break
		}
		t.o.Logger.Debug("changes could not be reported", "tenant", t.o.Tenant, "changes", len(failed), "error", err, "retry_in", wait)
		if len(failed) < len(changes) || len(t.debt.owed) > 0 || tries == maxTries {
			t.debt.owe(failed, t.at, t.elapsed()+int64(wait))
			break
		}
		t.pause(ctx, wait)
		wait = min(2*wait, maxDeliveryPause)
	}
	return true
}

// settle reports what is owed, if it is time to.
func (t *term) settle(ctx context.Context) {
	for most := probes; ctx.Err() == nil && t.lasts(); most = graphsrc.ShareBatch {
		began := t.elapsed()
		due := t.debt.due(began, most)
		if len(due) == 0 {
			return
		}
		failed, err := t.member.Deliver(ctx, due)
		if len(failed) > 0 {
			t.o.Logger.Warn("changes of some people cannot be reported; it is tried again", "tenant", t.o.Tenant, "people", len(failed), "error", err)
		}
		now := t.elapsed()
		t.debt.paid(due, failed, now+max(int64(debtPause), 5*(now-began)))
	}
}

// deliverRecords reports everybody whose record is newer than what was reported:
// entries in between are gone. It says whether to go on with the next entry, which
// is never so: where to go on has changed.
func (t *term) deliverRecords(ctx context.Context) bool {
	now, err := t.where(ctx)
	if err != nil {
		t.failed(ctx, "the stream could not be read", err)
		return false
	}
	t.o.Logger.Warn("some changes are not in the stream any more, the records are compared", "tenant", t.o.Tenant)
	since := t.at.id
	if now.end.n < t.at.n {
		since = "0-0" // the data was lost: no record is older
	}
	people := t.member.Watched()
	for from := 0; from < len(people); from += graphsrc.ShareBatch {
		if !t.deliverSome(ctx, people[from:min(from+graphsrc.ShareBatch, len(people))], since) {
			return false
		}
	}
	t.at = now.end
	return false
}

func (t *term) deliverSome(ctx context.Context, people []uuid.UUID, since string) bool {
	records, err := t.Recall(ctx, people)
	if err != nil {
		t.failed(ctx, "records could not be read", err)
		return false
	}
	var changes []graphsrc.SharedChange
	for _, r := range records {
		if later(r.Revision, since) {
			changes = append(changes, graphsrc.SharedChange{After: r, Unsure: true, Revision: r.Revision})
		}
	}
	return len(changes) == 0 || t.report(ctx, changes)
}

// mark notes in Redis up to where changes were reported.
func (t *term) mark(ctx context.Context) {
	at := t.debt.before(t.at)
	if at == t.marked || !t.lasts() {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, t.o.Timeout)
	defer cancel()
	err := markScript.Exec(ctx, t.o.Client, t.keys[:2], []string{t.who, strconv.FormatInt(t.number, 10), at.String()}).Error()
	if err != nil {
		t.o.Logger.Debug("the mark could not be moved", "tenant", t.o.Tenant, "error", err)
		return
	}
	t.marked = at
}

// parsePosition is the inverse of position.String; of anything else it is the
// beginning.
func parsePosition(s string) position {
	id, n, ok := strings.Cut(s, " ")
	if number, err := strconv.ParseInt(n, 10, 64); ok && err == nil {
		return position{id: id, n: number}
	}
	return position{id: "0-0"}
}

// later says that an entry comes after another.
func later(a, b string) bool {
	ams, aseq := parseID(a)
	bms, bseq := parseID(b)
	return ams > bms || ams == bms && aseq > bseq
}

func parseID(id string) (ms, seq uint64) {
	first, second, _ := strings.Cut(id, "-")
	ms, _ = strconv.ParseUint(first, 10, 64)
	seq, _ = strconv.ParseUint(second, 10, 64)
	return ms, seq
}
