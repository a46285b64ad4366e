package graphsrc

import "github.com/google/uuid"

// userKey is a user's object id in 16 bytes instead of 36.
type userKey = uuid.UUID

// parseKey reads an object id in its one written form, of any case. It does
// not allocate.
func parseKey(id string) (userKey, bool) {
	// uuid.Parse accepts braces, "urn:uuid:" and bare digits too; none of them
	// is 36 characters long.
	if len(id) != 36 {
		return userKey{}, false
	}
	k, err := uuid.Parse(id)
	return k, err == nil
}
