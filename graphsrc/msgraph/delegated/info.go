package delegated

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"time"

	"ucwagate/graphsrc/clock"
)

// Info is what the file of an account says of it. Nothing in it is secret.
type Info struct {
	Username           string // user principal name
	ID                 string // object id, lower case
	TenantID, ClientID string
	SignedIn           time.Time // when a person did it
	Rotated            time.Time // when the tokens were last replaced
}

// Expires returns when Entra ID ends the sign-in if it is not used until then.
func (i Info) Expires() time.Time { return i.Rotated.Add(Lifetime) }

// Read returns what a file says of its account. The error of a file that does
// not exist is fs.ErrNotExist, of any other that holds no account
// graphsrc.ErrSignInNeeded.
func Read(ctx context.Context, file string) (Info, error) {
	if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
		return Info{}, fmt.Errorf("reading the sign-in: %w", err)
	}
	c, err := newVault(file, clock.System(), slog.New(slog.DiscardHandler)).load(ctx)
	if err != nil {
		return Info{}, err
	}
	return Info{
		Username: c.Username, ID: c.ID, TenantID: c.TenantID, ClientID: c.ClientID,
		SignedIn: c.SignedIn, Rotated: c.Rotated,
	}, nil
}

// Forget signs out the account in a file by removing it; running gateways
// notice. What is not the file of an account is left alone and is an error; the
// error of a file that does not exist is fs.ErrNotExist. Entra ID learns nothing
// of it: copies of the file are good until the account's sign-ins are revoked.
func Forget(ctx context.Context, file string) error {
	return newVault(file, clock.System(), slog.New(slog.DiscardHandler)).forget(ctx)
}
