package contactfile

import (
	"errors"
	"fmt"
	"strings"
)

// What a change may be refused for, besides *InvalidError, *FileError and what
// the operating system says. All are wrapped with what was being done.
var (
	// ErrReadOnly: the operator does not allow changes.
	ErrReadOnly = errors.New("the contact lists are read-only")
	// ErrNotFound: the owner has no such group, contact or distribution group.
	ErrNotFound = errors.New("not in the contact list")
	// ErrExists: the contact is in that group already, or the owner has the
	// distribution group or a group of that name already.
	ErrExists = errors.New("already in the contact list")
	// ErrChanged: the group is not any more what the caller has seen.
	ErrChanged = errors.New("the group has changed meanwhile")
	// ErrTooManyContacts: the owner has Options.MaxContacts contacts.
	ErrTooManyContacts = errors.New("too many contacts")
	// ErrTooManyGroups: the owner has Options.MaxGroups groups.
	ErrTooManyGroups = errors.New("too many groups")
	// ErrFull: the file would be larger than 16 MiB.
	ErrFull = errors.New("the file of contact lists is full")
)

// InvalidError says that an argument cannot be what it is meant to be.
type InvalidError struct {
	Field   string // "owner", "address" or "name"
	Allowed string // what is allowed, to follow "must be"
}

func (e *InvalidError) Error() string { return "the " + e.Field + " must be " + e.Allowed }

// Problem is one fault of a file.
type Problem struct {
	Line    int // from 1; 0 where no line is to blame
	Message string
}

// FileError says what is wrong with the text of a file.
type FileError struct {
	Path     string
	Problems []Problem // in the order of the file, at least one
}

// maxShown bounds the problems that one message lists.
const maxShown = 10

func (e *FileError) Error() string {
	var lines []string
	for i, p := range e.Problems {
		if i == maxShown {
			lines = append(lines, fmt.Sprintf("%s: and %d more", e.Path, len(e.Problems)-i))
			break
		}
		if p.Line > 0 {
			lines = append(lines, fmt.Sprintf("%s:%d: %s", e.Path, p.Line, p.Message))
		} else {
			lines = append(lines, e.Path+": "+p.Message)
		}
	}
	return strings.Join(lines, "\n")
}
