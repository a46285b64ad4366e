package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"ucwagate/cmd/ucwagate/internal/ucwaclient"
)

type watchCommand struct {
	URL          string   `required:"" help:"Where discovery begins, such as https://lyncdiscover.contoso.com/."`
	User         string   `required:"" help:"User name, such as ana@contoso.com."`
	PasswordFile string   `type:"existingfile" help:"File that holds the password."`
	Password     string   `env:"UCWAGATE_WATCH_PASSWORD" help:"Password; better from the environment or a file."`
	Addresses    []string `arg:"" name:"address" help:"Whom to watch."`
}

const (
	// subscriptionMinutes is the longest a presence subscription may last.
	subscriptionMinutes = 30
	// extendEvery leaves room for two attempts before a subscription ends, for
	// servers whose warning does not arrive.
	extendEvery = 12 * time.Minute
	// retryWatch is the pause after a failure.
	retryWatch = 5 * time.Second
)

// Run watches until a signal.
func (c *watchCommand) Run(ctx context.Context) error {
	if c.PasswordFile != "" {
		raw, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return fmt.Errorf("reading the password: %w", err)
		}
		c.Password = strings.TrimRight(string(raw), "\r\n")
	}
	screen := newScreen(os.Stdout, c.Addresses)
	for {
		err := c.watch(ctx, screen)
		switch {
		case ctx.Err() != nil:
			return nil
		case ucwaclient.Gone(err), transient(err):
			screen.note("begins anew: " + err.Error())
		case err != nil:
			return err
		}
		select {
		case <-time.After(retryWatch):
		case <-ctx.Done():
			return nil
		}
	}
}

// transient says whether trying again can help: a server that is away for a
// moment, or short of something.
func transient(err error) bool {
	var status *ucwaclient.StatusError
	if errors.As(err, &status) {
		return status.Status >= http.StatusInternalServerError
	}
	var network interface{ Timeout() bool }
	return errors.As(err, &network)
}

// watch runs one application until it ends.
func (c *watchCommand) watch(ctx context.Context, screen *screen) error {
	client, err := ucwaclient.SignIn(ctx, http.DefaultClient, c.URL, c.User, c.Password)
	if err != nil {
		return err
	}
	app, err := client.CreateApplication(ctx, "ucwagate-watch", fmt.Sprintf("watch-%d", os.Getpid()), "en-US")
	if err != nil {
		return err
	}
	defer func() {
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), retryWatch)
		defer cancel()
		_ = app.Delete(end) // it ends by itself if this fails
	}()
	sub, err := app.Subscribe(ctx, c.Addresses, subscriptionMinutes)
	if err != nil {
		return err
	}
	extended := time.Now()
	for {
		p, err := app.Next(ctx)
		if err != nil {
			return err
		}
		if p.Resumed || p.Resynced {
			if sub, err = app.Subscribe(ctx, c.Addresses, subscriptionMinutes); err != nil {
				return err
			}
			extended = time.Now()
		}
		for _, e := range p.Events {
			if e.Link.Rel == "contactPresence" {
				presence, err := app.Presence(ctx, e.Link.Href)
				if err != nil {
					return err
				}
				screen.show(e.Address(), presence)
			}
			if e.Link.Rel == "presenceSubscription" && e.Type == "updated" {
				extended = time.Time{} // about to expire
			}
		}
		if time.Since(extended) > extendEvery {
			if err := sub.Extend(ctx, subscriptionMinutes); err != nil {
				return err
			}
			extended = time.Now()
		}
	}
}

// screen prints changes: a live table on a terminal, a line each in a pipe.
type screen struct {
	w       io.Writer
	live    bool
	order   []string
	known   map[string]ucwaclient.Presence
	changed map[string]time.Time
	drawn   bool
}

func newScreen(f *os.File, addresses []string) *screen {
	info, err := f.Stat()
	s := &screen{
		w: f, live: err == nil && info.Mode()&os.ModeCharDevice != 0,
		known: make(map[string]ucwaclient.Presence), changed: make(map[string]time.Time),
	}
	for _, a := range addresses {
		s.order = append(s.order, strings.ToLower(strings.TrimPrefix(a, "sip:")))
	}
	return s
}

// show notes a presence; one that is known already prints nothing.
func (s *screen) show(address string, p ucwaclient.Presence) {
	if old, ok := s.known[address]; ok && old == p {
		return
	}
	now := time.Now()
	s.known[address], s.changed[address] = p, now
	if !s.live {
		fmt.Fprintf(s.w, "%s %s %s\n", now.Format(time.RFC3339), address, strings.TrimSpace(p.Availability+" "+p.Activity))
		return
	}
	if s.drawn {
		fmt.Fprintf(s.w, "\x1b[%dA", len(s.order)) // back to the table's first line
	}
	s.drawn = true
	for _, a := range s.order {
		p, ok := s.known[a]
		at := "…"
		if ok {
			at = s.changed[a].Format(time.TimeOnly)
		}
		fmt.Fprintf(s.w, "\x1b[2K%-10s%-14s %-28s %s\n", at, p.Availability, p.Activity, a)
	}
}

// note tells what is happening beside the changes.
func (s *screen) note(text string) { fmt.Fprintln(os.Stderr, "watch:", text) }
