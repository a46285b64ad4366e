package redisshare

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/google/uuid"

	"ucwagate/graphsrc"
)

var errSilent = errors.New("the heartbeats are not answered")

// Tell implements graphsrc.Shared.
func (s *Share) Tell(ctx context.Context, readings []graphsrc.Told) ([]graphsrc.SharedReading, error) {
	missing, refused, err := s.tell(ctx, readings, false)
	if err != nil || len(missing) == 0 {
		return refused, err
	}
	// Of these the records are others than thought, or there are none.
	whole := make([]graphsrc.Told, 0, len(missing))
	for i := range readings {
		if missing[readings[i].ID] {
			whole = append(whole, readings[i])
		}
	}
	_, more, err := s.tell(ctx, whole, true)
	return append(refused, more...), err
}

// tell tells readings, those of people who have not changed in short unless whole
// is set. It returns those of whom the whole reading is needed.
func (s *Share) tell(ctx context.Context, readings []graphsrc.Told, whole bool) (missing map[uuid.UUID]bool, refused []graphsrc.SharedReading, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	now := s.o.Clock.Now()
	args := make([]string, 7, 7+10)
	args[0], args[1], args[2], args[3], args[4], args[5] = s.period, s.ttl, strconv.Itoa(s.o.MaxEntries), s.who, s.who, ms(s.o.Keep)
	var same []byte
	for i := range readings {
		r := &readings[i]
		if !whole && !r.Changed && len(r.Shown) == 0 && !r.Insist {
			var ok bool
			if same, ok = appendSame(same, &r.SharedReading, now.Sub(r.ReadAt)); ok {
				continue
			}
		}
		args = appendWhole(args, r, now)
	}
	args[6] = string(same)
	answer, err := tellScript.Exec(ctx, s.o.Client, s.keys, args).ToArray()
	if err != nil {
		return nil, nil, fmt.Errorf("telling readings: %w", err)
	}
	if len(answer) != 2 {
		return nil, nil, fmt.Errorf("telling readings: %w", errMalformed)
	}
	ids, _ := answer[0].ToString()
	if len(ids) >= idSize {
		missing = make(map[uuid.UUID]bool, len(ids)/idSize)
		for ; len(ids) >= idSize; ids = ids[idSize:] {
			missing[uuid.UUID([]byte(ids[:idSize]))] = true
		}
	}
	records, _ := answer[1].AsStrSlice()
	for i := 0; i+1 < len(records); i += 2 {
		r, err := decodeRecord(records[i], records[i+1], s.local)
		if err != nil {
			return nil, nil, fmt.Errorf("telling readings: %w", err)
		}
		refused = append(refused, r)
	}
	return missing, refused, nil
}

func appendWhole(args []string, r *graphsrc.Told, now time.Time) []string {
	active := int64(-1)
	if !r.LastActive.IsZero() {
		active = max(now.Sub(r.LastActive).Milliseconds(), 0)
	}
	flags := ""
	if r.Insist {
		flags += "i"
	}
	var shown strings.Builder
	for _, s := range r.Shown {
		shown.WriteString(ms(max(now.Sub(s.At), 0)) + " " + s.By + "\n")
	}
	before := ""
	if r.Before != nil {
		before = encodeWords(r.Before)
	}
	return append(args,
		string(r.ID[:]), strconv.FormatInt(max(now.Sub(r.ReadAt).Milliseconds(), 0), 10), strconv.FormatInt(active, 10), flags,
		state(&r.SharedReading), sequence(&r.SharedReading), digest(&r.SharedReading), encodeWords(&r.Words), before, shown.String())
}

// Recall implements graphsrc.Shared.
func (s *Share) Recall(ctx context.Context, people []uuid.UUID) ([]graphsrc.SharedReading, error) {
	if s.silent.Load() && s.Role() == graphsrc.Alone {
		return nil, fmt.Errorf("reading records: %w", errSilent)
	}
	ctx, cancel := context.WithTimeout(ctx, s.o.Timeout)
	defer cancel()
	args := make([]string, 1, 1+len(people))
	args[0] = s.period
	for i := range people {
		args = append(args, string(people[i][:]))
	}
	answer, err := recallScript.Exec(ctx, s.o.Client, s.keys, args).ToArray()
	if err != nil {
		return nil, fmt.Errorf("reading records: %w", err)
	}
	var out []graphsrc.SharedReading
	for i := range min(len(answer), len(people)) {
		record, err := answer[i].ToString()
		if err != nil {
			continue // there is none
		}
		r, err := decodeRecord(args[1+i], record, s.local)
		if err != nil {
			return nil, fmt.Errorf("reading records: %w", err)
		}
		out = append(out, r)
	}
	return out, nil
}
