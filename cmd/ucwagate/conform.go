package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"ucwagate/cmd/ucwagate/internal/conform"
)

type conformCommand struct {
	URL          string        `required:"" help:"Where discovery begins, such as https://lyncdiscover.contoso.com/."`
	User         string        `required:"" help:"User name, such as ana@contoso.com."`
	PasswordFile string        `type:"existingfile" help:"File that holds the password."`
	Password     string        `env:"UCWAGATE_CONFORM_PASSWORD" help:"Password; better from the environment or a file. Without one it is read from standard input."`
	JSON         bool          `name:"json" xor:"format" help:"Walk in JSON only; otherwise in JSON and XML."`
	XML          bool          `name:"xml" xor:"format" help:"Walk in XML only."`
	Only         []string      `help:"Classes, sections or rules to walk, such as events or href.relative; repeatable."`
	Publish      bool          `help:"Also set the user's note, and restore it."`
	CAFile       string        `type:"existingfile" help:"Certificates (PEM) to trust besides those of the system."`
	Patience     time.Duration `default:"30s" help:"How long an expected event may take."`
}

var errNotConforming = errors.New("the server breaks rules")

// Help is shown behind the flags.
func (c *conformCommand) Help() string {
	return "Be a strict UCWA client: walk every presence resource of a server from links alone, and print a line for each rule that is checked. " +
		"The exit code is 1 if one is broken. Applications of its own are created and ended, one of them calls makeMeAvailable for as long as it lives; " +
		"contacts and groups are only read."
}

// Run walks the server.
func (c *conformCommand) Run(ctx context.Context) error {
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
	report, err := conform.Run(ctx, conform.Options{
		URL: c.URL, User: c.User, Password: c.Password, Formats: c.formats(), Only: c.Only, Publish: c.Publish,
		HTTP: transport, Out: os.Stdout, Patience: c.Patience,
	})
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
	fmt.Fprintf(os.Stderr, "Password of %s: ", c.User)
	line, err := bufio.NewReader(os.Stdin).ReadString('\n')
	if c.Password = strings.TrimRight(line, "\r\n"); c.Password == "" {
		return fmt.Errorf("there is no password: %w", errors.Join(err, os.ErrNotExist))
	}
	return nil
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
