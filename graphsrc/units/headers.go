package units

import (
	"math"
	"net/http"
	"strconv"
	"strings"
)

// The headers by which the identity service tells of its limit.
//
// Source: https://learn.microsoft.com/en-us/graph/throttling-limits#response-headers
const (
	headerUnits       = "x-ms-resource-unit"
	headerShare       = "x-ms-throttle-limit-percentage"
	headerScope       = "x-ms-throttle-scope"
	headerInformation = "x-ms-throttle-information"
	headerPriority    = "x-ms-throttle-priority"
)

const (
	// maxCharge bounds what is believed that one request cost; the dearest of
	// the published table is 5.
	maxCharge = 100
	// maxShare bounds the part of the limit that is believed to be used; 1.8 is
	// the most that is documented.
	maxShare = 10
)

// charged is what the service says a request has cost; false if it does not.
func charged(h http.Header) (units int, stated bool) {
	n, err := strconv.Atoi(strings.TrimSpace(h.Get(headerUnits)))
	if err != nil || n < 1 {
		return 0, false
	}
	return min(n, maxCharge), true
}

// share is the part of the limit that has been used, 1 being all of it; 0 if
// the service does not say, which it does from 0.8 on.
func share(h http.Header) float64 {
	f, err := strconv.ParseFloat(strings.TrimSpace(h.Get(headerShare)), 64)
	if err != nil || math.IsNaN(f) || f <= 0 {
		return 0
	}
	return min(f, maxShare)
}

// scopeOf returns whose limit was reached, such as "Tenant_Application", and
// which, such as "ReadWrite", out of
//
//	<scope>/<limit>/<application>/<tenant, user or resource>
//
// as far as they look like that.
func scopeOf(h http.Header) (scope, limit string) {
	parts := strings.Split(strings.TrimSpace(h.Get(headerScope)), "/")
	if len(parts) < 2 {
		return "", ""
	}
	return word(parts[0]), word(parts[1])
}

// reasonOf returns why the service throttles, such as "CPULimitExceeded".
func reasonOf(h http.Header) string { return word(h.Get(headerInformation)) }

// word is s if it can stand in a log as it is: letters, digits, dashes and underscores.
func word(s string) string {
	s = strings.TrimSpace(s)
	odd := func(r rune) bool {
		return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '_' && r != '-'
	}
	if len(s) > 64 || strings.ContainsFunc(s, odd) {
		return ""
	}
	return s
}
