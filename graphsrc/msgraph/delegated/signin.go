package delegated

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/cache"
)

// Errors of SignIn.
var (
	// ErrDeclined says that the person has refused, or was refused.
	ErrDeclined = errors.New("the sign-in was declined")
	// ErrCodeExpired says that nobody has entered the code in time.
	ErrCodeExpired = errors.New("the code has expired")
)

// SignIn signs an account in by device code, and puts it into the file in
// place of the one that is there. It calls show once with what a person has to
// do: message says it in the words of Entra ID, and expires is when the code
// ends. It then waits until the person has done it, refuses (ErrDeclined), the
// code ends (ErrCodeExpired), or ctx does. It returns who has signed in, by
// user principal name.
//
// Source: https://learn.microsoft.com/en-us/entra/identity-platform/v2-oauth2-device-code
func (a *Account) SignIn(ctx context.Context, show func(message, verificationURL, userCode string, expires time.Time)) (string, error) {
	// Better now than after somebody has signed in.
	if err := a.vault.writable(); err != nil {
		return "", fmt.Errorf("signing in: %w", err)
	}
	fresh := &scratch{}
	client, err := a.newClient(fresh)
	if err != nil {
		return "", err
	}
	code, err := client.AcquireTokenByDeviceCode(ctx, a.scopes)
	if err != nil {
		return "", fmt.Errorf("getting a code: %w", signInFailure(ctx, err))
	}
	shown := code.Result
	show(shown.Message, shown.VerificationURL, shown.UserCode, shown.ExpiresOn)
	result, err := code.AuthenticationResult(ctx)
	if err != nil {
		return "", fmt.Errorf("signing in: %w", signInFailure(ctx, err))
	}
	account := result.Account
	if account.PreferredUsername == "" || account.LocalAccountID == "" || len(fresh.content) == 0 {
		return "", errors.New("signing in: the authority does not say who has signed in")
	}
	now := a.clock.Now().UTC()
	// What a person has done is kept even if ctx ends now.
	err = a.vault.replace(context.WithoutCancel(ctx), content{
		Format: format, Username: account.PreferredUsername, ID: strings.ToLower(account.LocalAccountID),
		TenantID: a.tenantID, ClientID: a.clientID, SignedIn: now, Rotated: now, Cache: fresh.content,
	})
	if err != nil {
		return "", err
	}
	return account.PreferredUsername, nil
}

// scratch is a cache of MSAL that begins empty, so that one account alone is
// in it at the end.
type scratch struct{ content []byte }

// Replace implements cache.ExportReplace.
func (s *scratch) Replace(context.Context, cache.Unmarshaler, cache.ReplaceHints) error { return nil }

// Export implements cache.ExportReplace.
func (s *scratch) Export(_ context.Context, tokens cache.Marshaler, _ cache.ExportHints) (err error) {
	s.content, err = tokens.Marshal()
	return err
}
