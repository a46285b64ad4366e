// Package promtest holds the tests of configs/prometheus and configs/grafana:
// promtool reads the shipped rules and runs their tests, every metric and label
// in them and in the dashboard is compared with what package metrics exports,
// and a real Prometheus scrapes a real gateway and evaluates all of it.
//
// It must never contain anything but tests.
package promtest
