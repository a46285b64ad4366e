package msgraph

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/microsoft/kiota-abstractions-go/serialization"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"ucwagate/graphsrc"
	"ucwagate/mapping"
)

// Publish implements graphsrc.Publisher. The id is an object id: presence is
// not found by user principal name. Fractions of a second of lasts are rounded
// up; whether Graph accepts the duration (of setPresence, 5 minutes to 4 hours)
// is left to it. An action that is none, or that lacks a part, is KindInvalid
// and is not sent.
func (c *Client) Publish(ctx context.Context, id string, action mapping.GraphAction, lasts time.Duration) error {
	const op = "publish presence"
	if err := checkID(op, id); err != nil {
		return err
	}
	switch action.Method {
	case mapping.MethodSetPresence:
		return c.setPresence(ctx, id, action, lasts)
	case mapping.MethodClearPresence:
		return c.clearPresence(ctx, id)
	case mapping.MethodSetUserPreferredPresence:
		return c.setPreferred(ctx, id, action, lasts)
	case mapping.MethodClearUserPreferredPresence:
		return c.send(ctx, "clear user preferred presence", nil, func(ctx context.Context, opts options) error {
			return c.user(id).Presence().ClearUserPreferredPresence().Post(ctx,
				&users.ItemPresenceClearUserPreferredPresenceRequestBuilderPostRequestConfiguration{Options: opts})
		})
	case mapping.MethodSetStatusMessage:
		return c.setStatusMessage(ctx, id, action.Text)
	}
	return invalid(op, "not an action of presence")
}

func (c *Client) setPresence(ctx context.Context, id string, action mapping.GraphAction, lasts time.Duration) error {
	const op = "set presence"
	if action.Availability == "" || action.Activity == "" {
		return invalid(op, "no availability or no activity")
	}
	session, err := c.sessionID(ctx, op)
	if err != nil {
		return err
	}
	body := &setPresenceBody{users.NewItemPresenceSetPresencePostRequestBody(), parameters{
		{"sessionId", session},
		{"availability", action.Availability},
		{"activity", action.Activity},
		{"expirationDuration", isoDuration(lasts)},
	}}
	return c.send(ctx, op, nil, func(ctx context.Context, opts options) error {
		return c.user(id).Presence().SetPresence().Post(ctx, body,
			&users.ItemPresenceSetPresenceRequestBuilderPostRequestConfiguration{Options: opts})
	})
}

func (c *Client) clearPresence(ctx context.Context, id string) error {
	const op = "clear presence"
	session, err := c.sessionID(ctx, op)
	if err != nil {
		return err
	}
	body := &clearPresenceBody{users.NewItemPresenceClearPresencePostRequestBody(), parameters{{"sessionId", session}}}
	err = c.send(ctx, op, nil, func(ctx context.Context, opts options) error {
		return c.user(id).Presence().ClearPresence().Post(ctx, body,
			&users.ItemPresenceClearPresenceRequestBuilderPostRequestConfiguration{Options: opts})
	})
	if saysNoSession(err) {
		return nil
	}
	return err
}

// saysNoSession recognises the documented answer to the end of a session that
// is not there, "404 NotFound". A 404 of another code is about something else:
// a user or a cloud without presence, or a proxy on the way.
//
// Source: https://learn.microsoft.com/en-us/graph/api/presence-clearpresence
func saysNoSession(err error) bool {
	var e *graphsrc.Error
	if !errors.As(err, &e) || e.Kind != graphsrc.KindNotFound {
		return false
	}
	return strings.EqualFold(e.Code, "NotFound") || e.Code == "" && e.Message == ""
}

func (c *Client) setPreferred(ctx context.Context, id string, action mapping.GraphAction, lasts time.Duration) error {
	const op = "set user preferred presence"
	if action.Availability == "" || action.Activity == "" {
		return invalid(op, "no availability or no activity")
	}
	body := &setPreferredBody{users.NewItemPresenceSetUserPreferredPresencePostRequestBody(), parameters{
		{"availability", action.Availability},
		{"activity", action.Activity},
		{"expirationDuration", isoDuration(lasts)},
	}}
	return c.send(ctx, op, nil, func(ctx context.Context, opts options) error {
		return c.user(id).Presence().SetUserPreferredPresence().Post(ctx, body,
			&users.ItemPresenceSetUserPreferredPresenceRequestBuilderPostRequestConfiguration{Options: opts})
	})
}

func (c *Client) setStatusMessage(ctx context.Context, id, text string) error {
	body := &statusMessageBody{users.NewItemPresenceSetStatusMessagePostRequestBody(), text}
	return c.send(ctx, "set status message", nil, func(ctx context.Context, opts options) error {
		return c.user(id).Presence().SetStatusMessage().Post(ctx, body,
			&users.ItemPresenceSetStatusMessageRequestBuilderPostRequestConfiguration{Options: opts})
	})
}

// sessionID is the name of the application's presence sessions: its client id.
// A managed identity need not be configured with one; its token names it.
//
// Source: https://learn.microsoft.com/en-us/graph/api/presence-setpresence
func (c *Client) sessionID(ctx context.Context, op string) (string, error) {
	if c.clientID != "" {
		return c.clientID, nil
	}
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	token, err := c.tokens.get(ctx)
	if err != nil {
		return "", graphsrc.TransportError(op, err)
	}
	claims, _ := claimsIn(token.Token)
	for _, id := range [...]string{claims.AppID, claims.AppIDV2} {
		if id != "" {
			return id, nil
		}
	}
	return "", invalid(op, "the client id of the application is not known")
}

// isoDuration writes a duration in ISO 8601, in hours, minutes and seconds
// only: OData knows no weeks, which the SDK's own type would make of seven
// days. No duration, or a negative one, is an empty text.
func isoDuration(d time.Duration) string {
	if d <= 0 {
		return ""
	}
	seconds := int64(d / time.Second)
	if d%time.Second > 0 {
		seconds++
	}
	text := "PT"
	for _, unit := range [...]struct {
		count int64
		name  byte
	}{{seconds / 3600, 'H'}, {seconds / 60 % 60, 'M'}, {seconds % 60, 'S'}} {
		if unit.count > 0 {
			text += fmt.Sprintf("%d%c", unit.count, unit.name)
		}
	}
	return text
}

// The bodies of the actions. Each embeds the SDK's, for the type that the
// request builder wants, and writes itself.
type (
	setPresenceBody struct {
		*users.ItemPresenceSetPresencePostRequestBody
		parameters parameters
	}
	clearPresenceBody struct {
		*users.ItemPresenceClearPresencePostRequestBody
		parameters parameters
	}
	setPreferredBody struct {
		*users.ItemPresenceSetUserPreferredPresencePostRequestBody
		parameters parameters
	}
	statusMessageBody struct {
		*users.ItemPresenceSetStatusMessagePostRequestBody
		text string
	}
)

// Serialize implements serialization.Parsable.
func (b *setPresenceBody) Serialize(writer serialization.SerializationWriter) error {
	return b.parameters.write(writer)
}

// Serialize implements serialization.Parsable.
func (b *clearPresenceBody) Serialize(writer serialization.SerializationWriter) error {
	return b.parameters.write(writer)
}

// Serialize implements serialization.Parsable.
func (b *setPreferredBody) Serialize(writer serialization.SerializationWriter) error {
	return b.parameters.write(writer)
}

// Serialize implements serialization.Parsable. An empty text clears the message.
func (b *statusMessageBody) Serialize(writer serialization.SerializationWriter) error {
	type message struct {
		Content     string `json:"content"`
		ContentType string `json:"contentType"`
	}
	return writer.WriteAnyValue("statusMessage", struct {
		Message message `json:"message"`
	}{message{b.text, "text"}})
}

// parameters are those of an action, in order; one without a value is left out.
type parameters []struct{ name, value string }

func (p parameters) write(writer serialization.SerializationWriter) error {
	for i := range p {
		if p[i].value == "" {
			continue
		}
		if err := writer.WriteStringValue(p[i].name, &p[i].value); err != nil {
			return fmt.Errorf("writing %s: %w", p[i].name, err)
		}
	}
	return nil
}
