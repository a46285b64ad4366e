// Package syncfile keeps the state of a directory synchronization in a file,
// for gateways that have a disk: a volume that outlives the container spares
// reading the whole directory after each restart.
//
// The file is replaced as a whole, so that a crash leaves the old one or the
// new one, and is readable by its owner only: it names everybody in the tenant.
//
// It must never know what is in the file: whether a state is whole and whose
// it is, its owner tells by itself.
package syncfile

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

const (
	// maxSize bounds what is read, in bytes: a million users take some 100 MB.
	maxSize = 1 << 30
	// temporary is what the names of files begin with that are not complete
	// yet; the name of the state's file follows.
	temporary = ".new-"
	// abandoned is the age at which such a file was left behind by a crash.
	abandoned = time.Hour
)

// File is a state in a file. The zero value is of no use. One process saves at
// a time; if several do, the last one wins.
type File struct{ path string }

// New returns the state in the file with that path, which need not exist. Its
// folder must, before the first Save.
func New(path string) *File { return &File{path: filepath.Clean(path)} }

// Load returns what was saved last, nothing and no error if there is no file.
// A path that is no regular file, and one larger than a gibibyte, is an error.
// What earlier crashes left beside the file is removed.
func (f *File) Load(ctx context.Context) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("reading the state: %w", err)
	}
	f.tidy()
	file, err := os.Open(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("opening the state: %w", err)
	}
	defer file.Close()
	info, err := file.Stat()
	switch {
	case err != nil:
		return nil, fmt.Errorf("looking at the state: %w", err)
	case !info.Mode().IsRegular():
		return nil, fmt.Errorf("reading the state: %s is not a regular file", f.path)
	case info.Size() > maxSize:
		return nil, fmt.Errorf("reading the state: %s has %d bytes, more than %d", f.path, info.Size(), maxSize)
	}
	state := make([]byte, info.Size())
	if _, err := io.ReadFull(file, state); err != nil {
		return nil, fmt.Errorf("reading the state: %w", err)
	}
	return state, nil
}

// Save replaces the file: the state is written beside it, reaches the disk,
// and takes its name. If anything fails the old file stays.
func (f *File) Save(ctx context.Context, state []byte) (err error) {
	folder, name := filepath.Split(f.path)
	file, err := os.CreateTemp(filepath.Clean(folder+"."), temporary+name+"-*") // mode 0600
	if err != nil {
		return fmt.Errorf("writing the state: %w", err)
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, os.Remove(file.Name()))
		}
	}()
	_, err = file.Write(state)
	if err == nil {
		err = file.Sync()
	}
	if err = errors.Join(err, file.Close()); err != nil {
		return fmt.Errorf("writing the state: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("writing the state: %w", err)
	}
	if err := os.Rename(file.Name(), f.path); err != nil {
		return fmt.Errorf("replacing the state: %w", err)
	}
	// The new name is on the disk only when the folder is. Some file systems
	// cannot do that by itself, and lose nothing but the newest state.
	if dir, err := os.Open(filepath.Clean(folder + ".")); err == nil {
		_ = dir.Sync()
		_ = dir.Close()
	}
	return nil
}

// tidy removes what crashes left behind. What cannot be removed does no harm.
func (f *File) tidy() {
	folder, name := filepath.Split(f.path)
	entries, err := os.ReadDir(filepath.Clean(folder + "."))
	if err != nil {
		return
	}
	for _, e := range entries {
		if !strings.HasPrefix(e.Name(), temporary+name+"-") {
			continue
		}
		if info, err := e.Info(); err == nil && time.Since(info.ModTime()) > abandoned {
			_ = os.Remove(filepath.Join(folder, e.Name()))
		}
	}
}
