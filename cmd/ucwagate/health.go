package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"time"
)

type healthCommand struct {
	URL     string        `default:"http://127.0.0.1:9090/readyz" help:"What is asked: /readyz, /livez or /startupz of the internal listener."`
	Timeout time.Duration `default:"3s" help:"How long an answer may take."`
}

// maxHealth is more than any of these answers.
const maxHealth = 64 << 10

// Run asks a gateway how it is, prints what it says and fails if it is not well:
// for probes in images without a shell.
func (c *healthCommand) Run(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.URL, http.NoBody)
	if err != nil {
		return fmt.Errorf("asking for health: %w", err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return fmt.Errorf("asking for health: %w", err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(io.LimitReader(res.Body, maxHealth))
	if err != nil {
		return fmt.Errorf("asking for health: %w", err)
	}
	if _, err := fmt.Fprintf(os.Stdout, "%s\n", bytes.TrimSpace(text)); err != nil {
		return err
	}
	if res.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", c.URL, res.Status)
	}
	return nil
}
