package graphsim

import (
	"fmt"
	"slices"
	"strings"
)

// NotifyFault bends change notifications of presence. Drop, Duplicate and
// Reorder are probabilities per notification. What goes wrong with the
// requests to /subscriptions themselves is a RouteFault.
type NotifyFault struct {
	// Silent delivers nothing, while subscriptions live on.
	Silent bool `json:"silent,omitempty"`
	// DelayMs delays notifications by milliseconds.
	DelayMs int     `json:"delayMs,omitempty"`
	Drop    float64 `json:"drop,omitempty"`
	// Duplicate repeats a notification in its request.
	Duplicate float64 `json:"duplicate,omitempty"`
	// Permute shuffles the notifications of a request; Reorder keeps one back
	// until the next about the same user and sends it after that.
	Permute bool    `json:"permute,omitempty"`
	Reorder float64 `json:"reorder,omitempty"`
	// WrongState sends another client state than the subscription's.
	WrongState bool `json:"wrongState,omitempty"`
	// BadSignature sends a dataSignature that does not match.
	BadSignature bool `json:"badSignature,omitempty"`
	// BadToken sends validation tokens that are "forged" (signed by another
	// key), "expired", or for another "audience", of another "publisher" or
	// "issuer".
	BadToken string `json:"badToken,omitempty"`
	// NoValidation refuses new subscriptions as if their URLs had not answered
	// the handshake, which is not made.
	NoValidation bool `json:"noValidation,omitempty"`
}

var badTokens = []string{"", "forged", "expired", "audience", "publisher", "issuer"}

func (f NotifyFault) validate() error {
	if f.DelayMs < 0 {
		return fmt.Errorf("notify.delayMs: %d: must not be negative", f.DelayMs)
	}
	for what, p := range map[string]float64{"drop": f.Drop, "duplicate": f.Duplicate, "reorder": f.Reorder} {
		if p < 0 || p > 1 {
			return fmt.Errorf("notify.%s: %v is no probability from 0 to 1", what, p)
		}
	}
	if !slices.Contains(badTokens, f.BadToken) {
		return fmt.Errorf("notify.badToken: %q: allowed are %s", f.BadToken, strings.Join(badTokens[1:], ", "))
	}
	return nil
}
