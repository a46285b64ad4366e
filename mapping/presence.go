package mapping

// Presence is what Graph says of one person, in Graph's own words. Every
// field may be empty: the documentation types all of them as nullable and
// national clouds leave most of them out.
//
// Source: https://learn.microsoft.com/en-us/graph/api/resources/presence
type Presence struct {
	// Availability is the base state, for example "Available" or "BusyIdle".
	Availability string
	// Activity refines Availability, for example "InAMeeting".
	Activity string
	// OutOfOffice is outOfOfficeSettings.isOutOfOffice.
	OutOfOffice bool
	// OutOfOfficeMessage is outOfOfficeSettings.message, the auto-reply text.
	OutOfOfficeMessage string
	// StatusMessage is statusMessage.message.content.
	StatusMessage string
	// WorkLocation is workLocation.workLocationType: "office", "remote",
	// "timeOff" or "unspecified".
	WorkLocation string
}
