package signin

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"ucwagate/graphsrc/clock"
)

// HtpasswdOptions name a password file.
type HtpasswdOptions struct {
	// Path is the file's, in the form that ParseHtpasswd reads.
	Path string
	// DefaultDomains are the domains of bare names, as for ParseHtpasswd.
	DefaultDomains []string
	// Clock is nil for the system's.
	Clock clock.Clock
	// Logger is told of each new file, and once of each that cannot be used;
	// nil is for none.
	Logger *slog.Logger
}

// Htpasswd is a PasswordSource that follows a password file. When it is used,
// and a second has passed since, it looks whether the file has changed and reads
// it anew; a file that is gone or cannot be used leaves the accounts as they
// were. Tickets already given out are not touched.
type Htpasswd struct {
	path    string
	domains []string
	clk     clock.Clock
	log     *slog.Logger

	accounts atomic.Pointer[Passwords]
	nextLook atomic.Int64 // Unix nanoseconds

	mu      sync.Mutex // one look at a time; what follows is its own
	seen    fileVersion
	sum     [sha256.Size]byte
	problem string // what was logged last, empty once all is well
}

var _ PasswordSource = (*Htpasswd)(nil)

// lookEvery is how often a file is looked at at most.
const lookEvery = time.Second

// maxHtpasswd is the longest file read, in bytes: some hundred thousand accounts.
const maxHtpasswd = 32 << 20

// NewHtpasswd reads the file, which must be there and without a problem.
func NewHtpasswd(o HtpasswdOptions) (*Htpasswd, error) {
	h := &Htpasswd{path: o.Path, domains: o.DefaultDomains, clk: o.Clock, log: o.Logger}
	if h.clk == nil {
		h.clk = clock.System()
	}
	if h.log == nil {
		h.log = slog.New(slog.DiscardHandler)
	}
	data, version, err := readSettled(o.Path)
	if err != nil {
		return nil, err
	}
	p, err := h.parse(data)
	if err != nil {
		return nil, err
	}
	h.seen, h.sum = version, sha256.Sum256(data)
	h.accounts.Store(p)
	h.nextLook.Store(h.clk.Now().Add(lookEvery).UnixNano())
	return h, nil
}

func (h *Htpasswd) parse(data []byte) (*Passwords, error) {
	p, err := ParseHtpasswd(bytes.NewReader(data), h.domains...)
	if err != nil {
		return nil, fmt.Errorf("password file %s: %w", h.path, err)
	}
	return p, nil
}

// Account implements PasswordSource.
func (h *Htpasswd) Account(user string) string { return h.accounts.Load().Account(user) }

// Concurrency implements PasswordSource.
func (h *Htpasswd) Concurrency() int { return h.accounts.Load().Concurrency() }

// Len returns the number of accounts.
func (h *Htpasswd) Len() int { return h.accounts.Load().Len() }

// CheckPassword implements PasswordSource.
func (h *Htpasswd) CheckPassword(ctx context.Context, user, password string) (Identity, error) {
	h.look(ctx)
	return h.accounts.Load().CheckPassword(ctx, user, password)
}

// look reads the file anew if it is time and it has changed. One caller does
// it; the others go on with what there is.
func (h *Htpasswd) look(ctx context.Context) {
	now, next := h.clk.Now(), h.nextLook.Load()
	if now.UnixNano() < next || !h.nextLook.CompareAndSwap(next, now.Add(lookEvery).UnixNano()) || !h.mu.TryLock() {
		return
	}
	defer h.mu.Unlock()
	info, err := os.Stat(h.path)
	if err != nil {
		h.keep(ctx, err)
		return
	}
	if h.seen.is(info) && h.seen.settled {
		return
	}
	data, version, err := readSettled(h.path)
	if errors.Is(err, errChanging) {
		return // at the next look
	}
	if err != nil {
		h.keep(ctx, err)
		return
	}
	again := h.seen.is(version.info)
	h.seen = version
	if len(data) == 0 && !again {
		// Somebody may be about to write it. Seen empty twice, it is empty.
		h.seen.settled = false
		return
	}
	sum := sha256.Sum256(data)
	if sum == h.sum {
		h.problem = ""
		return
	}
	p, err := h.parse(data)
	if err != nil {
		h.keep(ctx, err)
		return
	}
	h.sum, h.problem = sum, ""
	h.accounts.Store(p)
	h.log.InfoContext(ctx, "password file read anew", "path", h.path, "accounts", p.Len())
}

// keep leaves the accounts as they are and says why, once.
func (h *Htpasswd) keep(ctx context.Context, err error) {
	if text := err.Error(); text != h.problem {
		h.problem = text
		h.log.ErrorContext(ctx, "the password file cannot be used; the accounts read before stay", "path", h.path, "error", err)
	}
}

// fileVersion tells one content of a file from another without reading it.
type fileVersion struct {
	info fs.FileInfo
	// settled says that the file was not written just before it was read, so
	// that a later change shows in its time.
	settled bool
}

// fileTimeGrain is how far apart two writes are at least that show in a file's
// time, on the coarsest file systems in use.
const fileTimeGrain = 2 * time.Second

func (v fileVersion) is(info fs.FileInfo) bool {
	return v.info != nil && os.SameFile(v.info, info) && v.info.Size() == info.Size() && v.info.ModTime().Equal(info.ModTime())
}

// errChanging says that a file was written while it was read.
var errChanging = errors.New("the file is being written")

// readSettled reads a file that nobody writes meanwhile.
func readSettled(path string) ([]byte, fileVersion, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fileVersion{}, fmt.Errorf("opening the password file: %w", err)
	}
	defer f.Close()
	before, err := f.Stat()
	if err != nil {
		return nil, fileVersion{}, fmt.Errorf("looking at the password file: %w", err)
	}
	data, err := io.ReadAll(io.LimitReader(f, maxHtpasswd+1))
	if err != nil {
		return nil, fileVersion{}, fmt.Errorf("reading the password file: %w", err)
	}
	if len(data) > maxHtpasswd {
		return nil, fileVersion{}, fmt.Errorf("password file %s: longer than %d bytes", path, maxHtpasswd)
	}
	after, err := f.Stat()
	if err != nil {
		return nil, fileVersion{}, fmt.Errorf("looking at the password file: %w", err)
	}
	version := fileVersion{info: after}
	if !(fileVersion{info: before}).is(after) {
		return nil, version, fmt.Errorf("password file %s: %w", path, errChanging)
	}
	// The file system's time is that of the machine, whatever Clock says.
	version.settled = time.Since(after.ModTime()) > fileTimeGrain
	return data, version, nil
}
