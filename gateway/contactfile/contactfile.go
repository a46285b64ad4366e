package contactfile

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/clock"
)

// Defaults of Options. UCWA documents 250 as the default size of a contact
// list; it knows a limit of groups but gives no number.
const (
	DefaultMaxContacts = 250
	DefaultMaxGroups   = 64
)

const (
	maxSize = 16 << 20 // bytes of a file

	checkInterval = time.Second
	// settleTime is how old a file's modification time must be to say that
	// the file has not changed since: file systems count it in steps of up to
	// two seconds, and two changes may share one.
	settleTime = 2 * time.Second
)

// Options say what a File allows.
type Options struct {
	// Writable lets owners change their lists.
	Writable bool
	// MaxContacts is how many distinct contacts one owner may have, over all
	// groups; zero or less is DefaultMaxContacts.
	MaxContacts int
	// MaxGroups is how many groups one owner may have, distribution groups
	// among them; zero or less is DefaultMaxGroups.
	MaxGroups int
	Clock     clock.Clock  // nil is clock.System
	Logger    *slog.Logger // nil discards
}

// The ids of the two groups that every owner has.
const (
	Pinned  = "pinned"
	Default = "default"
)

// List is what one owner has. Addresses are in the order of the file, each
// once per group.
type List struct {
	Pinned       []string
	Others       []string // the default group
	Groups       []Group
	Distribution []Distribution
}

// Group is a group of an owner's own.
type Group struct {
	ID      string // lower-case letters, digits and hyphens, 1 to 64
	Name    string // 1 to 256 characters
	Members []string
}

// Distribution is a distribution group on an owner's list; its members are not
// kept here.
type Distribution struct {
	Address string
	Name    string // the address if the file gives none
}

func (l List) clone() List {
	l.Pinned, l.Others = slices.Clone(l.Pinned), slices.Clone(l.Others)
	l.Groups, l.Distribution = slices.Clone(l.Groups), slices.Clone(l.Distribution)
	for i, g := range l.Groups {
		l.Groups[i] = g.clone()
	}
	return l
}

func (g Group) clone() Group {
	g.Members = slices.Clone(g.Members)
	return g
}

// File is an operator's file of contact lists. Its methods may be called from
// several goroutines, and several Files, in one process or in several of one
// machine, may share one path.
type File struct {
	path        string
	writable    bool
	maxContacts int
	maxGroups   int
	clock       clock.Clock
	log         *slog.Logger
	disk        disk

	// current is the last good content; what it points to never changes.
	current atomic.Pointer[map[string]List]

	// mu is held by whoever reads or writes the file, and guards the rest. List
	// never waits for it, so a disk that hangs or a lock that is held elsewhere
	// does not hold up readers.
	mu         sync.Mutex
	checked    time.Time
	seen       os.FileInfo // of the text that was read last; nil before the first
	settled    bool        // seen is old enough to tell the file's next text
	sum        [sha256.Size]byte
	bad        error  // what is wrong with that text
	trouble    string // what was logged last and still holds
	ownerTaken bool   // logged that the file's owner could not be kept
}

// Open reads the file at path. A file that cannot be read is an error; what is
// wrong with its text is a *FileError with the line numbers. A missing file is
// an error unless o.Writable: then all lists are empty, and the first change
// makes it in its folder, which must exist.
func Open(path string, o Options) (*File, error) {
	f := &File{
		path: path, writable: o.Writable, disk: realDisk(),
		maxContacts: o.MaxContacts, maxGroups: o.MaxGroups, clock: o.Clock, log: o.Logger,
	}
	if f.maxContacts <= 0 {
		f.maxContacts = DefaultMaxContacts
	}
	if f.maxGroups <= 0 {
		f.maxGroups = DefaultMaxGroups
	}
	if f.clock == nil {
		f.clock = clock.System()
	}
	if f.log == nil {
		f.log = slog.New(slog.DiscardHandler)
	}
	f.current.Store(&map[string]List{})
	f.checked = f.clock.Now()
	if err := f.load(); err != nil {
		return nil, fmt.Errorf("reading contact lists: %w", err)
	}
	if f.seen != nil {
		return f, nil
	}
	folder, err := os.Stat(filepath.Dir(path))
	if err == nil && !folder.IsDir() {
		err = fmt.Errorf("%s is not a folder", filepath.Dir(path))
	}
	if err == nil && !f.writable {
		err = &fs.PathError{Op: "open", Path: path, Err: fs.ErrNotExist}
	}
	if err != nil {
		return nil, fmt.Errorf("reading contact lists: %w", err)
	}
	return f, nil
}

// Writable reports whether owners may change their lists.
func (f *File) Writable() bool { return f.writable }

// List returns what owner has, which is nothing for an owner the file does not
// name. The caller may keep and change it. An owner that is not an address is
// an *InvalidError; there are no other errors.
func (f *File) List(owner string) (List, error) {
	owner, err := address("owner", owner)
	if err != nil {
		return List{}, err
	}
	if f.mu.TryLock() {
		f.refresh()
		f.mu.Unlock()
	}
	return (*f.current.Load())[owner].clone(), nil
}

// refresh looks at the file again if it is time to.
func (f *File) refresh() {
	now := f.clock.Now()
	if now.Sub(f.checked) < checkInterval {
		return
	}
	f.checked = now
	err := f.load()
	switch {
	case err == nil && f.trouble != "":
		f.trouble = ""
		f.log.Info("the file of contact lists is in order again", "path", f.path)
	case err != nil && err.Error() != f.trouble:
		f.trouble = err.Error()
		f.log.Warn("the file of contact lists cannot be used; its last good content stays in force", "path", f.path, "error", err)
	}
}

// load reads the file if it has changed since it was read. A file that has
// never been there is no error.
func (f *File) load() error {
	info, err := os.Stat(f.path)
	if errors.Is(err, fs.ErrNotExist) && f.seen == nil {
		return nil
	}
	if err != nil {
		return err
	}
	if f.settled && os.SameFile(info, f.seen) && info.ModTime().Equal(f.seen.ModTime()) && info.Size() == f.seen.Size() {
		return f.bad
	}
	text, info, err := read(f.path)
	if err != nil {
		return err
	}
	if f.seen != nil && sha256.Sum256(text) == f.sum {
		f.saw(text, info)
		return f.bad
	}
	_, lists, err := parse(f.path, text)
	f.saw(text, info)
	f.took(lists, err)
	return err
}

// saw notes which text was read or written, and as which file.
func (f *File) saw(text []byte, info os.FileInfo) {
	age := f.clock.Now().Sub(info.ModTime())
	f.seen, f.sum, f.settled = info, sha256.Sum256(text), age.Abs() >= settleTime
}

// took puts lists in force, unless err says that there are none.
func (f *File) took(lists map[string]List, err error) {
	f.bad = err
	if err == nil {
		f.current.Store(&lists)
	}
}

// read returns the text of a file and the file's state before it was read.
func read(path string) ([]byte, os.FileInfo, error) {
	// Opening a pipe would wait for its other end.
	switch info, err := os.Stat(path); {
	case err != nil:
		return nil, nil, err
	case !info.Mode().IsRegular():
		return nil, nil, fmt.Errorf("%s is not a regular file", path)
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, nil, err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return nil, nil, err
	}
	var text bytes.Buffer
	if _, err := text.ReadFrom(io.LimitReader(file, maxSize+1)); err != nil {
		return nil, nil, fmt.Errorf("reading %s: %w", path, err)
	}
	if text.Len() > maxSize {
		return nil, nil, &FileError{Path: path, Problems: []Problem{{Message: "is larger than 16 MiB"}}}
	}
	return text.Bytes(), info, nil
}

// address returns s in the form in which addresses are compared.
func address(field, s string) (string, error) {
	clean, err := graphsrc.ParseAddress(s)
	if err != nil {
		return "", &InvalidError{Field: field, Allowed: "an address of the form user@domain"}
	}
	return clean, nil
}
