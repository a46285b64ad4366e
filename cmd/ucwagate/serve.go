package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"

	"ucwagate/cmd/ucwagate/internal/app"
	"ucwagate/cmd/ucwagate/internal/config"
)

type serveCommand struct {
	Config string `help:"Configuration file (YAML). Without it, the environment alone." type:"path" placeholder:"FILE"`
}

// Run serves until a signal.
func (c *serveCommand) Run(ctx context.Context) error {
	loaded, err := config.Load(c.Config, os.Environ())
	if err != nil {
		return fmt.Errorf("the configuration is not valid:\n%w", err)
	}
	log := newLogger(os.Stderr, loaded.Config.Log)
	for _, w := range loaded.Warnings {
		log.WarnContext(ctx, "configuration", "warning", w.Error())
	}
	a, err := app.New(loaded.Config, log)
	if err != nil {
		return err
	}
	return runApp(ctx, a)
}

// runApp starts a, waits for the end of ctx and stops it.
func runApp(ctx context.Context, a *app.App) (err error) {
	defer func() {
		if stopErr := a.Stop(context.WithoutCancel(ctx)); err == nil {
			err = stopErr
		}
	}()
	if err := a.Start(ctx); err != nil {
		return err
	}
	return a.Wait(ctx)
}

func newLogger(w io.Writer, c config.Log) *slog.Logger {
	o := &slog.HandlerOptions{Level: c.Level.Slog()}
	if c.Format == config.LogText {
		return slog.New(slog.NewTextHandler(w, o))
	}
	return slog.New(slog.NewJSONHandler(w, o))
}

type checkCommand struct {
	Config string `help:"Configuration file (YAML)." type:"path" placeholder:"FILE"`
}

// Run prints the effective configuration, or everything that is wrong with it.
func (c *checkCommand) Run() error {
	loaded, err := config.Load(c.Config, os.Environ())
	if err != nil {
		return fmt.Errorf("the configuration is not valid:\n%w", err)
	}
	for _, w := range loaded.Warnings {
		fmt.Fprintf(os.Stderr, "warning: %v\n", w)
	}
	// Building everything finds what reading cannot: a key that does not
	// parse, a certificate without a private key.
	a, err := app.New(loaded.Config, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	if err := a.Stop(context.Background()); err != nil {
		return err
	}
	return loaded.Print(os.Stdout)
}

type versionCommand struct{}

// Run prints what the build knows of itself.
func (versionCommand) Run() error {
	version, revision := "unknown", ""
	if info, ok := debug.ReadBuildInfo(); ok {
		version = info.Main.Version
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				revision = " " + s.Value
			}
		}
		revision += " " + info.GoVersion
	}
	_, err := fmt.Printf("ucwagate %s%s\n", version, revision)
	return err
}
