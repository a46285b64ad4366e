package msgraph

import (
	"context"
	"fmt"
	"strings"

	"github.com/microsoftgraph/msgraph-sdk-go/groups"
	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"ucwagate/graphsrc"
)

// groupFields are the properties of a group that are read.
var groupFields = []string{"id", "displayName", "mail", "groupTypes", "mailEnabled"}

// SearchUsers implements graphsrc.Searcher. The expression is sent as it is:
// its clauses stand in double quotes, and quotes and backslashes within them
// are escaped.
//
// Source: https://learn.microsoft.com/en-us/graph/search-query-parameter
func (c *Client) SearchUsers(ctx context.Context, search string, limit int) ([]graphsrc.User, bool, error) {
	return c.queryUsers(ctx, "search users", search, "", limit)
}

// FilterUsers implements graphsrc.Searcher.
func (c *Client) FilterUsers(ctx context.Context, filter string, limit int) ([]graphsrc.User, bool, error) {
	return c.queryUsers(ctx, "filter users", "", filter, limit)
}

// queryUsers sends an advanced query with one of the two expressions.
func (c *Client) queryUsers(ctx context.Context, op, search, filter string, limit int) ([]graphsrc.User, bool, error) {
	return firstPage(ctx, c, op, search+filter, limit, func(ctx context.Context, _ string, opts options) error {
		counted := true
		query := &users.UsersRequestBuilderGetQueryParameters{Select: graphsrc.UserFields, Top: top(limit), Count: &counted}
		if search != "" {
			query.Search = &search
		} else {
			query.Filter = &filter
		}
		_, err := users.NewUsersRequestBuilderInternal(nil, c.adapter).Get(ctx,
			&users.UsersRequestBuilderGetRequestConfiguration{Options: opts, Headers: eventual(true), QueryParameters: query})
		return err
	}, keepUser)
}

// SearchGroups implements graphsrc.Searcher; see SearchUsers for the expression.
func (c *Client) SearchGroups(ctx context.Context, search string, limit int) ([]graphsrc.Group, bool, error) {
	return firstPage(ctx, c, "search groups", search, limit, func(ctx context.Context, _ string, opts options) error {
		counted, withMail := true, "mailEnabled eq true"
		_, err := groups.NewGroupsRequestBuilderInternal(nil, c.adapter).Get(ctx, &groups.GroupsRequestBuilderGetRequestConfiguration{
			Options: opts, Headers: eventual(true),
			QueryParameters: &groups.GroupsRequestBuilderGetQueryParameters{
				Search: &search, Filter: &withMail, Select: groupFields, Top: top(limit), Count: &counted,
			},
		})
		return err
	}, keepMailGroup)
}

// keepMailGroup does not rely on the filter alone: a group that has lost its
// mailbox keeps matching until the index has caught up.
func keepMailGroup(w *wireGroup) (graphsrc.Group, bool) {
	return w.group(), w.ID != "" && strings.Contains(w.Mail, "@") && (w.MailEnabled == nil || *w.MailEnabled)
}

// Group implements graphsrc.Searcher. An answer about another group is
// KindMalformed.
func (c *Client) Group(ctx context.Context, id string) (graphsrc.Group, error) {
	const op = "get group"
	if err := checkID(op, id); err != nil {
		return graphsrc.Group{}, err
	}
	var got wireGroup
	err := c.send(ctx, op, &got, func(ctx context.Context, opts options) error {
		_, err := groups.NewGroupsRequestBuilderInternal(nil, c.adapter).ByGroupId(id).Get(ctx,
			&groups.GroupItemRequestBuilderGetRequestConfiguration{
				Options:         opts,
				QueryParameters: &groups.GroupItemRequestBuilderGetQueryParameters{Select: groupFields},
			})
		return err
	})
	if err != nil {
		return graphsrc.Group{}, err
	}
	if !strings.EqualFold(got.ID, id) {
		return graphsrc.Group{}, &graphsrc.Error{Op: op, Kind: graphsrc.KindMalformed, Message: "the answer is about another group"}
	}
	return got.group(), nil
}

// firstPage reads one page, which is one physical send, and tells whether
// there is more than is returned of it.
func firstPage[W, T any](ctx context.Context, c *Client, op, expression string, limit int, get fetch, keep func(*W) (T, bool)) ([]T, bool, error) {
	if strings.TrimSpace(expression) == "" {
		return nil, false, invalid(op, "nothing is asked for")
	}
	if limit <= 0 {
		return nil, false, invalid(op, fmt.Sprintf("a limit of %d", limit))
	}
	got, err := fetchPage[W](ctx, c, op, "", get)
	if err != nil {
		return nil, false, err
	}
	more := got.Next != "" || got.Count > len(got.Value)
	var all []T
	for i := range got.Value {
		entry, ok := keep(&got.Value[i])
		if !ok {
			continue
		}
		if len(all) == limit {
			return all, true, nil
		}
		all = append(all, entry)
	}
	return all, more, nil
}
