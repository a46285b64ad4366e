// Package ticketkey keeps the key of web tickets in Redis, where every replica
// finds the same one: whichever comes first makes it.
//
// It owns that one record, its life and its repair after Redis lost it. It must
// never know what a ticket is.
//
// The record holds the key that signs, and one more that verifies where two have
// been in use: replicas that knew a key when Redis lost it bring it back, and if
// a new one has been made meanwhile they add theirs, so that what was signed with
// it remains good everywhere. The record ends Options.Keep after the last replica.
package ticketkey

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/redis/rueidis"

	"ucwagate/graphsrc/clock"
)

const (
	// keyLen is the length of a key in bytes.
	keyLen = 32
	// renewal is the time between two looks at the record, and impatience that
	// until a key is known.
	renewal    = 10 * time.Second
	impatience = 250 * time.Millisecond
)

// Options say where the key is and who wants it. All but Logger are required.
type Options struct {
	Client rueidis.Client // not closed
	Prefix string         // of Redis keys
	Keep   time.Duration  // how long a key outlives the last replica; at least the life of what it signs
	Clock  clock.Clock
	Logger *slog.Logger // nil for none
	// Learn is told the keys when they become known and when they change: the
	// first signs, all verify. It is not called concurrently.
	Learn func(keys [][]byte) error
}

// Keeper looks after the key until it is closed.
type Keeper struct {
	o    Options
	own  string   // a new key, to be used if there is none
	seen []string // the keys as told to Learn
	some atomic.Bool
	stop context.CancelFunc
	done sync.WaitGroup
}

// Keep begins to look after the key. It contacts Redis in the background, for as
// long as it takes.
func Keep(o Options) (*Keeper, error) {
	if o.Client == nil || o.Clock == nil || o.Learn == nil || o.Prefix == "" || o.Keep < time.Second {
		return nil, errors.New("ticketkey: an option is missing")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	k := &Keeper{o: o, own: newKey()}
	ctx, cancel := context.WithCancel(context.Background())
	k.stop = cancel
	k.done.Go(func() { k.run(ctx) })
	return k, nil
}

// Known reports whether there is a key.
func (k *Keeper) Known() bool { return k.some.Load() }

// Close stops looking after the key.
func (k *Keeper) Close() {
	k.stop()
	k.done.Wait()
}

func (k *Keeper) run(ctx context.Context) {
	for ctx.Err() == nil {
		pause := renewal
		if err := k.look(ctx); err != nil && ctx.Err() == nil {
			// That Redis is away is told elsewhere, once.
			k.o.Logger.DebugContext(ctx, "the key of web tickets cannot be looked after", "error", err)
		}
		if len(k.seen) == 0 {
			pause = impatience
		}
		clock.Wait(ctx, k.o.Clock, pause)
	}
}

// agreed makes the record of what is offered where there is none, adds a key that
// signs somewhere, and returns the key that signs and the other, if any.
//
//	KEYS  the record
//	ARGV  the key that signs here, or a new one; 1 if it signs or 0; the other key
//	      that is in use here, or nothing; life in ms
var agreed = rueidis.NewLuaScript(`
local signs = redis.call('HGET', KEYS[1], 'signs')
if not signs then
  signs = ARGV[1]
  redis.call('HSET', KEYS[1], 'signs', signs)
  if ARGV[3] ~= '' then redis.call('HSET', KEYS[1], 'verifies', ARGV[3]) end
elseif ARGV[2] == '1' and signs ~= ARGV[1] then
  redis.call('HSET', KEYS[1], 'verifies', ARGV[1])
end
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {signs, redis.call('HGET', KEYS[1], 'verifies') or ''}`)

func (k *Keeper) look(ctx context.Context) error {
	offer := []string{k.own, "0", ""}
	if len(k.seen) > 0 {
		offer = []string{k.seen[0], "1", ""}
		copy(offer[2:], k.seen[1:])
	}
	life := strconv.FormatInt(k.o.Keep.Milliseconds(), 10)
	texts, err := agreed.Exec(ctx, k.o.Client, []string{k.o.Prefix + ":ticketkey"}, append(offer, life)).AsStrSlice()
	if err != nil {
		return err
	}
	texts = slices.DeleteFunc(texts, func(text string) bool { return text == "" })
	if slices.Equal(texts, k.seen) {
		return nil
	}
	var keys [][]byte
	for _, text := range texts {
		key, err := base64.RawStdEncoding.DecodeString(text)
		if err != nil || len(key) != keyLen {
			return errors.New("the record is not as this program writes it")
		}
		keys = append(keys, key)
	}
	if err := k.o.Learn(keys); err != nil {
		return fmt.Errorf("using the key: %w", err)
	}
	if len(k.seen) == 0 {
		k.o.Logger.InfoContext(ctx, "web tickets are signed with the key of all replicas", "made", texts[0] == k.own)
	} else {
		k.o.Logger.WarnContext(ctx, "the key of web tickets has changed: Redis had lost it")
	}
	k.seen = texts
	k.some.Store(true)
	return nil
}

func newKey() string {
	key := make([]byte, keyLen)
	rand.Read(key) // never fails: the runtime ends the process instead
	return base64.RawStdEncoding.EncodeToString(key)
}
