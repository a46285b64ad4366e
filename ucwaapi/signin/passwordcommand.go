package signin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"ucwagate/graphsrc/clock"
)

// CommandFormat is how PasswordCommand hands over a name and a password.
type CommandFormat string

// The formats.
const (
	// CommandLines is two lines: the address and the password, each ended by a
	// line feed.
	CommandLines CommandFormat = "lines"
	// CommandJSON is one line: {"user":"ana@contoso.com","password":"…"}.
	CommandJSON CommandFormat = "json"
)

// CommandOptions name a program that checks passwords.
//
// It is run once for each check, without a shell, in the root folder, with what
// Format says on its standard input and nothing on the others. The exit status
// tells: 0 the password is right; 75 (EX_TEMPFAIL), 126 and 127 (a shell that
// cannot run what it should) it cannot be checked; any other it is wrong.
type CommandOptions struct {
	// Argv is the program, by its absolute path, and its arguments. Name and
	// password never are among them: others on the machine can see those.
	Argv []string
	// Format is CommandLines where empty. With it, a password with a line
	// break is wrong.
	Format CommandFormat
	// Environment is the program's whole environment, NAME=value each; nothing
	// of the gateway's own is in it. A PATH of /usr/bin:/bin is added where it
	// has none.
	Environment []string
	// TimeLimit is how long a check may take, at most MaxCheckTime; zero means
	// DefaultCheckTime. What takes longer is killed and counts as unavailable.
	TimeLimit time.Duration
	// Concurrency is how many run at a time, at most 256; zero means
	// DefaultChecks.
	Concurrency int
	// Names says how the name that a client sends becomes the address.
	Names Names
	// Remember is how long a right password is not asked for again, at most
	// MaxRemember; zero means not at all.
	Remember time.Duration
	// Clock is nil for the system's.
	Clock clock.Clock
}

// PasswordCommand is a PasswordSource that asks a program.
type PasswordCommand struct {
	argv        []string
	format      CommandFormat
	environment []string
	limit       time.Duration
	concurrency int
	names       names
	memory      *remembered
	clk         clock.Clock
}

var _ PasswordSource = (*PasswordCommand)(nil)

// NewPasswordCommand checks the options, and that the program is there.
func NewPasswordCommand(o CommandOptions) (*PasswordCommand, error) {
	c := &PasswordCommand{argv: slices.Clone(o.Argv), format: o.Format, environment: append([]string{}, o.Environment...), clk: o.Clock}
	if c.clk == nil {
		c.clk = clock.System()
	}
	if len(c.argv) == 0 || !filepath.IsAbs(c.argv[0]) {
		return nil, errors.New("password command: not an absolute path of a program")
	}
	if _, err := exec.LookPath(c.argv[0]); err != nil {
		return nil, fmt.Errorf("password command: %w", err)
	}
	if c.format == "" {
		c.format = CommandLines
	}
	if c.format != CommandLines && c.format != CommandJSON {
		return nil, fmt.Errorf("password command: format %q: not one of lines and json", o.Format)
	}
	path := false
	for i, e := range c.environment {
		name, _, ok := strings.Cut(e, "=")
		if !ok || name == "" || strings.Contains(e, "\x00") {
			return nil, fmt.Errorf("password command: entry %d of the environment: not of the form NAME=value", i+1)
		}
		path = path || name == "PATH"
	}
	if !path {
		c.environment = append(c.environment, "PATH=/usr/bin:/bin")
	}
	var err error
	if c.limit, c.concurrency, err = checkBounds(o.TimeLimit, o.Concurrency); err != nil {
		return nil, fmt.Errorf("password command: %w", err)
	}
	if c.names, err = newNames(o.Names); err != nil {
		return nil, fmt.Errorf("password command: %w", err)
	}
	if c.memory, err = newRemembered(o.Remember, c.clk); err != nil {
		return nil, fmt.Errorf("password command: %w", err)
	}
	return c, nil
}

// Account implements PasswordSource.
func (c *PasswordCommand) Account(user string) string { return c.names.account(user) }

// Concurrency implements PasswordSource.
func (c *PasswordCommand) Concurrency() int { return c.concurrency }

// CheckPassword implements PasswordSource. A name that is no address is
// unknown, and the program is not asked.
func (c *PasswordCommand) CheckPassword(ctx context.Context, user, password string) (Identity, error) {
	address, err := c.names.address(user)
	if err != nil {
		return Identity{}, ErrUnknownUser
	}
	input, ok := c.input(address, password)
	if !ok {
		return Identity{}, ErrWrongPassword
	}
	return c.memory.check(address, password, func() error { return c.run(ctx, input) })
}

// input returns what the program reads; false for a password that cannot be
// anybody's.
func (c *PasswordCommand) input(address, password string) (string, bool) {
	if password == "" || len(password) > longestPassword {
		return "", false
	}
	if c.format == CommandLines {
		return address + "\n" + password + "\n", !strings.ContainsAny(password, "\r\n\x00")
	}
	line, ok := credentialsJSON(address, password)
	return line + "\n", ok
}

// credentialsJSON returns what is sent as JSON; false for a password that is no
// text, which JSON would silently change.
func credentialsJSON(address, password string) (string, bool) {
	data, err := json.Marshal(struct {
		User     string `json:"user"`
		Password string `json:"password"`
	}{address, password})
	return string(data), err == nil && utf8.ValidString(password)
}

// The exit statuses that say that the program could not check.
const (
	exitTemporary  = 75 // EX_TEMPFAIL of sysexits.h
	exitCannotRun  = 126
	exitNotFound   = 127
	commandCleanup = time.Second // for what the program leaves behind
)

func (c *PasswordCommand) run(ctx context.Context, input string) error {
	ctx, release := withLimit(ctx, c.clk, c.limit)
	defer release()
	cmd := exec.CommandContext(ctx, c.argv[0], c.argv[1:]...)
	cmd.Env, cmd.Dir, cmd.Stdin, cmd.WaitDelay = c.environment, "/", strings.NewReader(input), commandCleanup
	killWithChildren(cmd)
	err := cmd.Run()
	if err == nil || cmd.ProcessState != nil && cmd.ProcessState.Success() {
		return nil // also where it has not read its input, or has left a child
	}
	if ctx.Err() != nil {
		return fmt.Errorf("%w: password command: %w", ErrUnavailable, context.Cause(ctx))
	}
	var exit *exec.ExitError
	if !errors.As(err, &exit) || !exit.Exited() {
		return fmt.Errorf("%w: password command: %w", ErrUnavailable, err)
	}
	switch exit.ExitCode() {
	case exitTemporary, exitCannotRun, exitNotFound:
		return fmt.Errorf("%w: password command: %w", ErrUnavailable, err)
	}
	return ErrWrongPassword
}
