package msgraph

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/microsoft/kiota-abstractions-go/serialization"
	"github.com/microsoftgraph/msgraph-sdk-go/communications"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"ucwagate/graphsrc"
	"ucwagate/mapping"
)

// maxIDs is how many users one request may name.
//
// Source: https://learn.microsoft.com/en-us/graph/api/cloudcommunications-getpresencesbyuserid
const maxIDs = 650

const (
	opPresence  = "get presence"
	opPresences = "get presences by user id"
)

// Presences implements graphsrc.PresenceReader. No ids are no request; more
// than 650 are KindInvalid. Entries without an id are left out.
func (c *Client) Presences(ctx context.Context, ids []string) ([]graphsrc.Presence, error) {
	switch {
	case len(ids) == 0:
		return nil, nil
	case len(ids) > maxIDs:
		return nil, &graphsrc.Error{Op: opPresences, Kind: graphsrc.KindInvalid, Message: fmt.Sprintf("%d ids are more than %d", len(ids), maxIDs)}
	}
	var got page[wirePresence]
	err := c.send(ctx, opPresences, &got, func(ctx context.Context, opts options) error {
		body := &idsBody{communications.NewGetPresencesByUserIdPostRequestBody(), ids}
		_, err := communications.NewCommunicationsRequestBuilderInternal(nil, c.adapter).GetPresencesByUserId().
			PostAsGetPresencesByUserIdPostResponse(ctx, body,
				&communications.GetPresencesByUserIdRequestBuilderPostRequestConfiguration{Options: opts})
		return err
	})
	if err != nil {
		return nil, err
	}
	all := make([]graphsrc.Presence, 0, len(got.Value))
	for i := range got.Value {
		if entry := &got.Value[i]; entry.ID != "" {
			all = append(all, entry.presence())
		}
	}
	return all, nil
}

// idsBody is the SDK's request body, written in one piece: the SDK's own way
// costs three allocations for each id.
type idsBody struct {
	*communications.GetPresencesByUserIdPostRequestBody
	ids []string
}

// Serialize implements serialization.Parsable.
func (b *idsBody) Serialize(writer serialization.SerializationWriter) error {
	return writer.WriteAnyValue("ids", b.ids)
}

// Presence implements graphsrc.PresenceReader. An answer about somebody else,
// or about nothing, is KindMalformed.
func (c *Client) Presence(ctx context.Context, id string) (graphsrc.Presence, error) {
	if err := checkID(opPresence, id); err != nil {
		return graphsrc.Presence{}, err
	}
	var got singlePresence
	err := c.send(ctx, opPresence, &got, func(ctx context.Context, opts options) error {
		_, err := c.user(id).Presence().Get(ctx, &users.ItemPresenceRequestBuilderGetRequestConfiguration{Options: opts})
		return err
	})
	if err != nil {
		return graphsrc.Presence{}, err
	}
	if got.ID == "" {
		got.ID = id
	}
	if !strings.EqualFold(got.ID, id) {
		return graphsrc.Presence{}, &graphsrc.Error{Op: opPresence, Kind: graphsrc.KindMalformed, Message: "the answer is about somebody else"}
	}
	return got.presence(), nil
}

// user begins a request about one user. Builders are made anew for each
// request, because the adapter writes into their parameters.
func (c *Client) user(id string) *users.UserItemRequestBuilder {
	return users.NewUsersRequestBuilderInternal(nil, c.adapter).ByUserId(id)
}

// wirePresence is what is read of a presence. Everything may be missing: the
// government clouds send availability and activity only, and no user's expiry
// or publication date is shown to others.
//
// Source: https://learn.microsoft.com/en-us/graph/api/resources/presence
type wirePresence struct {
	ID             string `json:"id"`
	Availability   string `json:"availability"`
	Activity       string `json:"activity"`
	SequenceNumber string `json:"sequenceNumber"`
	StatusMessage  struct {
		Message struct {
			Content string `json:"content"`
		} `json:"message"`
	} `json:"statusMessage"`
	OutOfOffice struct {
		Message       string `json:"message"`
		IsOutOfOffice bool   `json:"isOutOfOffice"`
	} `json:"outOfOfficeSettings"`
	WorkLocation struct {
		Type string `json:"workLocationType"`
	} `json:"workLocation"`
}

func (w *wirePresence) presence() graphsrc.Presence {
	return graphsrc.Presence{
		ID: strings.ToLower(w.ID),
		Words: mapping.Presence{
			Availability:       w.Availability,
			Activity:           w.Activity,
			OutOfOffice:        w.OutOfOffice.IsOutOfOffice,
			OutOfOfficeMessage: w.OutOfOffice.Message,
			StatusMessage:      w.StatusMessage.Message.Content,
			WorkLocation:       w.WorkLocation.Type,
		},
		Sequence: w.SequenceNumber,
	}
}

// singlePresence is the answer about one user: the bare object, or the object
// or a list of it under "value"; Graph documents the one and shows the other.
type singlePresence struct {
	wirePresence
	Value json.RawMessage `json:"value"`
}

func (s *singlePresence) validate() error {
	if value := s.Value; len(value) > 0 && s.ID == "" {
		var list []wirePresence
		var wrongType *json.UnmarshalTypeError
		if value[0] != '[' {
			list = make([]wirePresence, 1)
			_ = json.Unmarshal(value, &list[0]) // it is JSON already; wrong types stay empty
		} else if err := json.Unmarshal(value, &list); err != nil && !errors.As(err, &wrongType) {
			return err
		}
		if len(list) != 1 {
			return fmt.Errorf("%d presences instead of one", len(list))
		}
		s.wirePresence = list[0]
	}
	if s.ID == "" && s.Availability == "" && s.Activity == "" {
		return errors.New("the answer is not a presence")
	}
	return nil
}
