package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"

	"ucwagate/graphsrc/graphsim"
)

type simulateCommand struct {
	Listen    string `default:"127.0.0.1:8090" help:"Address and port of Graph and the control endpoints (http)."`
	TLSListen string `name:"tls-listen" default:"127.0.0.1:8443" help:"Address and port of the same with TLS; the authority must be https."`
	Users     int    `default:"200" help:"Number of people, 10 to 1,000,000."`
	Seed      uint64 `default:"1" help:"The same seed gives the same people, tenant and client id."`
	Domain    string `default:"contoso.test" help:"SIP domain of the tenant."`
	Still     bool   `help:"Nobody moves by themselves."`
	Secret    string `help:"Client secret; drawn if empty." env:"UCWAGATE_SIMULATE_SECRET"`
	CAFile    string `name:"ca-file" default:"simulator.pem" type:"path" help:"Where the self-signed certificate is written."`
}

// Run runs the simulated tenant until a signal. It prints one JSON object with
// everything a configuration needs to use it.
func (c *simulateCommand) Run(ctx context.Context) error {
	t, err := graphsim.New(graphsim.Config{
		Users: c.Users, Seed: c.Seed, Domain: c.Domain, Still: c.Still, ClientSecret: c.Secret,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, nil)),
	})
	if err != nil {
		return err
	}
	defer t.Close()
	s, err := t.Serve(graphsim.ServeOptions{Addr: c.Listen, TLSAddr: c.TLSListen})
	if err != nil {
		return err
	}
	if err := os.WriteFile(c.CAFile, s.CertificatePEM, 0o644); err != nil {
		return fmt.Errorf("writing the certificate: %w", err)
	}
	t.Start(ctx)
	tenantID, clientID, secret := t.Credentials()
	err = json.NewEncoder(os.Stdout).Encode(map[string]string{
		"graph_url": s.URL, "authority": s.TLSURL, "ca_file": c.CAFile,
		"tenant_id": tenantID, "client_id": clientID, "secret": secret, "domain": t.Domain(),
	})
	if err != nil {
		return fmt.Errorf("printing: %w", err)
	}
	<-ctx.Done()
	return nil
}
