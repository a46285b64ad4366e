package msgraph

import (
	"context"
	"encoding/json"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/microsoftgraph/msgraph-sdk-go/groups"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"ucwagate/graphsrc"
)

// User implements graphsrc.DirectoryReader.
func (c *Client) User(ctx context.Context, idOrUPN string) (graphsrc.User, error) {
	const op = "get user"
	if err := checkID(op, idOrUPN); err != nil {
		return graphsrc.User{}, err
	}
	if strings.HasPrefix(idOrUPN, "$") {
		// In a path, Graph takes a leading dollar sign for a function.
		return c.userByFilter(ctx, op, idOrUPN)
	}
	return c.oneUser(ctx, op, func(ctx context.Context, opts options) error {
		_, err := c.user(idOrUPN).Get(ctx, &users.UserItemRequestBuilderGetRequestConfiguration{
			Options:         opts,
			QueryParameters: &users.UserItemRequestBuilderGetQueryParameters{Select: graphsrc.UserFields},
		})
		return err
	})
}

func (c *Client) userByFilter(ctx context.Context, op, upn string) (graphsrc.User, error) {
	found, err := c.findUsers(ctx, op, "userPrincipalName eq '"+strings.ReplaceAll(upn, "'", "''")+"'", 1)
	if err != nil {
		return graphsrc.User{}, err
	}
	if len(found) == 0 {
		return graphsrc.User{}, &graphsrc.Error{Op: op, Kind: graphsrc.KindNotFound}
	}
	return found[0], nil
}

// Manager implements graphsrc.DirectoryReader.
func (c *Client) Manager(ctx context.Context, id string) (graphsrc.User, error) {
	const op = "get manager"
	if err := checkID(op, id); err != nil {
		return graphsrc.User{}, err
	}
	return c.oneUser(ctx, op, func(ctx context.Context, opts options) error {
		_, err := c.user(id).Manager().Get(ctx, &users.ItemManagerRequestBuilderGetRequestConfiguration{
			Options:         opts,
			QueryParameters: &users.ItemManagerRequestBuilderGetQueryParameters{Select: graphsrc.UserFields},
		})
		return err
	})
}

func (c *Client) oneUser(ctx context.Context, op string, build func(context.Context, options) error) (graphsrc.User, error) {
	var got wireUser
	if err := c.send(ctx, op, &got, build); err != nil {
		return graphsrc.User{}, err
	}
	if !got.isUser() { // a manager may be an organizational contact
		return graphsrc.User{}, &graphsrc.Error{Op: op, Kind: graphsrc.KindNotFound, Message: "the object is not a user"}
	}
	return got.user(), nil
}

// FindUsers implements graphsrc.DirectoryReader. A filter that the directory
// serves only as an advanced query is sent as one.
func (c *Client) FindUsers(ctx context.Context, filter string, top int) ([]graphsrc.User, error) {
	return c.findUsers(ctx, "find users", filter, top)
}

func (c *Client) findUsers(ctx context.Context, op, filter string, limit int) ([]graphsrc.User, error) {
	if strings.TrimSpace(filter) == "" {
		return nil, &graphsrc.Error{Op: op, Kind: graphsrc.KindInvalid, Message: "no filter"}
	}
	advanced := needsAdvanced(filter)
	return collect(ctx, c, op, limit, func(ctx context.Context, link string, opts options) error {
		builder := users.NewUsersRequestBuilderInternal(nil, c.adapter)
		cfg := &users.UsersRequestBuilderGetRequestConfiguration{Options: opts, Headers: eventual(advanced)}
		if link != "" {
			builder = builder.WithUrl(link)
		} else {
			cfg.QueryParameters = &users.UsersRequestBuilderGetQueryParameters{
				Filter: &filter, Select: graphsrc.UserFields, Top: top(limit),
			}
			if advanced {
				cfg.QueryParameters.Count = &advanced
			}
		}
		_, err := builder.Get(ctx, cfg)
		return err
	}, keepUser)
}

var (
	stringLiteral = regexp.MustCompile(`'(?:[^']|'')*'`)
	// advancedOnly finds operators and properties that the directory filters
	// by only in an advanced query.
	//
	// Source: https://learn.microsoft.com/en-us/graph/aad-advanced-queries
	advancedOnly = regexp.MustCompile(`(?i)\b(ne|not|endswith|contains)\b|/\$count\b|` +
		`\b(officeLocation|companyName|mobilePhone|preferredLanguage|streetAddress|postalCode)\b`)
)

func needsAdvanced(filter string) bool {
	return advancedOnly.MatchString(stringLiteral.ReplaceAllString(filter, "''"))
}

// UsersDelta implements graphsrc.DirectoryReader. A link that is not Graph's is
// KindInvalid and is not followed.
func (c *Client) UsersDelta(ctx context.Context, link string) (graphsrc.UsersPage, error) {
	const op = "get users delta"
	if link != "" {
		if err := c.checkLink(link); err != nil {
			return graphsrc.UsersPage{}, &graphsrc.Error{Op: op, Kind: graphsrc.KindInvalid, Message: err.Error()}
		}
	}
	got, err := fetchPage[wireUser](ctx, c, op, link, func(ctx context.Context, link string, opts options) error {
		builder := users.NewUsersRequestBuilderInternal(nil, c.adapter).Delta()
		cfg := &users.DeltaRequestBuilderGetRequestConfiguration{Options: opts}
		if link != "" {
			builder = builder.WithUrl(link)
		} else {
			cfg.QueryParameters = &users.DeltaRequestBuilderGetQueryParameters{Select: graphsrc.UserFields}
		}
		_, err := builder.GetAsDeltaGetResponse(ctx, cfg)
		return err
	})
	if err != nil {
		return graphsrc.UsersPage{}, err
	}
	if (got.Next == "") == (got.Delta == "") {
		return graphsrc.UsersPage{}, &graphsrc.Error{Op: op, Kind: graphsrc.KindMalformed, Message: "not exactly one of next link and delta link"}
	}
	result := graphsrc.UsersPage{Next: got.Next, Delta: got.Delta, Users: make([]graphsrc.User, 0, len(got.Value))}
	for i := range got.Value {
		if user, ok := keepUser(&got.Value[i]); ok {
			result.Users = append(result.Users, user)
		}
	}
	return result, nil
}

// DirectReports implements graphsrc.DirectoryReader.
func (c *Client) DirectReports(ctx context.Context, id string, limit int) ([]graphsrc.User, error) {
	const op = "get direct reports"
	if err := checkID(op, id); err != nil {
		return nil, err
	}
	return collect(ctx, c, op, limit, func(ctx context.Context, link string, opts options) error {
		builder := c.user(id).DirectReports()
		cfg := &users.ItemDirectReportsRequestBuilderGetRequestConfiguration{Options: opts}
		if link != "" {
			builder = builder.WithUrl(link)
		} else {
			cfg.QueryParameters = &users.ItemDirectReportsRequestBuilderGetQueryParameters{
				Select: graphsrc.UserFields, Top: top(limit),
			}
		}
		_, err := builder.Get(ctx, cfg)
		return err
	}, keepUser)
}

// MemberOf implements graphsrc.DirectoryReader.
func (c *Client) MemberOf(ctx context.Context, id string, limit int) ([]graphsrc.Group, error) {
	const op = "get groups of a user"
	if err := checkID(op, id); err != nil {
		return nil, err
	}
	return collect(ctx, c, op, limit, func(ctx context.Context, link string, opts options) error {
		builder := c.user(id).MemberOf()
		cfg := &users.ItemMemberOfRequestBuilderGetRequestConfiguration{Options: opts}
		if link != "" {
			builder = builder.WithUrl(link)
		} else {
			cfg.QueryParameters = &users.ItemMemberOfRequestBuilderGetQueryParameters{
				Select: []string{"id", "displayName", "mail", "groupTypes"}, Top: top(limit),
			}
		}
		_, err := builder.Get(ctx, cfg)
		return err
	}, keepGroup)
}

// GroupMembers implements graphsrc.DirectoryReader. Members that are not users
// (groups, devices, applications) are left out.
func (c *Client) GroupMembers(ctx context.Context, groupID string, limit int) ([]graphsrc.User, error) {
	const op = "get members of a group"
	if err := checkID(op, groupID); err != nil {
		return nil, err
	}
	return collect(ctx, c, op, limit, func(ctx context.Context, link string, opts options) error {
		builder := groups.NewGroupsRequestBuilderInternal(nil, c.adapter).ByGroupId(groupID).Members()
		cfg := &groups.ItemMembersRequestBuilderGetRequestConfiguration{Options: opts}
		if link != "" {
			builder = builder.WithUrl(link)
		} else {
			cfg.QueryParameters = &groups.ItemMembersRequestBuilderGetQueryParameters{
				Select: graphsrc.UserFields, Top: top(limit),
			}
		}
		_, err := builder.Get(ctx, cfg)
		return err
	}, keepUser)
}

// wireUser is a user, or another directory object that stands among users.
type wireUser struct {
	Type              string          `json:"@odata.type"`
	Removed           json.RawMessage `json:"@removed"`
	ID                string          `json:"id"`
	DisplayName       string          `json:"displayName"`
	UserPrincipalName string          `json:"userPrincipalName"`
	Mail              string          `json:"mail"`
	IMAddresses       []string        `json:"imAddresses"`
	ProxyAddresses    []string        `json:"proxyAddresses"`
	OtherMails        []string        `json:"otherMails"`
	JobTitle          string          `json:"jobTitle"`
	Department        string          `json:"department"`
	CompanyName       string          `json:"companyName"`
	OfficeLocation    string          `json:"officeLocation"`
	BusinessPhones    []string        `json:"businessPhones"`
	MobilePhone       string          `json:"mobilePhone"`
	UserType          string          `json:"userType"`
}

func (w *wireUser) validate() error {
	if w.ID == "" {
		return errors.New("the answer is not a directory object")
	}
	return nil
}

// isUser relies on the type where there is one: collections of directory
// objects always name it, collections of users need not.
func (w *wireUser) isUser() bool {
	return w.ID != "" && (w.Type == "" || strings.EqualFold(w.Type, "#microsoft.graph.user"))
}

func (w *wireUser) user() graphsrc.User {
	return graphsrc.User{
		ID: strings.ToLower(w.ID), DisplayName: w.DisplayName, UserPrincipalName: w.UserPrincipalName, Mail: w.Mail,
		IMAddresses: withoutBlanks(w.IMAddresses), ProxyAddresses: withoutBlanks(w.ProxyAddresses),
		OtherMails: withoutBlanks(w.OtherMails), JobTitle: w.JobTitle, Department: w.Department,
		CompanyName: w.CompanyName, OfficeLocation: w.OfficeLocation,
		BusinessPhones: withoutBlanks(w.BusinessPhones), MobilePhone: w.MobilePhone, UserType: w.UserType,
		Removed: len(w.Removed) > 0 && string(w.Removed) != "null",
	}
}

func keepUser(w *wireUser) (graphsrc.User, bool) { return w.user(), w.isUser() }

// withoutBlanks drops what nulls and wrong types leave behind in a list.
func withoutBlanks(list []string) []string {
	list = slices.DeleteFunc(list, func(s string) bool { return s == "" })
	if len(list) == 0 {
		return nil
	}
	return list
}

type wireGroup struct {
	Type        string   `json:"@odata.type"`
	ID          string   `json:"id"`
	DisplayName string   `json:"displayName"`
	Mail        string   `json:"mail"`
	GroupTypes  []string `json:"groupTypes"`
	MailEnabled *bool    `json:"mailEnabled"`
}

func (w *wireGroup) validate() error {
	if w.ID == "" {
		return errors.New("the answer is not a group")
	}
	return nil
}

func (w *wireGroup) group() graphsrc.Group {
	return graphsrc.Group{
		ID: strings.ToLower(w.ID), DisplayName: w.DisplayName, Mail: w.Mail,
		Unified: slices.ContainsFunc(w.GroupTypes, func(s string) bool { return strings.EqualFold(s, "Unified") }),
	}
}

// keepGroup picks the groups out of a collection of directory objects, which
// always name their type.
func keepGroup(w *wireGroup) (graphsrc.Group, bool) {
	return w.group(), w.ID != "" && strings.EqualFold(w.Type, "#microsoft.graph.group")
}
