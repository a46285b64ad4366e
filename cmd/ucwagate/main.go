// Command ucwagate answers UCWA 2.0 clients with presence from Microsoft Graph.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/alecthomas/kong"
)

type commands struct {
	Serve    serveCommand    `cmd:"" help:"Run the gateway."`
	Demo     demoCommand     `cmd:"" help:"Run the gateway against a simulated tenant whose people move, in one process."`
	Simulate simulateCommand `cmd:"" help:"Run the simulated tenant alone."`
	Check    checkCommand    `cmd:"" help:"Validate a configuration and print it with the origin of every value."`
	Map      mapCommand      `cmd:"" help:"Print the translation between Graph and UCWA."`
	Graph    graphCommand    `cmd:"" help:"Ask Graph."`
	Helper   helperCommand   `cmd:"" help:"Sign in the accounts in whose name the gateway subscribes to presence."`
	Watch    watchCommand    `cmd:"" help:"Be a UCWA client: sign in to a gateway, subscribe to people and print every change."`
	Conform  conformCommand  `cmd:"" help:"Be a strict UCWA client: check a gateway against the rules of the protocol."`
	Health   healthCommand   `cmd:"" help:"Ask a running gateway how it is; fails if it is not ready."`
	Version  versionCommand  `cmd:"" help:"Print the version."`
}

func main() { os.Exit(run()) }

// run is main with an exit code: 0, 1 for a failure, 80 for wrong usage.
func run() int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the program at once.
	context.AfterFunc(ctx, stop)
	var c commands
	k := kong.Parse(&c, kong.Name("ucwagate"), kong.UsageOnError(),
		kong.Description("A gateway that speaks UCWA 2.0 to clients and Microsoft Graph to the tenant."),
		kong.BindTo(ctx, (*context.Context)(nil)))
	if err := k.Run(); err != nil {
		fmt.Fprintf(os.Stderr, "ucwagate: %v\n", err)
		return 1
	}
	return 0
}
