package sweep_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

const (
	roleSimulator = "simulator"
	roleGateway   = "gateway"
	rolePlain     = "plain program"
)

// task is what a program is told on its standard input.
type task struct {
	People int
	Sweeps int // how many are measured, after the first
	Tenant place
	IDs    []string
}

// place is where the simulated tenant is, and how to be let in.
type place struct {
	URL, Certificate           string
	TenantID, ClientID, Secret string
}

// outcome is what a program reports on its standard output.
type outcome struct {
	Read     int     // people read in the first sweep
	First    float64 // seconds for the first sweep, from an empty bucket
	Sweep    float64 // seconds for each of the others
	Requests float64 // for each of the others
	CPU      float64 // seconds for each of the others
	Garbage  float64 // bytes allocated for each reading of the others
	Objects  float64 // and in so many pieces
	Resident float64 // MB at the end
}

// stretch measures this process between two moments.
type stretch struct {
	begin  time.Time
	cpu    time.Duration
	memory runtime.MemStats
}

func begin() (stretch, error) {
	cpu, err := cpuTime()
	s := stretch{begin: time.Now(), cpu: cpu}
	runtime.ReadMemStats(&s.memory)
	return s, err
}

// garbage notes what was allocated since then for each of so many readings.
func (o *outcome) garbage(since *stretch, readings float64) {
	var now runtime.MemStats
	runtime.ReadMemStats(&now)
	o.Garbage = float64(now.TotalAlloc-since.memory.TotalAlloc) / readings
	o.Objects = float64(now.Mallocs-since.memory.Mallocs) / readings
}

// end returns seconds passed and seconds of processor time.
func (s *stretch) end() (wall, cpu float64, err error) {
	now, err := cpuTime()
	return time.Since(s.begin).Seconds(), (now - s.cpu).Seconds(), err
}

func cpuTime() (time.Duration, error) {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		return 0, fmt.Errorf("reading processor time: %w", err)
	}
	return time.Duration(usage.Utime.Nano() + usage.Stime.Nano()), nil
}

// resident is the memory of this process that is in use, in MB.
func resident() (float64, error) {
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0, err
	}
	_, rest, _ := strings.Cut(string(status), "VmRSS:")
	line, _, _ := strings.Cut(rest, "\n")
	kb, err := strconv.Atoi(strings.TrimSuffix(strings.TrimSpace(line), " kB"))
	if err != nil {
		return 0, fmt.Errorf("reading resident memory: %w", err)
	}
	return float64(kb) / 1024, nil
}

// launch starts this binary in a role. Its standard error is ours.
func launch(t testing.TB, role string, what *task) (out *json.Decoder) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), roleVariable+"="+role)
	var complaint bytes.Buffer
	cmd.Stderr = &complaint
	in, err := cmd.StdinPipe()
	require.NoError(t, err)
	stdout, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	t.Cleanup(func() {
		_ = in.Close() // tells the simulator to end
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v: %s", role, err, complaint.String())
		}
	})
	require.NoError(t, json.NewEncoder(in).Encode(what))
	return json.NewDecoder(stdout)
}

// run plays a role to its end.
func run(t testing.TB, role string, what *task) (o outcome) {
	t.Helper()
	out := launch(t, role, what)
	require.NoError(t, out.Decode(&o), "the %s said nothing", role)
	return o
}
