package sweep_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"testing"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc/graphsim"
)

// simulate serves a tenant with the documented limit until its input ends.
func simulate(what *task, in *json.Decoder) error {
	// One in 500 changes each second: each person about every eight minutes.
	tenant, err := graphsim.New(graphsim.Config{Users: what.People, Pace: 0.2})
	if err != nil {
		return err
	}
	defer tenant.Close()
	server, err := tenant.Serve(graphsim.ServeOptions{})
	if err != nil {
		return err
	}
	tenant.Start(context.Background())
	reply := task{People: what.People, Tenant: place{URL: server.TLSURL, Certificate: string(server.CertificatePEM)}}
	reply.Tenant.TenantID, reply.Tenant.ClientID, reply.Tenant.Secret = tenant.Credentials()
	for i := range tenant.Len() {
		reply.IDs = append(reply.IDs, tenant.User(i).ID)
	}
	if err := json.NewEncoder(os.Stdout).Encode(reply); err != nil {
		return fmt.Errorf("telling where the tenant is: %w", err)
	}
	var more any
	if err := in.Decode(&more); !errors.Is(err, io.EOF) {
		return fmt.Errorf("waiting for the end: %w", err)
	}
	return nil
}

// simulated starts a tenant and returns what programs have to know of it.
func simulated(t testing.TB, people, sweeps int) *task {
	t.Helper()
	out := launch(t, roleSimulator, &task{People: people})
	var what task
	require.NoError(t, out.Decode(&what))
	require.Len(t, what.IDs, people)
	what.Sweeps = sweeps
	return &what
}

// seen asks the simulator for its counters, and sets them to zero.
func seen(t testing.TB, what *task) (s graphsim.Stats) {
	t.Helper()
	client, err := what.Tenant.client()
	require.NoError(t, err)
	defer client.CloseIdleConnections()
	resp, err := client.Get(what.Tenant.URL + "/sim/stats")
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, http.StatusOK, resp.StatusCode)
	require.NoError(t, json.NewDecoder(resp.Body).Decode(&s))
	reset, err := client.Post(what.Tenant.URL+"/sim/stats/reset", "", nil)
	require.NoError(t, err)
	require.NoError(t, reset.Body.Close())
	return s
}
