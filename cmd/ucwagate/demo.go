package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"os"
	"time"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/demo"
)

type demoCommand struct {
	Listen      string        `default:"127.0.0.1:8080" help:"Address and port of the gateway; port 0 picks one."`
	Users       int           `default:"200" help:"Number of people, 10 to 1,000,000."`
	Seed        uint64        `default:"1" help:"The same seed gives the same people."`
	Domain      string        `default:"contoso.test" help:"SIP domain of the tenant."`
	Still       bool          `help:"Nobody moves by themselves."`
	Refresh     time.Duration `default:"2s" help:"How old a presence may be before Graph is asked again."`
	Helpers     int           `default:"0" help:"Number of helper accounts that subscribe to change notifications, 650 people each."`
	AllowOrigin []string      `help:"Origin of web pages that may use the gateway, such as https://intranet.example.com; repeatable."`
	Print       string        `enum:"text,json" default:"text" help:"What goes to standard output: text for people, or one JSON object (${enum})."`
}

// Run runs the demonstration until a signal.
func (c *demoCommand) Run(ctx context.Context) error {
	log := slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))
	d, err := demo.Start(ctx, demo.Options{
		Listen: c.Listen, Users: c.Users, Seed: c.Seed, Domain: c.Domain, Still: c.Still, Refresh: c.Refresh, Helpers: c.Helpers, Logger: log,
		Adjust: func(cfg *config.Config) {
			cfg.Server.AllowedOrigins = append(cfg.Server.AllowedOrigins, c.AllowOrigin...)
		},
	})
	if err != nil {
		return err
	}
	notice := io.Writer(os.Stdout)
	if c.Print == "json" {
		notice = os.Stderr
		if err := json.NewEncoder(os.Stdout).Encode(d.Info); err != nil {
			return fmt.Errorf("printing: %w", err)
		}
	}
	printDemo(notice, d.Info)
	err = d.App.Wait(ctx)
	if closeErr := d.Close(context.WithoutCancel(ctx)); err == nil {
		err = closeErr
	}
	return err
}

// printDemo shows a person how to use the demonstration.
func printDemo(w io.Writer, d demo.Info) {
	fmt.Fprintf(w, "The gateway listens at   %s\n", d.BaseURL)
	fmt.Fprintf(w, "Sign in as               %s   (the contacts below have the same password)\n", d.Username)
	fmt.Fprintf(w, "Password                 %s\n", d.Password)
	fmt.Fprintf(w, "The simulated tenant is  %s   (GET /sim/stats, GET and POST /sim/presence, GET and PUT /sim/faults)\n", d.SimulatorURL)
	fmt.Fprintf(w, "The status page is       %s   (/metrics, /readyz)\n\nContacts:\n", d.StatusURL)
	for _, c := range d.Contacts {
		fmt.Fprintf(w, "  %-14s %s (%s)\n", c.Availability, c.URI, c.Name)
	}
	who := d.Contacts[0].URI[len("sip:"):]
	fmt.Fprintf(w, "\nPaste these three lines, one after the other:\n\n")
	fmt.Fprintf(w, "TOKEN=$(curl -s -d 'grant_type=password&username=%s&password=%s' %s/WebTicket/oauthtoken | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')\n\n", d.Username, d.Password, d.BaseURL)
	fmt.Fprintf(w, "APP=$(curl -s -o /dev/null -D - -H \"Authorization: Bearer $TOKEN\" -H 'Content-Type: application/json' -d '{\"userAgent\":\"curl\",\"endpointId\":\"demo\",\"culture\":\"en-US\"}' %s/ucwa/oauth/v1/applications | sed -n 's/^Location: *//p' | tr -d '\\r')\n\n", d.BaseURL)
	fmt.Fprintf(w, "curl -s -H \"Authorization: Bearer $TOKEN\" \"%s$APP/people/%s/presence\"\n\n", d.BaseURL, who)
	fmt.Fprintf(w, "Stop with Ctrl-C.\n")
}
