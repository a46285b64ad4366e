package budget

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Lessor is the bucket that several replicas share. It holds the tokens and
// leases them; lanes, clients and forecasts stay with each replica. The package
// comment says why the promise then holds for all replicas together.
type Lessor interface {
	// Terms are the same for all replicas and never change.
	Terms() LeaseTerms
	// Lease settles one Ask with the shared bucket, in one step that nothing
	// comes between. It is never called again before it has returned, and returns
	// soon after ctx has ended. After an error the ask may or may not have been
	// settled, then or later.
	Lease(ctx context.Context, ask Ask) (Grant, error)
}

// LeaseTerms is what replicas and the shared bucket agree on.
type LeaseTerms struct {
	// Replicas is the most replicas that are alive at once, at least 1. One that
	// was killed counts as alive until Detect has passed; one that closed its
	// budget does not.
	Replicas int
	// Timeout is how long an answer may take. A later one is not heeded.
	Timeout time.Duration
	// Renew is how long a replica keeps silent at most.
	Renew time.Duration
	// Life is how long a replica keeps what it has leased, counted from before
	// it asked for the last answer it got. The shared bucket forgets it Grace
	// later, counted from when it answered.
	Life, Grace time.Duration
	// Detect is after how long a silence, by the clock of the shared bucket, a
	// replica is taken for cut off.
	Detect time.Duration
	// Fallback is after how long a silence of the shared bucket, by its own
	// clock, a replica begins to pour its share by itself, and Stop when it ends
	// that.
	Fallback, Stop time.Duration
	// Forget is after how long the shared bucket forgets a replica that is cut
	// off, and gives its share to the others.
	Forget time.Duration
}

// DefaultTerms returns the terms for so many replicas.
func DefaultTerms(replicas int) LeaseTerms {
	return LeaseTerms{
		Replicas: replicas,
		Timeout:  time.Second, Renew: time.Second,
		Life: 2 * time.Second, Grace: time.Second,
		Detect: 5 * time.Second, Fallback: 12 * time.Second,
		Stop: 9*time.Minute + 30*time.Second, Forget: 10 * time.Minute,
	}
}

// Quiet is how long at most nobody asks the shared bucket while a replica is in
// touch with it: one ask that was lost, and the next.
func (t LeaseTerms) Quiet() time.Duration { return 2*t.Renew + t.Timeout }

// Validate reports everything in which the terms contradict themselves, or nil.
func (t LeaseTerms) Validate() error {
	var errs []error
	check := func(ok bool, format string, args ...any) {
		if !ok {
			errs = append(errs, fmt.Errorf(format, args...))
		}
	}
	check(t.Replicas >= 1 && t.Replicas <= maxLimit, "%d replicas are not between 1 and %d", t.Replicas, maxLimit)
	check(t.Timeout > 0 && t.Renew > 0 && t.Grace > 0, "timeout %s, renewal %s and grace %s must be above zero", t.Timeout, t.Renew, t.Grace)
	check(t.Life > t.Renew && t.Life >= t.Timeout, "the life %s of leases is not above the renewal %s, or below the timeout %s", t.Life, t.Renew, t.Timeout)
	check(t.Detect > t.Quiet(), "detection after %s is not above two renewals of %s and a timeout of %s", t.Detect, t.Renew, t.Timeout)
	silence := t.Detect + t.Timeout + t.Life + t.Grace
	check(t.Fallback > silence, "fallback after %s is not above %s: detection, a timeout and the longest lease", t.Fallback, silence)
	check(t.Stop > t.Fallback, "the end of fallback after %s is not above its beginning after %s", t.Stop, t.Fallback)
	check(t.Forget > t.Stop, "forgetting after %s is not above the end of fallback after %s", t.Forget, t.Stop)
	if len(errs) > 0 {
		return fmt.Errorf("lease terms: %w", errors.Join(errs...))
	}
	return nil
}

// Ask is what a replica tells the shared bucket, and asks of it.
type Ask struct {
	// Member is the replica, and Seq the number of this ask: each is higher than
	// those before. An ask that comes after one with a higher number is void.
	Member string
	Seq    uint64
	// Heard is the number of the last ask that the replica got an answer to; 0
	// before the first.
	Heard uint64
	// Holding is the number of leased tokens it has not sent, without those it
	// returns with this ask.
	Holding, Returned int64
	// Want is the number of tokens it asks for, and Spare that of those it takes
	// only above the reserve for others.
	Want, Spare int64
	// Charged is the number of sends that happened without asking.
	Charged int64
	// Throttled says that the service has throttled the replica: all must pause
	// for Pause from now on. Age is how long ago the request left that was
	// throttled.
	Throttled  bool
	Pause, Age time.Duration
	// Paused is how much longer nobody may send, and Slowed the present rate in
	// thousandths of a token per second, 0 if it is the plan's, as far as the
	// replica knows: a bucket that has lost its data learns it so.
	Paused time.Duration
	Slowed int64
	// Leave says that this is the last ask: the replica sends nothing any more.
	Leave bool
	// Share is what the replica's plan gives.
	Share Share
}

// Share is a plan in the numbers of the shared bucket. Rates are thousandths of a
// token per second.
type Share struct {
	Capacity, Rate int64
	// OwnCapacity and OwnRate are the part that a replica pours by itself when
	// it is cut off.
	OwnCapacity, OwnRate int64
	Window               time.Duration
}

// Grant is the answer to an Ask.
type Grant struct {
	// Tokens is the number of tokens leased.
	Tokens int64
	// Recalled says that everything the replica holds is void.
	Recalled bool
	// Again asks the replica to ask again at once: it is only then certain that
	// both know of each other, and nothing is leased before.
	Again bool
	// Level is what is in the shared bucket, in thousandths of a token, rounded
	// down; below zero while charges are paid back.
	Level int64
	// Reserve is the number of tokens that Refresh leaves in the shared bucket.
	Reserve int64
	// Rate is the present rate for all, and Flow what of it flows into the shared
	// bucket, without what is set aside for those cut off, both in thousandths of
	// a token per second.
	Rate, Flow int64
	// Wait is how long it takes until there is a token of the kind asked for.
	Wait time.Duration
	// PausedFor is how long nobody may send; 0 if there is no pause.
	PausedFor time.Duration
	// Members is the number of replicas that are heard of, the asking one
	// included, Ghosts that of those whose share is set aside, and Wanting that
	// of those who wait for tokens, always counting the asking one.
	Members, Ghosts, Wanting int
}

// SharingState says where the tokens of a budget come from.
type SharingState uint8

const (
	// Unshared budgets have no Lessor.
	Unshared SharingState = iota
	// Shared budgets lease from the shared bucket.
	Shared
	// Fallback is pouring a replica's own share, while the shared bucket is out
	// of reach.
	Fallback
	// Waiting is having nothing: the shared bucket is out of reach, and it is too
	// early or too late for the fallback.
	Waiting
)

var sharingNames = [...]string{Unshared: "unshared", Shared: "shared", Fallback: "fallback", Waiting: "waiting"}

// String returns the state's name as used in logs and metric labels.
func (s SharingState) String() string {
	if int(s) < len(sharingNames) {
		return sharingNames[s]
	}
	return fmt.Sprintf("state %d", uint8(s))
}

// SharingStats is a snapshot of what a budget has to do with others.
type SharingStats struct {
	State SharingState
	// Trips is the number of asks that were answered, Failed of those that were
	// not, and Leased of the tokens that came with the answers.
	Trips, Failed, Leased uint64
	// Stock is the number of tokens that are leased at present, granted or not.
	Stock int64
	// Members and Ghosts are those of the last Grant.
	Members, Ghosts int
	// Contact is how long ago the shared bucket was last heard of; below zero if
	// never.
	Contact time.Duration
}
