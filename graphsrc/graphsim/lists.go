package graphsim

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strconv"
	"strings"

	"ucwagate/graphsrc/graphsim/odata"
)

// Page sizes of directory lists.
const (
	defaultPage = 100
	largestPage = 999
)

// listQuery is what a list of directory objects is asked for.
type listQuery struct {
	filter    *odata.Filter
	search    *odata.Search
	tokenized func(property string) bool
	selected  []string
	top       int
	from      int
	count     bool
	options   options
}

func (c *call) eventual() bool {
	return strings.EqualFold(c.r.Header.Get("ConsistencyLevel"), "eventual")
}

// parse reads and checks all query options of a list of objects, apart from
// permissions to see what is selected.
func (s schema[T]) parse(c *call) (q listQuery, err error) {
	if q.options, err = c.queryOptions("$select", "$top", "$filter", "$search", "$count", "$skiptoken"); err != nil {
		return q, err
	}
	q.selected, q.tokenized = q.options.selected(), s.tokenized
	if err = s.checkSelection(q.selected); err != nil {
		return q, err
	}
	if q.top, err = q.options.top(defaultPage, largestPage); err != nil {
		return q, err
	}
	if q.from, err = q.options.position(); err != nil {
		return q, err
	}
	// Without the header a bare $count is ignored.
	q.count = c.eventual() && strings.EqualFold(q.options.values.Get("$count"), "true")
	if text := q.options.values.Get("$filter"); text != "" {
		if q.filter, err = s.filter(text, q.count); err != nil {
			return q, err
		}
	}
	if text := q.options.values.Get("$search"); text != "" {
		q.search, err = s.search(c, text)
	}
	return q, err
}

// matches reports whether an object is to be listed.
func (q listQuery) matches(get odata.Getter) bool {
	return (q.filter == nil || q.filter.Match(get)) && (q.search == nil || q.search.Match(get, q.tokenized))
}

// list makes the page that is asked for. walk yields the numbers of matching
// objects from one on.
func (q listQuery) list(c *call, set string, walk func(from int, yield func(int) bool), show func(int) object) reply {
	page := listPage{context: c.base + "/$metadata#" + set}
	if q.selected != nil {
		page.context += "(" + strings.Join(q.selected, ",") + ")"
	}
	next := -1
	walk(q.from, func(number int) bool {
		if len(page.values) == q.top {
			next = number
			return false
		}
		page.values = append(page.values, show(number))
		return true
	})
	if next >= 0 {
		page.next = c.nextLink(q.options, next)
	}
	if q.count {
		page.count = new(int)
		walk(0, func(int) bool { *page.count++; return true })
	}
	return page.reply()
}

// listPage is a page of a list.
type listPage struct {
	context string
	values  []object
	next    string
	delta   string
	count   *int
}

func (p listPage) reply() reply {
	o := object{{"@odata.context", p.context}}
	if p.count != nil {
		o = append(o, member{"@odata.count", *p.count})
	}
	if p.next != "" {
		o = append(o, member{"@odata.nextLink", p.next})
	}
	if p.delta != "" {
		o = append(o, member{"@odata.deltaLink", p.delta})
	}
	if p.values == nil {
		p.values = []object{}
	}
	return jsonReply(append(o, member{"value", p.values}).append(nil))
}

// top reads $top.
func (o options) top(usual, largest int) (int, error) {
	text := o.values.Get("$top")
	if text == "" {
		return usual, nil
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 || n > largest {
		return 0, badRequest("Invalid page size specified: '%s'. Must be between 1 and %d inclusive.", text, largest)
	}
	return n, nil
}

// pageToken is the content of $skiptoken: the position of the next entry.
type pageToken struct {
	Position int `json:"p"`
}

// nextLink repeats the path and the options of the request and adds the
// position.
func (c *call) nextLink(o options, position int) string {
	raw, _ := json.Marshal(pageToken{position}) // a struct of a number always marshals
	values := url.Values{}
	for name, given := range o.values {
		if strings.HasPrefix(name, "$") && name != "$skip" {
			values[name] = given
		}
	}
	values.Set("$skiptoken", base64.RawURLEncoding.EncodeToString(raw))
	return baseURL(c.r) + c.r.URL.EscapedPath() + "?" + values.Encode()
}

// position reads $skiptoken, or $skip where that is allowed.
func (o options) position() (int, error) {
	if text := o.values.Get("$skiptoken"); text != "" {
		var token pageToken
		raw, err := base64.RawURLEncoding.DecodeString(text)
		if err != nil || json.Unmarshal(raw, &token) != nil || token.Position < 0 {
			return 0, badRequest("The $skiptoken is malformed.")
		}
		return token.Position, nil
	}
	if text := o.values.Get("$skip"); text != "" {
		n, err := strconv.Atoi(text)
		if err != nil || n < 0 {
			return 0, badRequest("Invalid value '%s' for $skip query option found.", text)
		}
		return n, nil
	}
	return 0, nil
}
