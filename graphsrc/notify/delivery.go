package notify

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

const (
	// maxItems bounds what a delivery holds: items, tokens, and members of it
	// that are not read. A body of the default size has room for less than this
	// of Graph's, but for hundreds of thousands of empty ones.
	maxItems = 10_000
	// maxValue bounds one of them, in bytes with the white space before it: an
	// item whose content is as long as maxContent allows. A value is held in
	// memory until its end has come.
	maxValue = 2 * maxContent
	// maxTokens bounds the validation tokens of a delivery that are looked at;
	// Graph sends one per application and tenant.
	maxTokens = 32

	maxClientState    = 128 // characters, as Graph allows; counted in bytes here
	maxSubscriptionID = 128 // bytes; ids are GUIDs
)

var (
	errTooMuch  = errors.New("the delivery has too many items, or too large a one")
	errNotThose = errors.New("the body is not a collection of notifications")
)

// delivery is what one request brought, after what is not for us was left out.
type delivery struct {
	tasks  []task
	tokens []string
	// proof tells whether a validation token proves the delivery to be Graph's.
	// It is asked for by the workers when there is encrypted content.
	proof func() proof
}

// task is one item that showed the clientState of a subscription.
type task struct {
	subscription string
	event        Event // of a lifecycle notification, empty for a change
	person       string
	content      *EncryptedContent // nil for basic notifications
}

// item is a notification as Graph sends it; what is not read is left out.
//
// Source: https://learn.microsoft.com/en-us/graph/api/resources/changenotification
type item struct {
	SubscriptionID string `json:"subscriptionId"`
	ClientState    string `json:"clientState"`
	TenantID       string `json:"tenantId"`
	OrganizationID string `json:"organizationId"` // the tenant, in samples for presence
	LifecycleEvent string `json:"lifecycleEvent"`
	ResourceData   struct {
		ID      string `json:"id"`
		ODataID string `json:"@odata.id"`
	} `json:"resourceData"`
	EncryptedContent *EncryptedContent `json:"encryptedContent"`
}

// bodyReader reads a delivery value by value, none of which may be longer than
// maxValue.
type bodyReader struct {
	*json.Decoder
	src    *allowance
	values int
}

func newBodyReader(body io.Reader) *bodyReader {
	src := &allowance{r: body}
	b := &bodyReader{Decoder: json.NewDecoder(src), src: src}
	b.allow()
	return b
}

// allow lets the decoder read as much as one value may have.
func (b *bodyReader) allow() { b.src.limit = b.InputOffset() + maxValue }

// more tells whether the list or object has another value or name.
func (b *bodyReader) more() bool {
	b.allow()
	return b.More()
}

// begin is called before a value is read.
func (b *bodyReader) begin() error {
	if b.values++; b.values > maxItems {
		return errTooMuch
	}
	b.allow()
	return nil
}

// allowance is a reader that yields no byte beyond a limit, which is moved.
type allowance struct {
	r           io.Reader
	read, limit int64
}

func (a *allowance) Read(p []byte) (int, error) {
	left := a.limit - a.read
	if left <= 0 {
		return 0, errTooMuch
	}
	n, err := a.r.Read(p[:min(int64(len(p)), left)])
	a.read += int64(n)
	return n, err
}

// read reads the body item by item and keeps only what is for us, so that a body
// of many small things does not become many large ones in memory.
func (e *entrance) read(body io.Reader) (*delivery, error) {
	dec := newBodyReader(body)
	if err := dec.expect(json.Delim('{')); err != nil {
		return nil, err
	}
	d := &delivery{}
	var items, tokens bool
	for dec.more() {
		name, err := dec.Token()
		if err != nil {
			return nil, fmt.Errorf("reading a name: %w", err)
		}
		switch {
		case name == "value" && !items:
			items = true
			err = e.readItems(dec, d)
		case name == "validationTokens" && !tokens:
			tokens = true
			err = readTokens(dec, d)
		case name == "value" || name == "validationTokens":
			err = errNotThose // Graph names nothing twice
		default:
			_, err = dec.value(&ignored{})
		}
		if err != nil {
			return nil, fmt.Errorf("reading a value: %w", err)
		}
	}
	if err := dec.expect(json.Delim('}')); err != nil {
		return nil, err
	}
	dec.allow()
	if _, err := dec.Token(); !errors.Is(err, io.EOF) || !items {
		if err == nil || errors.Is(err, io.EOF) {
			err = errNotThose
		}
		return nil, err
	}
	return d, nil
}

func (e *entrance) readItems(dec *bodyReader, d *delivery) error {
	dec.allow()
	if err := dec.expect(json.Delim('[')); err != nil {
		return err
	}
	for dec.more() {
		var it item
		malformed, err := dec.value(&it)
		if err != nil {
			return err
		}
		e.counts.items.Add(1)
		if malformed {
			e.malformed()
			continue
		}
		if t, ok := e.admit(&it); ok {
			d.tasks = append(d.tasks, t)
		}
	}
	return dec.expect(json.Delim(']'))
}

// admit decides whether an item is for us, by what costs next to nothing.
func (e *entrance) admit(it *item) (task, bool) {
	tenant := it.TenantID
	if tenant == "" {
		tenant = it.OrganizationID
	}
	if !strings.EqualFold(tenant, e.tenant) {
		e.counts.foreignTenant.Add(1)
		e.complaints.about("an item was for another tenant")
		return task{}, false
	}
	if it.ClientState == "" || len(it.ClientState) > maxClientState ||
		it.SubscriptionID == "" || len(it.SubscriptionID) > maxSubscriptionID ||
		!e.subs.Knows(it.SubscriptionID, it.ClientState) {
		e.counts.wrongClientState.Add(1)
		e.complaints.about("an item had no known subscription and clientState")
		return task{}, false
	}
	t := task{subscription: it.SubscriptionID}
	if it.LifecycleEvent != "" {
		t.event = e.event(it.LifecycleEvent)
		return t, t.event != ""
	}
	t.person = person(it.ResourceData.ID, it.ResourceData.ODataID)
	t.content = it.EncryptedContent
	if t.person == "" && t.content == nil {
		e.malformed()
		return task{}, false
	}
	return t, true
}

// event returns the event of that name, counted; empty if it is unknown.
func (e *entrance) event(name string) Event {
	for i, event := range events {
		if strings.EqualFold(name, string(event)) {
			e.counts.lifecycle[i].Add(1)
			return event
		}
	}
	e.counts.unknownEvent.Add(1)
	e.complaints.about("a lifecycle event was unknown", "event", name[:min(len(name), 64)])
	return ""
}

func (e *entrance) malformed() {
	e.counts.malformed.Add(1)
	e.complaints.about("an item was malformed")
}

func readTokens(dec *bodyReader, d *delivery) error {
	dec.allow()
	open, err := dec.Token()
	if err != nil || open == nil { // null: there are none
		return err
	}
	if open != json.Delim('[') {
		return errNotThose
	}
	for dec.more() {
		var token string
		if malformed, err := dec.value(&token); err != nil {
			return err
		} else if !malformed && token != "" && len(token) <= maxToken && len(d.tokens) < maxTokens {
			d.tokens = append(d.tokens, token)
		}
	}
	return dec.expect(json.Delim(']'))
}

// value reads the next value. One of another type than expected is malformed,
// and the reading may go on after it; an error ends the reading.
func (b *bodyReader) value(into any) (malformed bool, err error) {
	if err := b.begin(); err != nil {
		return false, err
	}
	var otherType *json.UnmarshalTypeError
	if err = b.Decode(into); errors.As(err, &otherType) {
		return true, nil
	}
	return false, err
}

// expect reads the next token, which must be that delimiter.
func (b *bodyReader) expect(want json.Delim) error {
	got, err := b.Token()
	if err != nil {
		return fmt.Errorf("reading %q: %w", want, err)
	}
	if got != want {
		return errNotThose
	}
	return nil
}

// ignored takes any JSON value and keeps nothing of it.
type ignored struct{}

// UnmarshalJSON does nothing; the caller has checked the syntax.
func (*ignored) UnmarshalJSON([]byte) error { return nil }
