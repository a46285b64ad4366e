package signin

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// errBusy says that the client left before its password could be checked.
var errBusy = errors.New("the client left before its password was checked")

// checkQueueTime is how long a password waits for its turn at most. A client
// whose turn does not come is told to come again, and makes room.
const checkQueueTime = 20 * time.Second

// checkPassword checks a password within the limits. With a retryAfter above
// zero the password was not looked at. The error is errBusy or one of
// PasswordSource.
func (a *Authenticator) checkPassword(ctx context.Context, user, password, client string) (id Identity, retryAfter time.Duration, err error) {
	account := a.passwords.Account(user)
	// Asked twice: now, so that a flood does not queue, and when it is this
	// one's turn, so that those in the queue count.
	if retryAfter, ok := a.attempts.Allow(account, client); !ok {
		return Identity{}, retryAfter, nil
	}
	known := a.attempts.Known(account, client)
	if err := a.checks.take(ctx, a.clk, checkQueueTime, Network(client), known); err != nil {
		return Identity{}, 0, err
	}
	defer a.checks.done()
	if retryAfter, ok := a.attempts.Allow(account, client); !ok {
		return Identity{}, retryAfter, nil
	}
	id, err = a.passwords.CheckPassword(ctx, user, password)
	switch {
	case err == nil && id.Address == "":
		return Identity{}, 0, ErrUnknownUser // a source that contradicts itself
	case err == nil:
		a.attempts.Succeeded(account, client)
	case errors.Is(err, ErrWrongPassword), errors.Is(err, ErrUnknownUser):
		a.attempts.Failed(account, client)
	case ctx.Err() != nil:
		return Identity{}, 0, fmt.Errorf("%w: %w", errBusy, context.Cause(ctx))
	case !errors.Is(err, ErrUnavailable):
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return id, 0, err
}
