package sweep_test

import (
	"encoding/json"
	"fmt"
	"os"
	"testing"

	"go.uber.org/goleak"
)

// roleVariable makes the test binary one of the three programs.
const roleVariable = "UCWAGATE_SWEEP_ROLE"

func TestMain(m *testing.M) {
	role := os.Getenv(roleVariable)
	if role == "" {
		goleak.VerifyTestMain(m)
		return
	}
	if err := play(role); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", role, err)
		os.Exit(1)
	}
}

func play(role string) error {
	var what task
	in := json.NewDecoder(os.Stdin)
	if err := in.Decode(&what); err != nil {
		return fmt.Errorf("reading the task: %w", err)
	}
	switch role {
	case roleSimulator:
		return simulate(&what, in)
	case roleGateway:
		return report(readAsGateway(&what))
	case rolePlain:
		return report(readPlainly(&what))
	}
	return fmt.Errorf("there is no role %q", role)
}

func report(o *outcome, err error) error {
	if err != nil {
		return err
	}
	return json.NewEncoder(os.Stdout).Encode(o)
}
