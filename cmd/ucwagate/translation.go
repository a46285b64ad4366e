package main

import (
	"os"

	"ucwagate/mapping"
)

type mapCommand struct {
	Table   mapTableCommand   `cmd:"" default:"1" help:"Print the whole translation (the default)."`
	Explain mapExplainCommand `cmd:"" help:"Explain how one presence is translated."`
}

type mapTableCommand struct{}

// Run prints the table.
func (mapTableCommand) Run() error { return mapping.WriteTable(os.Stdout) }

type mapExplainCommand struct {
	Availability  string `arg:"" help:"Graph's availability, such as Busy."`
	Activity      string `arg:"" help:"Graph's activity, such as InAMeeting."`
	Culture       string `default:"en-US" help:"Culture of the application, such as de-DE."`
	UnknownAsNone bool   `help:"Translate as with presence.unknown_as: None."`
}

// Run prints which rule fires and the resource that comes of it.
func (c *mapExplainCommand) Run() error {
	e := mapping.Explain(c.Availability, c.Activity, mapping.Culture(c.Culture), mapping.Options{UnknownAsNone: c.UnknownAsNone})
	_, err := e.WriteTo(os.Stdout)
	return err
}
