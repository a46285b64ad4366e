// Package people invents the population of a simulated tenant: users, the
// management tree, groups, mailbox contacts and photos.
//
// Everything is a formula over a user's index, so that a directory of a
// million users costs no memory of its own: object ids and addresses can be
// turned back into the index without a table. Only what was changed later
// (renames, removals) is stored.
//
// It must never know HTTP, tokens or presence.
package people
