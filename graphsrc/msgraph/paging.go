package msgraph

import (
	"context"
	"fmt"

	abstractions "github.com/microsoft/kiota-abstractions-go"
	nethttp "github.com/microsoft/kiota-http-go"

	"ucwagate/graphsrc"
)

const (
	// maxTop is the largest page the directory and the mailbox serve.
	maxTop = 999
	// maxPages ends a collection whose pages never do. Graph may send empty
	// pages with a next link, so the number of entries is no bound.
	maxPages = 1000
)

// fetch calls a request builder: for the first page if link is empty, else
// for the page behind the link.
type fetch func(ctx context.Context, link string, opts options) error

// collect reads up to limit entries, page after page; each page is one
// physical send. keep translates an entry, or drops it.
func collect[W, T any](ctx context.Context, c *Client, op string, limit int, get fetch, keep func(*W) (T, bool)) ([]T, error) {
	if limit <= 0 {
		return nil, invalid(op, fmt.Sprintf("a limit of %d", limit))
	}
	ctx, cancel := withDeadline(ctx)
	defer cancel()
	var all []T
	link := ""
	for range maxPages {
		got, err := fetchPage[W](ctx, c, op, link, get)
		if err != nil {
			return nil, err
		}
		for i := range got.Value {
			if entry, ok := keep(&got.Value[i]); ok {
				all = append(all, entry)
			}
			if len(all) == limit {
				return all, nil
			}
		}
		if got.Next == "" {
			return all, nil
		}
		if got.Next == link {
			break
		}
		link = got.Next
	}
	return nil, &graphsrc.Error{Op: op, Kind: graphsrc.KindMalformed, Message: "the pages do not end"}
}

// fetchPage reads one page and vouches for its links.
func fetchPage[W any](ctx context.Context, c *Client, op, link string, get fetch) (page[W], error) {
	var got page[W]
	err := c.send(ctx, op, &got, func(ctx context.Context, opts options) error {
		if link != "" {
			// Links are sent as they came, character for character.
			opts = append(opts, &nethttp.ParametersNameDecodingOptions{Enable: false})
		}
		return get(ctx, link, opts)
	})
	if err != nil {
		return page[W]{}, err
	}
	for _, next := range [...]string{got.Next, got.Delta} {
		if next == "" {
			continue
		}
		if err := c.checkLink(next); err != nil {
			return page[W]{}, &graphsrc.Error{Op: op, Kind: graphsrc.KindMalformed, Message: err.Error()}
		}
	}
	return got, nil
}

// top is the page size to ask for.
func top(limit int) *int32 {
	n := int32(min(max(limit, 1), maxTop))
	return &n
}

// eventual returns the header that an advanced query needs on every page:
// next links do not carry it.
func eventual(advanced bool) *abstractions.RequestHeaders {
	headers := abstractions.NewRequestHeaders()
	if advanced {
		headers.Add("ConsistencyLevel", "eventual")
	}
	return headers
}
