package sweep_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"ucwagate/graphsrc"
	"ucwagate/graphsrc/budget"
	"ucwagate/graphsrc/msgraph"
)

const (
	// sweepFloor lets one sweep follow the other as fast as the budget allows.
	sweepFloor = time.Second
	// lookEvery is how often is looked whether something has happened.
	lookEvery = 50 * time.Millisecond
	// maxSweep is how long one sweep may take.
	maxSweep = 2 * time.Minute
)

// readAsGateway watches everybody with what the gateway is made of.
func readAsGateway(what *task) (*outcome, error) {
	b, err := budget.New(budget.Options{})
	if err != nil {
		return nil, err
	}
	defer b.Close()
	roots, err := what.Tenant.roots()
	if err != nil {
		return nil, err
	}
	client, err := msgraph.New(msgraph.Config{
		TenantID: what.Tenant.TenantID, ClientID: what.Tenant.ClientID, Cloud: msgraph.CloudCustom,
		GraphURL: what.Tenant.URL, Authority: what.Tenant.URL, RootCAs: roots,
		Credential: msgraph.Credential{Kind: msgraph.CredentialSecret, Secret: what.Tenant.Secret},
	}, b.Transport, nil)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	var read atomic.Int64
	source, err := graphsrc.New(graphsrc.Options{
		Graph: client, Budget: b, WatchFloor: sweepFloor,
		OnChange: func(c graphsrc.Change) {
			if c.First {
				read.Add(1)
			}
		},
	})
	if err != nil {
		return nil, err
	}
	defer source.Close()

	o := &outcome{}
	first, err := begin()
	if err != nil {
		return nil, err
	}
	source.Watch(what.IDs...)
	if err := until(maxSweep, func() bool { return int(read.Load()) == what.People }); err != nil {
		return nil, fmt.Errorf("%d of %d people were read: %w", read.Load(), what.People, err)
	}
	if o.First, _, err = first.end(); err != nil {
		return nil, err
	}
	o.Read = int(read.Load())
	source.Start(context.Background())
	if err := o.sweep(what, func() uint64 { return b.Stats().Sent[budget.Refresh] }, source); err != nil {
		return nil, err
	}
	o.Resident, err = resident()
	return o, err
}

// sweep measures sweeps in the steady state, from the second on. It counts
// people, not requests, so that a sweep is one whatever it costs.
func (o *outcome) sweep(what *task, sent func() uint64, source *graphsrc.Source) error {
	base := source.Stats().IDs
	if err := until(maxSweep, func() bool { return source.Stats().IDs >= base+uint64(what.People) }); err != nil {
		return err
	}
	before := source.Stats()
	s, err := begin()
	if err != nil {
		return err
	}
	// Stats looks at everybody; to ask it often would be measured too.
	end := sent() + uint64(what.Sweeps*ideal(what.People))
	if err := until(time.Duration(what.Sweeps)*maxSweep, func() bool { return sent() >= end }); err != nil {
		return err
	}
	wall, cpu, err := s.end()
	if err != nil {
		return err
	}
	after := source.Stats()
	o.garbage(&s, float64(after.IDs-before.IDs))
	sweeps := float64(after.IDs-before.IDs) / float64(what.People)
	o.Sweep, o.CPU, o.Requests = wall/sweeps, cpu/sweeps, float64(after.Requests-before.Requests)/sweeps
	return nil
}

// until waits for something, or fails after most.
func until(most time.Duration, happened func() bool) error {
	for end := time.Now().Add(most); !happened(); <-time.After(lookEvery) {
		if time.Now().After(end) {
			return fmt.Errorf("nothing happened within %s", most)
		}
	}
	return nil
}
