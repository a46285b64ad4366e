package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"ucwagate/cmd/ucwagate/internal/conform"
)

type conformCommand struct {
	URL          string        `help:"Where discovery begins, such as https://lyncdiscover.contoso.com/. Needed unless --list is given."`
	User         string        `help:"User name, such as ana@contoso.com. Needed unless --list is given."`
	PasswordFile string        `type:"existingfile" help:"File that holds the password."`
	Password     string        `env:"UCWAGATE_CONFORM_PASSWORD" help:"Password; better from the environment or a file. Without one it is read from standard input."`
	JSON         bool          `name:"json" xor:"format" help:"Walk in JSON only; otherwise in JSON and XML."`
	XML          bool          `name:"xml" xor:"format" help:"Walk in XML only."`
	Only         []string      `help:"Sections, classes or rules to walk, such as events or href.relative, the id in brackets on a line; repeatable."`
	Quiet        bool          `help:"Print what failed, the rules that could not be checked at all and the summary only."`
	List         bool          `help:"Print all rules, one per line, and walk nothing."`
	Publish      bool          `help:"Also set the user's note, and restore it."`
	CAFile       string        `type:"existingfile" help:"Certificates (PEM) to trust besides those of the system."`
	Patience     time.Duration `default:"30s" help:"How long an expected event may take."`
}

var (
	errNotConforming = errors.New("the server breaks rules")
	errNoPassword    = errors.New("there is no password: give --password-file or set UCWAGATE_CONFORM_PASSWORD")
)

// Help is shown behind the flags.
func (c *conformCommand) Help() string {
	return "Be a strict UCWA client: walk every presence resource of a server from links alone, and print a line for each rule that is checked, " +
		"with the id of the rule in brackets. The exit code is 1 if one is broken. " +
		"The user is made available meanwhile: an application of the walk calls makeMeAvailable and is then deleted. " +
		"Nothing stays behind: applications of the walk and their subscriptions are deleted, contacts and groups are only read, " +
		"and the note that --publish sets is put back."
}

// Validate says what is missing.
func (c *conformCommand) Validate() error {
	var missing []string
	if c.URL == "" {
		missing = append(missing, "--url=STRING")
	}
	if c.User == "" {
		missing = append(missing, "--user=STRING")
	}
	if c.List || len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("missing flags: %s", strings.Join(missing, ", "))
}

// Run walks the server.
func (c *conformCommand) Run(ctx context.Context) error {
	if c.List {
		return conform.List(os.Stdout)
	}
	o := conform.Options{
		URL: c.URL, User: c.User, Formats: c.formats(), Only: c.Only, Publish: c.Publish, Quiet: c.Quiet,
		Out: os.Stdout, Patience: c.Patience,
	}
	if err := o.Check(); err != nil {
		return err
	}
	if err := c.readPassword(); err != nil {
		return err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	if c.CAFile != "" {
		roots, err := c.roots()
		if err != nil {
			return err
		}
		transport.TLSClientConfig = &tls.Config{RootCAs: roots}
	}
	o.Password, o.HTTP = c.Password, transport
	report, err := conform.Run(ctx, o)
	if report != nil {
		fmt.Println(report.Summary())
	}
	switch {
	case err != nil:
		return err
	case report.Count(conform.Failed) > 0:
		return errNotConforming
	}
	return nil
}

func (c *conformCommand) formats() []conform.Format {
	switch {
	case c.JSON:
		return []conform.Format{conform.JSON}
	case c.XML:
		return []conform.Format{conform.XML}
	}
	return []conform.Format{conform.JSON, conform.XML}
}

// readPassword takes the password from the file or, if there is none at all,
// from standard input.
func (c *conformCommand) readPassword() error {
	if c.PasswordFile != "" {
		raw, err := os.ReadFile(c.PasswordFile)
		if err != nil {
			return fmt.Errorf("reading the password: %w", err)
		}
		c.Password = strings.TrimRight(string(raw), "\r\n")
	}
	if c.Password != "" {
		return nil
	}
	if c.PasswordFile != "" {
		return fmt.Errorf("there is no password in %s", c.PasswordFile)
	}
	asked := terminal(os.Stdin)
	if asked {
		fmt.Fprintf(os.Stderr, "Password of %s: ", c.User)
	}
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if c.Password = strings.TrimRight(line, "\r\n"); c.Password != "" {
		return nil
	}
	if asked {
		fmt.Fprintln(os.Stderr)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w (reading standard input: %w)", errNoPassword, err)
	}
	return errNoPassword
}

// terminal says whether somebody can answer a question there: nobody can in a
// file, a pipe or the null device.
func terminal(f *os.File) bool {
	info, err := f.Stat()
	if err != nil || info.Mode()&os.ModeCharDevice == 0 {
		return false
	}
	null, err := os.Stat(os.DevNull)
	return err != nil || !os.SameFile(info, null)
}

// roots are the certificates of the system and of the file.
func (c *conformCommand) roots() (*x509.CertPool, error) {
	pem, err := os.ReadFile(c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("reading the certificates: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("there is no certificate in %s", c.CAFile)
	}
	return roots, nil
}
