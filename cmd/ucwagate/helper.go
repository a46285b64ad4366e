package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/graphsrc/msgraph"
	"ucwagate/graphsrc/msgraph/delegated"
)

type helperCommand struct {
	SignIn  helperSignInCommand  `cmd:"" name:"sign-in" help:"Sign a helper account in and keep the sign-in in a file."`
	List    helperListCommand    `cmd:"" help:"Show which accounts are signed in in files."`
	SignOut helperSignOutCommand `cmd:"" name:"sign-out" help:"Sign the account in a file out by removing the file."`
}

// Help is shown behind the commands.
func (helperCommand) Help() string {
	return "Helper accounts are users in whose name the gateway subscribes to presence: Graph notifies of presence for users only, " +
		"and of 650 people for each of them. Use accounts that no person uses, and the delegated permission Presence.Read.All."
}

type helperSignInCommand struct {
	Config   string `help:"Configuration file (YAML). Without it, the environment alone." type:"path" placeholder:"FILE"`
	Tenant   string `help:"Name of the tenant in the configuration; may be left out if there is one." placeholder:"NAME"`
	File     string `help:"Where the sign-in is kept; its folder must be writable. Left out: the first of the tenant's notifications.helpers in which nobody is signed in." type:"path" placeholder:"FILE"`
	ClientID string `name:"client-id" help:"Application (client) id of the app registration, where it is neither the tenant's notifications.client_id nor that of its credential. It must allow public client flows." placeholder:"GUID"`
}

// Run signs an account in. What a person has to do goes to standard error, who
// has signed in to standard output.
func (c *helperSignInCommand) Run(ctx context.Context) error {
	loaded, err := config.Load(c.Config, os.Environ())
	if err != nil {
		return fmt.Errorf("the configuration is not valid:\n%w", err)
	}
	t, err := tenantNamed(loaded.Config.Tenants, c.Tenant)
	if err != nil {
		return err
	}
	if c.File == "" {
		if c.File, err = vacant(ctx, t); err != nil {
			return fmt.Errorf("tenant %s: %w", t.Name, err)
		}
	}
	graph, err := c.graph(t)
	if err != nil {
		return fmt.Errorf("tenant %s: %w", t.Name, err)
	}
	account, err := delegated.New(delegated.Options{Graph: graph, File: c.File, Logger: newLogger(os.Stderr, loaded.Config.Log)})
	if err != nil {
		return fmt.Errorf("tenant %s: %w", t.Name, err)
	}
	defer account.Close()
	before, _ := delegated.Read(ctx, c.File) // nobody, if it cannot be read
	name, err := account.SignIn(ctx, func(message, _, _ string, expires time.Time) {
		fmt.Fprintf(os.Stderr, "%s\nThe code ends at %s. Sign in as the helper account, not as yourself.\n", message, expires.Format(time.TimeOnly))
	})
	if err != nil {
		return err
	}
	if before.Username != "" && !strings.EqualFold(before.ID, account.ID()) {
		fmt.Fprintf(os.Stderr, "warning: %s was signed in in this file until now\n", before.Username)
	}
	_, err = fmt.Printf("%s (%s) is signed in. %s keeps the sign-in.\n"+
		"Entra ID keeps it for %d days after each use, now until %s, unless a policy or an administrator ends it.\n",
		name, account.ID(), c.File, int(delegated.Lifetime.Hours()/24), time.Now().Add(delegated.Lifetime).UTC().Format(time.DateOnly))
	return err
}

// graph says where an account of a tenant signs in, and for which application.
func (c *helperSignInCommand) graph(t config.Tenant) (msgraph.Config, error) {
	clientID := c.ClientID
	if clientID == "" {
		clientID = t.HelperClientID()
	}
	if clientID == "" {
		// A managed identity has a client id, but nobody can sign in to it.
		return msgraph.Config{}, fmt.Errorf("its credential, of kind %s, names no app registration that users sign in to: give --client-id", t.Credential.Kind)
	}
	roots, err := t.RootCAs()
	if err != nil {
		return msgraph.Config{}, err
	}
	return msgraph.Config{
		TenantID: t.TenantID, ClientID: clientID, Cloud: string(t.Cloud),
		GraphURL: t.GraphURL, Authority: t.Authority, RootCAs: roots,
	}, nil
}

// vacant is the first of a tenant's helper files in which nobody is signed in.
func vacant(ctx context.Context, t config.Tenant) (string, error) {
	for _, file := range t.Notifications.Helpers {
		_, err := delegated.Read(ctx, file)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return file, nil
		case err != nil:
			return "", fmt.Errorf("finding a file in which nobody is signed in: %s: %w", file, err)
		}
	}
	if len(t.Notifications.Helpers) > 0 {
		return "", errors.New("somebody is signed in in each of its notifications.helpers: give --file to replace one")
	}
	return "", errors.New("its configuration names no notifications.helpers: give --file")
}

// tenantNamed picks a tenant by its name, or the only one.
func tenantNamed(tenants []config.Tenant, name string) (config.Tenant, error) {
	var names []string
	for _, t := range tenants {
		if t.Name == name || name == "" && len(tenants) == 1 {
			return t, nil
		}
		names = append(names, t.Name)
	}
	if name == "" {
		return config.Tenant{}, fmt.Errorf("there are several tenants: give --tenant (%s)", strings.Join(names, ", "))
	}
	return config.Tenant{}, fmt.Errorf("there is no tenant %q; there is %s", name, strings.Join(names, ", "))
}

type helperListCommand struct {
	Config string   `help:"Configuration file (YAML) that names the helpers, where no file is given." type:"path" placeholder:"FILE"`
	Files  []string `arg:"" optional:"" name:"file" type:"path" help:"Files of helper accounts."`
}

// Run prints one line for each file, and fails if an account is not signed in.
func (c *helperListCommand) Run(ctx context.Context) error {
	if len(c.Files) == 0 {
		loaded, err := config.Load(c.Config, os.Environ())
		if err != nil {
			return fmt.Errorf("no file is given, and the configuration is not valid:\n%w", err)
		}
		for _, t := range loaded.Config.Tenants {
			c.Files = append(c.Files, t.Notifications.Helpers...)
		}
		if len(c.Files) == 0 {
			return errors.New("the configuration names no helper accounts")
		}
	}
	tw := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintf(tw, "FILE\tACCOUNT\tOBJECT ID\tSIGNED IN\tLAST ROTATION\tKEPT UNTIL\n")
	var failed []error
	for _, file := range c.Files {
		info, err := delegated.Read(ctx, file)
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				err = errors.New("nobody is signed in")
			}
			fmt.Fprintf(tw, "%s\t-\t-\t-\t-\t-\n", file)
			failed = append(failed, fmt.Errorf("%s: %w", file, err))
			continue
		}
		fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", file, info.Username, info.ID,
			info.SignedIn.Format(time.RFC3339), info.Rotated.Format(time.RFC3339), info.Expires().Format(time.DateOnly))
	}
	return errors.Join(append(failed, tw.Flush())...)
}

type helperSignOutCommand struct {
	File string `arg:"" type:"path" help:"File of the helper account."`
}

// Run removes the file.
func (c *helperSignOutCommand) Run(ctx context.Context) error {
	info, _ := delegated.Read(ctx, c.File) // its name is only for the message
	if err := delegated.Forget(ctx, c.File); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: nobody is signed in", c.File)
		}
		return err
	}
	name := info.Username
	if name == "" {
		name = "The account"
	}
	_, err := fmt.Printf("%s is signed out: %s is removed. Copies of it are good until the sign-ins of the account are revoked in Entra ID.\n", name, c.File)
	return err
}
