package mapping

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestParsePreferred(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		want     PreferredAvailability
		ok       bool
	}{
		{"a member", "Online", PreferOnline, true},
		{"lower case", "donotdisturb", PreferDoNotDisturb, true},
		{"Graph's spelling of off work", "OffWork", PreferOffwork, true},
		{"space around it", " Away ", PreferAway, true},
		{"nothing is a reset, not a member", "", "", false},
		{"only readable members cannot be set", "IdleOnline", "", false},
		{"offline cannot be set", "Offline", "", false},
		{"Graph's own word is not UCWA's", "Available", "", false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := ParsePreferred(tt.in)
			require.Equal(t, tt.ok, ok)
			require.Equal(t, tt.want, got)
		})
	}
}

func TestPreferredNamesParse(t *testing.T) {
	names := PreferredNames()
	require.Equal(t, []string{"Online", "Busy", "DoNotDisturb", "BeRightBack", "Away", "Offwork"}, names)
	for _, name := range names {
		for _, spelling := range []string{name, strings.ToUpper(name), strings.ToLower(name)} {
			p, ok := ParsePreferred(spelling)
			require.True(t, ok, spelling)
			require.Equal(t, name, string(p))
		}
	}
}

func TestPrefer(t *testing.T) {
	for _, tt := range []struct {
		prefer                 PreferredAvailability
		availability, activity string
		readBack               shown
	}{
		{PreferOnline, "Available", "Available", shown{Online, ""}},
		{PreferBusy, "Busy", "Busy", shown{Busy, ""}},
		{PreferDoNotDisturb, "DoNotDisturb", "DoNotDisturb", shown{DoNotDisturb, ""}},
		{PreferBeRightBack, "BeRightBack", "BeRightBack", shown{BeRightBack, ""}},
		{PreferAway, "Away", "Away", shown{Away, ""}},
		{PreferOffwork, "Offline", "OffWork", shown{Offline, "off-work"}},
	} {
		t.Run(string(tt.prefer)+" is set and read back", func(t *testing.T) {
			action, ok := Prefer(tt.prefer)
			require.True(t, ok)
			require.Equal(t, GraphAction{Method: "setUserPreferredPresence", Availability: tt.availability, Activity: tt.activity}, action)
			back := Translate(Presence{Availability: action.Availability, Activity: action.Activity}, Options{})
			require.Equal(t, tt.readBack, show(back))
		})
	}
	for _, foreign := range []PreferredAvailability{"", "online", "Offline"} {
		_, ok := Prefer(foreign)
		require.False(t, ok, "%q is not a member", foreign)
	}
}

func TestOtherActions(t *testing.T) {
	require.Equal(t, GraphAction{Method: "setPresence", Availability: "Available", Activity: "Available"}, MakeAvailable())
	require.Equal(t, GraphAction{Method: "clearPresence"}, EndSession())
	require.Equal(t, GraphAction{Method: "clearUserPreferredPresence"}, ResetPresence())
	require.Equal(t, GraphAction{Method: "setStatusMessage", Text: "In the lab"}, SetNote(" In the lab\n"))
	require.Equal(t, GraphAction{Method: "setStatusMessage"}, SetNote(""))
	require.Equal(t, GraphAction{Method: "setStatusMessage"}, SetNote(" \t"))
}
