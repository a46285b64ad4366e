package signin

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/goleak"

	"ucwagate/graphsrc/clock"
)

// commandMode makes the test binary the program that a PasswordCommand runs.
const commandMode = "SIGNIN_TEST_COMMAND"

func TestMain(m *testing.M) {
	if mode, ok := os.LookupEnv(commandMode); ok {
		os.Exit(checkAsCommand(mode))
	}
	goleak.VerifyTestMain(m)
}

// checkAsCommand is that program. It knows ana@contoso.test and one password.
func checkAsCommand(mode string) int {
	fmt.Println("what a program writes is nobody's business")
	in := bufio.NewReader(os.Stdin)
	switch {
	case mode == "deaf":
		return 0
	case mode == "slow":
		select {} // until it is killed
	case mode == "killed":
		if own, err := os.FindProcess(os.Getpid()); err == nil && own.Kill() == nil {
			select {}
		}
		return 1
	case mode == "environment":
		for _, e := range os.Environ() {
			if !strings.HasPrefix(e, commandMode+"=") && e != "PATH=/usr/bin:/bin" {
				return 1
			}
		}
		if dir, err := os.Getwd(); err != nil || dir != "/" || len(os.Args) != 2 || os.Args[1] != "one argument; $(id)" {
			return 1
		}
		return 0
	case strings.HasPrefix(mode, "count:"):
		// One byte a run, and one right password.
		f, err := os.OpenFile(strings.TrimPrefix(mode, "count:"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err != nil {
			return 75
		}
		_, _ = f.WriteString(".")
		_ = f.Close()
	case strings.HasPrefix(mode, "status:"):
		var status int
		_, _ = fmt.Sscanf(mode, "status:%d", &status)
		return status
	case mode == "json":
		var c struct{ User, Password string }
		data, err := io.ReadAll(in)
		if err != nil || json.Unmarshal(data, &c) != nil {
			return 75
		}
		return wrongUnless(c.User == "ana@contoso.test" && c.Password == "line\nbreak")
	}
	user, err := in.ReadString('\n')
	password, err2 := in.ReadString('\n')
	rest, err3 := io.ReadAll(in)
	if err != nil || err2 != nil || err3 != nil || len(rest) > 0 {
		return 75
	}
	return wrongUnless(user == "ana@contoso.test\n" && password == "Pass w@rd%1\n")
}

func wrongUnless(right bool) int {
	if right {
		return 0
	}
	return 1
}

// shiftedClock is the system's clock moved by hand. It serves where a real
// network is involved, in whose company a synctest bubble's clock stands still.
type shiftedClock struct {
	clock.Clock
	shift atomic.Int64
}

func newShiftedClock() *shiftedClock { return &shiftedClock{Clock: clock.System()} }

func (c *shiftedClock) Now() time.Time { return c.Clock.Now().Add(time.Duration(c.shift.Load())) }

func (c *shiftedClock) advance(d time.Duration) { c.shift.Add(int64(d)) }
