package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"ucwagate/cmd/ucwagate/internal/app"
	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/graphsrc/clock"
)

type graphCommand struct {
	Ping pingCommand `cmd:"" help:"Check the token, the permissions and one read of every tenant."`
}

type pingCommand struct {
	Config  string        `help:"Configuration file (YAML)." type:"path" placeholder:"FILE"`
	Timeout time.Duration `default:"30s" help:"How long to wait for each tenant."`
}

// permissions are the application permissions that parts of the gateway need.
var permissions = []struct {
	name   string
	usedBy string
	needed func(config.Config) bool
}{
	{"Presence.Read.All", "presence", func(config.Config) bool { return true }},
	{"User.Read.All", "people, addresses, organisation", func(config.Config) bool { return true }},
	{"Presence.ReadWrite.All", "setting one's own presence and note", func(c config.Config) bool { return c.Presence.Publish }},
	{"ProfilePhoto.Read.All", "photos", func(c config.Config) bool { return c.Photos.Enabled }},
	{"Group.Read.All", "searching groups", func(config.Config) bool { return true }},
	{"Directory.Read.All", "groups a user belongs to", func(c config.Config) bool { return c.Contacts.Groups }},
	{"GroupMember.Read.All", "members of groups", func(c config.Config) bool { return c.Contacts.Groups }},
	{"People.Read.All", "default group: people", func(c config.Config) bool { return c.Contacts.DefaultGroup == config.DefaultGroupPeople }},
	{"Contacts.Read", "contact folders", func(c config.Config) bool {
		return c.Contacts.ContactFolders || c.Contacts.DefaultGroup == config.DefaultGroupContacts
	}},
}

// covering lists the permissions that include another.
var covering = map[string][]string{
	"Presence.Read.All":     {"Presence.ReadWrite.All"},
	"User.Read.All":         {"User.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"},
	"Directory.Read.All":    {"Directory.ReadWrite.All"},
	"GroupMember.Read.All":  {"GroupMember.ReadWrite.All", "Group.Read.All", "Group.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"},
	"ProfilePhoto.Read.All": {"ProfilePhoto.ReadWrite.All", "User.Read.All", "User.ReadWrite.All"},
	"Group.Read.All":        {"Group.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"},
	"Contacts.Read":         {"Contacts.ReadWrite"},
}

// Run pings every tenant and fails if one of them does not answer.
func (c *pingCommand) Run(ctx context.Context) error {
	loaded, err := config.Load(c.Config, os.Environ())
	if err != nil {
		return fmt.Errorf("the configuration is not valid:\n%w", err)
	}
	var failed []error
	for _, t := range loaded.Config.Tenants {
		if err := c.ping(ctx, os.Stdout, loaded.Config, t); err != nil {
			failed = append(failed, fmt.Errorf("tenant %s: %w", t.Name, err))
		}
	}
	return errors.Join(failed...)
}

func (c *pingCommand) ping(ctx context.Context, w io.Writer, cfg config.Config, tc config.Tenant) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	t, err := app.NewTenant(cfg, tc, clock.System(), newLogger(os.Stderr, cfg.Log), nil, app.Common{})
	if err != nil {
		return err
	}
	defer t.Close()
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	defer tw.Flush()
	fmt.Fprintf(tw, "tenant\t%s (%s, %s)\n", tc.Name, tc.TenantID, strings.Join(tc.Domains, ", "))
	expires, roles, err := t.Graph.Token(ctx)
	if err != nil {
		fmt.Fprintf(tw, "token\tnone\n")
		return err
	}
	fmt.Fprintf(tw, "token\tvalid until %s\n", expires.UTC().Format(time.RFC3339))
	for _, p := range permissions {
		state := "not needed by this configuration"
		switch {
		case granted(roles, p.name):
			state = "granted"
		case p.needed(cfg):
			state = "MISSING: " + p.usedBy + " will be hidden"
		}
		fmt.Fprintf(tw, "%s\t%s\n", p.name, state)
	}
	users, err := t.Graph.FindUsers(ctx, "userType eq 'Member'", 1)
	if err != nil {
		return fmt.Errorf("reading one user: %w", err)
	}
	if len(users) == 0 {
		return errors.New("the directory has no members")
	}
	began := time.Now()
	if _, err := t.Graph.Presence(ctx, users[0].ID); err != nil {
		return fmt.Errorf("reading one presence: %w", err)
	}
	fmt.Fprintf(tw, "one presence\tread in %s\n", time.Since(began).Round(time.Millisecond))
	s := t.Budget.Stats()
	fmt.Fprintf(tw, "budget\t%d of %d requests left in this window of %s, %.0f more per second\n",
		s.Remaining, tc.Budget.Limit-tc.Budget.OtherPrograms, tc.Budget.Window, s.PlanRate)
	return nil
}

func granted(roles []string, name string) bool {
	if slices.Contains(roles, name) {
		return true
	}
	return slices.ContainsFunc(covering[name], func(wider string) bool { return slices.Contains(roles, wider) })
}
