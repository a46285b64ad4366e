// Package delegated owns the sign-in of a helper account: a user in whose name
// the gateway subscribes to presence, for which Graph knows no permission of
// applications.
//
// A person signs the account in once, by device code; from then on a refresh
// token stands for it, which Entra ID replaces at each use. The token lives in
// one file that the operator names, so that the gateway survives a restart and
// a command of its own can replace the sign-in while the gateway runs:
//
//   - the file is replaced as a whole, with mode 0600, whenever a token was
//     replaced, and is read again when another process has changed it;
//   - one process at a time uses the refresh token: a lock on a file beside it
//     keeps replicas from using a token that the other has just replaced;
//   - where the file cannot be written, which is logged once, the newest token
//     is kept in memory.
//
// Nothing secret is in an error, a log or the printed form of anything here.
//
// The package must never know what the tokens are used for.
package delegated
