package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"

	"ucwagate/cmd/ucwagate/internal/app"
	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/cmd/ucwagate/internal/redisconn"
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
	Config  string `help:"Configuration file (YAML)." type:"path" placeholder:"FILE"`
	Offline bool   `help:"Contact nobody: do not look at Redis."`
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
	if loaded.Config.Redis.Enabled() && !c.Offline {
		if err := checkRedis(loaded.Config.Redis); err != nil {
			return err
		}
	}
	// Building everything finds what reading cannot: a key that does not
	// parse, a certificate without a private key. Redis has been looked at.
	built := loaded.Config
	built.Redis = config.Redis{}
	a, err := app.New(built, slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	if err := a.Stop(context.Background()); err != nil {
		return err
	}
	return loaded.Print(os.Stdout)
}

// checkRedis says what Redis is, and everything that is wrong with it.
func checkRedis(c config.Redis) error {
	report, err := redisconn.Check(context.Background(), c)
	if err != nil {
		return err
	}
	fmt.Fprintf(os.Stderr, "redis: %s\n", report.Server)
	for _, w := range report.Warnings {
		fmt.Fprintf(os.Stderr, "warning: redis: %s\n", w)
	}
	if len(report.Problems) > 0 {
		return fmt.Errorf("redis is not fit:\n%s", strings.Join(report.Problems, "\n"))
	}
	return nil
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
