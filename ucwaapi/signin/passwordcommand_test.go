package signin

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/clock"
)

func newCommand(t testing.TB, mode string, change func(*CommandOptions)) *PasswordCommand {
	t.Helper()
	program, err := os.Executable()
	require.NoError(t, err)
	o := CommandOptions{Argv: []string{program}, Environment: []string{commandMode + "=" + mode}, Names: Names{DefaultDomain: "contoso.test"}, TimeLimit: 20 * time.Second}
	if change != nil {
		change(&o)
	}
	c, err := NewPasswordCommand(o)
	require.NoError(t, err)
	return c
}

func TestPasswordCommand(t *testing.T) {
	t.Setenv("SIGNIN_TEST_SECRET", "of the gateway") // must not reach the program
	for _, c := range []struct {
		name, mode, user, password string
		change                     func(*CommandOptions)
		want                       error // nil: ana
	}{
		{"the right password", "lines", "ana@contoso.test", "Pass w@rd%1", nil, nil},
		{"a bare name in capitals", "lines", "ANA", "Pass w@rd%1", nil, nil},
		{"a password with a line break in JSON", "json", "ana", "line\nbreak", func(o *CommandOptions) { o.Format = CommandJSON }, nil},
		{"no shell, no environment, its arguments as they are", "environment", "ana", "x", func(o *CommandOptions) { o.Argv = append(o.Argv, "one argument; $(id)") }, nil},
		{"a program that does not read", "deaf", "ana", strings.Repeat("x", 1000), nil, nil},

		{"a wrong password", "lines", "ana", "Pass w@rd%2", nil, ErrWrongPassword},
		{"another user", "lines", "bo", "Pass w@rd%1", nil, ErrWrongPassword},
		{"a wrong password in JSON", "json", "ana", "x", func(o *CommandOptions) { o.Format = CommandJSON }, ErrWrongPassword},
		{"no password", "deaf", "ana", "", nil, ErrWrongPassword},
		{"an overlong password", "deaf", "ana", strings.Repeat("x", 1025), nil, ErrWrongPassword},
		{"a line break that would be a third line", "deaf", "ana", "a\nb", nil, ErrWrongPassword},
		{"a carriage return", "deaf", "ana", "a\rb", nil, ErrWrongPassword},
		{"a zero byte", "deaf", "ana", "a\x00b", nil, ErrWrongPassword},
		{"bytes that are no text, in JSON", "deaf", "ana", "\xff", func(o *CommandOptions) { o.Format = CommandJSON }, ErrWrongPassword},
		{"a name with a line break", "deaf", "ana\nbo", "x", nil, ErrUnknownUser},
		{"a name that is an option", "deaf", "", "x", nil, ErrUnknownUser},
		{"a Windows domain that nobody knows", "deaf", `EVIL\ana`, "x", nil, ErrUnknownUser},

		{"a status of two", "status:2", "ana", "x", nil, ErrWrongPassword},
		{"a temporary failure", "status:75", "ana", "x", nil, ErrUnavailable},
		{"a shell that cannot run it", "status:126", "ana", "x", nil, ErrUnavailable},
		{"a shell that does not find it", "status:127", "ana", "x", nil, ErrUnavailable},
		{"a program that is killed", "killed", "ana", "x", nil, ErrUnavailable},
		{"a program that takes too long", "slow", "ana", "x", func(o *CommandOptions) { o.TimeLimit = 50 * time.Millisecond }, ErrUnavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, err := newCommand(t, c.mode, c.change).CheckPassword(t.Context(), c.user, c.password)
			if c.want != nil {
				require.ErrorIs(t, err, c.want)
				require.Zero(t, id)
				if len(c.password) > 1 {
					require.NotContains(t, err.Error(), c.password)
				}
				return
			}
			require.NoError(t, err)
			require.Equal(t, Identity{Address: "ana@contoso.test", Method: MethodPassword}, id)
		})
	}
}

func TestAProgramThatVanishesIsUnavailable(t *testing.T) {
	program := filepath.Join(t.TempDir(), "check")
	require.NoError(t, os.WriteFile(program, []byte("#!/nonexistent\n"), 0o700))
	c, err := NewPasswordCommand(CommandOptions{Argv: []string{program}, Names: Names{DefaultDomain: "contoso.test"}})
	require.NoError(t, err)
	require.NoError(t, os.Remove(program))
	_, err = c.CheckPassword(t.Context(), "ana", "x")
	require.ErrorIs(t, err, ErrUnavailable)
}

func TestAProgramEndsWithItsClient(t *testing.T) {
	c := newCommand(t, "slow", nil)
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	_, err := c.CheckPassword(ctx, "ana", "x")
	require.ErrorIs(t, err, ErrUnavailable)
	require.ErrorIs(t, err, context.DeadlineExceeded)
}

func TestARightPasswordIsRememberedForAMomentOnly(t *testing.T) {
	runs := filepath.Join(t.TempDir(), "runs")
	clk := newShiftedClock()
	c := newCommand(t, "count:"+runs, func(o *CommandOptions) { o.Remember, o.Clock = 30*time.Second, clk })
	check := func(user, password string) error {
		_, err := c.CheckPassword(t.Context(), user, password)
		return err
	}
	count := func() int {
		data, err := os.ReadFile(runs)
		require.NoError(t, err)
		return len(data)
	}
	require.NoError(t, check("ana", "Pass w@rd%1"))
	require.NoError(t, check("ANA@contoso.test", "Pass w@rd%1"))
	require.Equal(t, 1, count())
	require.ErrorIs(t, check("ana", "Pass w@rd%2"), ErrWrongPassword)
	require.ErrorIs(t, check("ana", "Pass w@rd%2"), ErrWrongPassword, "a wrong one is never remembered")
	require.ErrorIs(t, check("bo", "Pass w@rd%1"), ErrWrongPassword, "nor is it another's")
	require.Equal(t, 4, count())
	clk.advance(30 * time.Second)
	require.NoError(t, check("ana", "Pass w@rd%1"))
	require.Equal(t, 5, count())
}

func TestRememberedPasswordsInVirtualTime(t *testing.T) {
	m, err := newRemembered(MaxRemember, clock.System())
	require.NoError(t, err)
	synctest.Test(t, func(t *testing.T) {
		asked := 0
		check := func() {
			id, err := m.check("ana@contoso.test", "p", func() error { asked++; return nil })
			require.NoError(t, err)
			require.Equal(t, "ana@contoso.test", id.Address)
		}
		for range 100 {
			check()
		}
		<-time.After(MaxRemember - time.Nanosecond)
		check()
		require.Equal(t, 1, asked)
		<-time.After(time.Nanosecond)
		check()
		require.Equal(t, 2, asked)
		require.NotEqual(t, m.digest("ab", "c"), m.digest("a", "bc"))
	})
}

func TestNewPasswordCommandRefuses(t *testing.T) {
	program, err := os.Executable()
	require.NoError(t, err)
	for _, c := range []struct {
		name string
		o    CommandOptions
		want string
	}{
		{"no program", CommandOptions{}, "not an absolute path"},
		{"a program to be looked for", CommandOptions{Argv: []string{"check"}}, "not an absolute path"},
		{"a program that is not there", CommandOptions{Argv: []string{"/nonexistent/check"}}, "no such file"},
		{"a folder", CommandOptions{Argv: []string{t.TempDir()}}, "password command"},
		{"another format", CommandOptions{Argv: []string{program}, Format: "xml"}, `format "xml"`},
		{"an environment without a value", CommandOptions{Argv: []string{program}, Environment: []string{"A=b", "SECRET"}}, "entry 2 of the environment"},
		{"a long time limit", CommandOptions{Argv: []string{program}, TimeLimit: time.Minute}, "time limit 1m0s"},
		{"a negative time limit", CommandOptions{Argv: []string{program}, TimeLimit: -1}, "time limit"},
		{"too many at a time", CommandOptions{Argv: []string{program}, Concurrency: 1000}, "1000 checks at a time"},
		{"a long memory", CommandOptions{Argv: []string{program}, Remember: time.Hour}, "remembering right passwords for 1h0m0s"},
		{"a bad domain", CommandOptions{Argv: []string{program}, Names: Names{DefaultDomain: "a b"}}, "default domain"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := NewPasswordCommand(c.o)
			require.ErrorContains(t, err, c.want)
		})
	}
	c := newCommand(t, "lines", nil)
	require.Equal(t, DefaultChecks, c.Concurrency())
	require.Equal(t, "ana@contoso.test", c.Account("SIP:Ana"))
	require.Equal(t, `evil\ana`, c.Account(` EVIL\Ana`))
}
