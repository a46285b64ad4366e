package config

import (
	"errors"
	"fmt"
	"math"
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
	"unicode"
)

// read checks one text against an option and returns it in its canonical
// form, which the decoder of Config understands. Errors begin with "must" or
// the like, to follow a key, and never contain a secret.
func (o *option) read(text string) (string, error) {
	canonical, err := o.readKind(text)
	if err != nil {
		return "", o.withValue(err, text)
	}
	if err := o.inRange(canonical); err != nil {
		return "", o.withValue(err, text)
	}
	return canonical, nil
}

// withValue adds the value found to an error, unless it may hold a secret, as
// the user part and the query of a URL may.
func (o *option) withValue(err error, text string) error {
	switch {
	case o.Secret, o.format == "origin", o.format == "graph", o.format == "authority", o.format == "callback", o.format == "hook":
		return err
	}
	return fmt.Errorf("%w, not %s", err, quote(text))
}

func (o *option) readKind(text string) (string, error) {
	elem := o.typ
	if o.isList() {
		elem = elem.Elem()
	}
	switch elem {
	case reflect.TypeFor[time.Duration]():
		d, err := time.ParseDuration(text)
		if err != nil {
			return "", errors.New("must be a duration with a unit, such as 20s or 1h30m")
		}
		return formatDuration(d), nil
	case reflect.TypeFor[Size]():
		var s Size
		if err := s.UnmarshalText([]byte(text)); err != nil {
			return "", err
		}
		return s.String(), nil
	case reflect.TypeFor[netip.Prefix]():
		return readPrefix(text)
	}
	switch elem.Kind() {
	case reflect.Bool:
		return readWord(text, []string{"true", "false"}, "must be true or false")
	case reflect.Int:
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return "", errors.New("must be a whole number")
		}
		return strconv.FormatInt(n, 10), nil
	case reflect.Float64:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil || math.IsNaN(n) || math.IsInf(n, 0) {
			return "", errors.New("must be a number")
		}
		return strconv.FormatFloat(n, 'f', -1, 64), nil
	default:
		return o.readText(text)
	}
}

func (o *option) readText(text string) (string, error) {
	if strings.ContainsFunc(text, unicode.IsControl) {
		return "", errors.New("must not contain control characters")
	}
	if len(o.OneOf) > 0 {
		return readWord(text, o.OneOf, "must be one of "+strings.Join(o.OneOf, ", "))
	}
	if text == "" && !o.isList() {
		return "", nil // not set
	}
	if format, ok := formats[o.format]; ok {
		return format(text)
	}
	return text, nil
}

// readWord finds text in a closed set, whatever its case.
func readWord(text string, words []string, otherwise string) (string, error) {
	for _, word := range words {
		if strings.EqualFold(text, word) {
			return word, nil
		}
	}
	return "", errors.New(otherwise)
}

// inRange checks a canonical text against min and max.
func (o *option) inRange(text string) error {
	if o.Min == "" && o.Max == "" {
		return nil
	}
	n := o.measure(text)
	if n < o.measure(o.Min) || n > o.measure(o.Max) {
		return fmt.Errorf("must be from %s to %s", o.Min, o.Max)
	}
	return nil
}

// measure turns a canonical text into a number that orders as its values do.
// Options with bounds stay far below 2^53, where a float64 is exact.
func (o *option) measure(text string) float64 {
	switch o.typ {
	case reflect.TypeFor[time.Duration]():
		d, err := time.ParseDuration(text)
		if err != nil {
			return math.NaN()
		}
		return float64(d)
	case reflect.TypeFor[Size]():
		var s Size
		if s.UnmarshalText([]byte(text)) != nil {
			return math.NaN()
		}
		return float64(s)
	default:
		n, err := strconv.ParseFloat(text, 64)
		if err != nil {
			return math.NaN()
		}
		return n
	}
}

// readPrefix reads an address or a network. A network with bits set behind its
// length is refused: what its author meant is anyone's guess, and the setting
// decides whose headers are believed.
func readPrefix(text string) (string, error) {
	if addr, err := netip.ParseAddr(text); err == nil && addr.Zone() == "" {
		addr = addr.Unmap()
		return netip.PrefixFrom(addr, addr.BitLen()).String(), nil
	}
	p, err := netip.ParsePrefix(text)
	switch {
	case err != nil:
		return "", errors.New("must be an IP address or a CIDR network such as 10.0.0.0/8")
	case p.Addr().Is4In6():
		return "", errors.New("must be written as an IPv4 network")
	case p != p.Masked():
		return "", fmt.Errorf("must be a network without host bits, such as %s", p.Masked())
	}
	return p.String(), nil
}

// quote shows a text of the input in a message: one line, of bounded length.
func quote(text string) string {
	const longest = 80
	if r := []rune(text); len(r) > longest {
		return strconv.Quote(string(r[:longest])) + "…"
	}
	return strconv.Quote(text)
}
