// Package config turns one YAML file and the environment into the settings of
// the gateway, and says everything that is wrong with them at once.
//
//	defaults (Default)  <  file (YAML)  <  environment (UCWAGATE_…)
//	        └──────────────────┴──────────────────┘
//	              read as text by one table of options (Options), each value
//	              with its origin, merged, then decoded into Config
//
// The structs of this package are that table: a field's tags hold its key, its
// range, its form and its meaning, and [Default] holds its default. The reader
// of the file, the names of the environment variables, the printed
// configuration, the reference page and the test of the example file all work
// from it, so an option exists in all of them or in none.
//
// The package must never know what a setting is for: it starts nothing, opens
// no connection and keeps nothing. Secrets leave it only through
// Secret.Reveal and the methods that read the files named in the
// configuration; no error, and nothing printed, contains one.
package config
