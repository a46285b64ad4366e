package delegated

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/AzureAD/microsoft-authentication-library-for-go/apps/cache"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/clock"
	"ucwagate/graphsrc/syncfile"
)

const (
	// format is the version of the file's form.
	format = 1
	// maxFile bounds what is read, in bytes; a sign-in takes some 10 kB.
	maxFile = 1 << 20
)

// content is what stands in the file: who has signed in, for people and
// commands, and MSAL's cache, which nobody else reads.
type content struct {
	Format   int             `json:"format"`
	Username string          `json:"username"`
	ID       string          `json:"id"`
	TenantID string          `json:"tenant_id"`
	ClientID string          `json:"client_id"`
	SignedIn time.Time       `json:"signed_in"`
	Rotated  time.Time       `json:"rotated"`
	Cache    json.RawMessage `json:"cache"`
}

// version tells one state of a file from another; the zero value is that of a
// file that does not exist.
type version struct{ info fs.FileInfo }

func (v version) same(other version) bool {
	if v.info == nil || other.info == nil {
		return v.info == nil && other.info == nil
	}
	return os.SameFile(v.info, other.info) && v.info.ModTime().Equal(other.info.ModTime()) &&
		v.info.Size() == other.info.Size() && v.info.Mode() == other.info.Mode()
}

// vault is the file as MSAL's cache. MSAL keeps a copy of all that is in it:
// Replace fills the copy, Export writes it.
type vault struct {
	path   string
	clock  clock.Clock
	logger *slog.Logger

	mu    sync.Mutex
	read  version // of the file that inside came from, or was last written to
	fresh bool    // inside and read mean something
	// inside is the newest content: that of the file, or the one that could not
	// be written to it. It is empty if there is no file.
	inside content
	filled bool // MSAL's copy is that of inside
	// unwritten and unlocked are set while writing or locking fails, so that
	// each is said once.
	unwritten, unlocked bool
}

func newVault(path string, clk clock.Clock, logger *slog.Logger) *vault {
	return &vault{path: filepath.Clean(path), clock: clk, logger: logger}
}

// target is where the file really lies: a link is not to be replaced by a
// file. It is asked for anew each time, because links change: those of a
// Kubernetes secret do with each of its versions.
func (v *vault) target() string {
	if real, err := filepath.EvalSymlinks(v.path); err == nil {
		return real
	}
	return v.path
}

// look returns the present version of the file. One that cannot be looked at
// counts as none; load says why.
func (v *vault) look() version {
	info, err := os.Stat(v.path)
	if err != nil {
		return version{}
	}
	return version{info}
}

// known returns the version that was read or written last.
func (v *vault) known() version {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.read
}

// load returns what is in the file, reading it if it has changed. Errors that
// a sign-in heals wrap graphsrc.ErrSignInNeeded.
func (v *vault) load(ctx context.Context) (content, error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.loadLocked(ctx)
}

func (v *vault) loadLocked(ctx context.Context) (content, error) {
	info, err := os.Stat(v.path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return content{}, unreadable(err)
	}
	now := version{info}
	if !v.fresh || !now.same(v.read) {
		v.read, v.fresh, v.filled, v.inside = now, false, false, content{}
		if info != nil {
			if err := v.checkFile(info); err != nil {
				return content{}, err
			}
			if v.inside, err = readContent(ctx, v.path); err != nil {
				return content{}, err
			}
		}
		v.fresh = true
	}
	if v.inside.Format == 0 {
		return content{}, signInNeeded("there is no sign-in in " + v.path)
	}
	return v.inside, nil
}

// checkFile refuses what everybody may read, and what is no such file. The
// group is let in with a warning: a volume of Kubernetes with an fsGroup gives
// it access to every file.
func (v *vault) checkFile(info fs.FileInfo) error {
	switch mode := info.Mode(); {
	case !mode.IsRegular():
		return misplaced(v.path + " is not a regular file")
	case info.Size() > maxFile:
		return misplaced(fmt.Sprintf("%s has %d bytes, more than %d", v.path, info.Size(), maxFile))
	case hasModes && mode.Perm()&0o007 != 0:
		return misplaced(fmt.Sprintf("%s is open to everybody (mode %04o); its mode must be 0600", v.path, mode.Perm()))
	case hasModes && mode.Perm()&0o070 != 0:
		v.logger.Warn("the group may use the sign-in of a helper account; mode 0600 keeps it out",
			"file", v.path, "mode", fmt.Sprintf("%04o", mode.Perm()))
	}
	return nil
}

func misplaced(why string) error {
	return &graphsrc.Error{Op: opToken, Kind: graphsrc.KindUnauthorized, Message: why}
}

func unreadable(err error) error {
	return &graphsrc.Error{Op: opToken, Kind: graphsrc.KindUnauthorized, Message: "the sign-in cannot be read", Err: err}
}

func readContent(ctx context.Context, path string) (content, error) {
	raw, err := syncfile.New(path).Load(ctx)
	if err != nil {
		return content{}, unreadable(err)
	}
	var c content
	// The error would quote the file.
	if len(raw) > maxFile || json.Unmarshal(raw, &c) != nil || c.Format != format || c.Username == "" || len(c.Cache) == 0 {
		return content{}, signInNeeded(path + " is not the file of a helper account, or is damaged")
	}
	return c, nil
}

// held is load for those who need no reasons.
func (v *vault) held() content {
	c, err := v.load(context.Background())
	if err != nil {
		return content{}
	}
	return c
}

// Replace implements cache.ExportReplace.
func (v *vault) Replace(ctx context.Context, tokens cache.Unmarshaler, _ cache.ReplaceHints) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	c, err := v.loadLocked(ctx)
	if err != nil || v.filled {
		return err
	}
	if tokens.Unmarshal(c.Cache) != nil {
		return signInNeeded(v.path + " is damaged")
	}
	v.filled = true
	return nil
}

// Export implements cache.ExportReplace. That the file cannot be written is no
// error of the request whose token is to be kept: MSAL's copy goes on.
func (v *vault) Export(ctx context.Context, tokens cache.Marshaler, _ cache.ExportHints) error {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.inside.Format == 0 {
		return nil // signed out meanwhile, by somebody who does not lock
	}
	raw, err := tokens.Marshal()
	if err != nil {
		return errors.New("the tokens cannot be encoded")
	}
	v.inside.Cache, v.inside.Rotated = raw, v.clock.Now().UTC()
	err = v.save(context.WithoutCancel(ctx))
	if err != nil && !v.unwritten {
		v.logger.Error("the new refresh token of a helper account cannot be kept and lives in memory only", "file", v.path, "error", err)
	}
	v.unwritten = err != nil
	return nil
}

// save writes inside to the file; v.mu is held.
func (v *vault) save(ctx context.Context) error {
	raw, err := json.Marshal(v.inside)
	if err != nil {
		return errors.New("the sign-in cannot be encoded")
	}
	if err := syncfile.New(v.target()).Save(ctx, raw); err != nil {
		return err
	}
	v.read = v.look()
	return nil
}

// replace puts another sign-in into the file.
func (v *vault) replace(ctx context.Context, c content) error {
	ctx, cancel := context.WithTimeout(ctx, 2*attemptTimeout) // another attempt may hold the lock
	defer cancel()
	unlock, err := v.lock(ctx)
	if err != nil {
		return fmt.Errorf("keeping the sign-in: %w", err)
	}
	defer unlock()
	v.mu.Lock()
	defer v.mu.Unlock()
	v.inside, v.fresh, v.filled = c, true, false
	if err := v.save(ctx); err != nil {
		v.fresh = false
		return fmt.Errorf("keeping the sign-in: %w", err)
	}
	v.unwritten = false
	return nil
}

// writable returns an error if the file could not be replaced.
func (v *vault) writable() error {
	if info, err := os.Stat(v.path); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("%s is not a regular file", v.path)
	}
	// The name is one that syncfile would clear away after a crash.
	target := v.target()
	file, err := os.CreateTemp(filepath.Dir(target), ".new-"+filepath.Base(target)+"-*")
	if err != nil {
		return fmt.Errorf("trying to write beside the file: %w", err)
	}
	return errors.Join(file.Close(), os.Remove(file.Name()))
}

// forget removes the file, if it is one of ours.
func (v *vault) forget(ctx context.Context) error {
	unlock, err := v.lock(ctx)
	if err != nil {
		return fmt.Errorf("signing out: %w", err)
	}
	defer unlock()
	info, err := os.Stat(v.path)
	if err != nil {
		return fmt.Errorf("signing out: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxFile {
		return fmt.Errorf("signing out: %s is not the file of a helper account", v.path)
	}
	if _, err := readContent(ctx, v.path); err != nil {
		return fmt.Errorf("signing out: %w", err)
	}
	if err := os.Remove(v.target()); err != nil { // not only a link to it
		return fmt.Errorf("signing out: %w", err)
	}
	return nil
}
