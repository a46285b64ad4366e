package ops

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
)

func TestProblemsAreCountedByKindTheLastInFront(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := NewErrors(nil)
		began := time.Now()
		e.Record(Problem{"contoso", CauseThrottled, AreaPresence})
		<-time.After(time.Minute)
		e.Record(Problem{"contoso", CausePermission, AreaPhotos})
		<-time.After(time.Minute)
		e.Record(Problem{"contoso", CauseThrottled, AreaPresence})
		require.Equal(t, []seen{
			{Problem{"contoso", CauseThrottled, AreaPresence}, 2, began, began.Add(2 * time.Minute)},
			{Problem{"contoso", CausePermission, AreaPhotos}, 1, began.Add(time.Minute), began.Add(time.Minute)},
		}, e.list())
	})
}

func TestOnlyTheLastKindsAreRemembered(t *testing.T) {
	e := NewErrors(nil)
	for i := range 3 * maxProblems {
		e.Record(Problem{Tenant: fmt.Sprint(i), Cause: CauseGraph})
		e.Record(Problem{Tenant: "often", Cause: CauseGraph})
	}
	list := e.list()
	require.Len(t, list, maxProblems)
	require.Len(t, e.known, maxProblems)
	require.Equal(t, "often", list[0].Tenant)
	require.EqualValues(t, 3*maxProblems, list[0].count)
	require.Equal(t, fmt.Sprint(3*maxProblems-1), list[1].Tenant)
}

func TestWordsOutsideTheTablesAreNotShown(t *testing.T) {
	e := NewErrors(nil)
	e.Record(Problem{Cause: "ana@contoso.test", Area: "bo@contoso.test"})
	require.Equal(t, Problem{Cause: CauseInternal}, e.list()[0].Problem)
	var no *Errors
	no.Record(Problem{})
	require.Equal(t, http.DefaultTransport, no.Transport("contoso", http.DefaultTransport))
}

func TestEveryCauseHasAdvice(t *testing.T) {
	for cause, a := range advices {
		require.NotEmpty(t, a.title, cause)
		require.Regexp(t, `^[A-Z].*\.$`, a.todo, cause)
	}
	require.Regexp(t, `^Missing: ProfilePhoto\.Read\.All\. Grant`, Problem{Cause: CausePermission, Area: AreaPhotos}.todo())
	require.Regexp(t, `^Grant`, Problem{Cause: CausePermission}.todo())
	require.NotContains(t, Problem{Cause: CauseThrottled, Area: AreaPhotos}.todo(), "Missing")
}

func TestWhatErrorsSay(t *testing.T) {
	graph := func(kind graphsrc.Kind, status int, err error) error {
		return fmt.Errorf("reading: %w", &graphsrc.Error{Kind: kind, Status: status, Err: err})
	}
	for _, c := range []struct {
		name string
		err  error
		want Cause // empty: no problem
	}{
		{"nothing", nil, ""},
		{"a caller that left", graph(graphsrc.KindTimeout, 0, context.Canceled), ""},
		{"nobody there", graph(graphsrc.KindNotFound, 404, nil), ""},
		{"an old delta", graph(graphsrc.KindGone, 410, nil), ""},
		{"no permission", graph(graphsrc.KindForbidden, 403, nil), CausePermission},
		{"no token", graph(graphsrc.KindUnauthorized, 0, nil), CauseCredential},
		{"throttled by Graph", graph(graphsrc.KindThrottled, 429, nil), CauseThrottled},
		{"refused by the budget", graph(graphsrc.KindThrottled, 0, nil), CauseBudget},
		{"down", graph(graphsrc.KindUnavailable, 503, nil), CauseGraph},
		{"no answer, for no reason", graph(graphsrc.KindUnavailable, 0, nil), CauseGraph},
		{"no name", graph(graphsrc.KindUnavailable, 0, &net.DNSError{}), CauseName},
		{"too slow", graph(graphsrc.KindTimeout, 504, nil), CauseTimeout},
		{"HTML", graph(graphsrc.KindMalformed, 200, nil), CauseMalformed},
		{"wrong", graph(graphsrc.KindInvalid, 400, nil), CauseRequest},
		{"of no kind", graph(0, 0, nil), CauseInternal},
		{"no route", &url.Error{Err: &net.OpError{Op: "dial", Err: errors.New("refused")}}, CauseNetwork},
		{"a deadline", &url.Error{Err: context.DeadlineExceeded}, CauseTimeout},
		{"a deadline of the wire", &net.OpError{Op: "read", Err: os.ErrDeadlineExceeded}, CauseTimeout},
		{"a foreign authority", &url.Error{Err: &tls.CertificateVerificationError{Err: x509.UnknownAuthorityError{}}}, CauseCertificate},
		{"a foreign host", x509.HostnameError{Certificate: &x509.Certificate{}}, CauseCertificate},
		{"an end in the middle", io.ErrUnexpectedEOF, CauseNetwork},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := NewErrors(nil)
			e.RecordError("contoso", c.err)
			list := e.list()
			if c.want == "" {
				require.Empty(t, list)
				return
			}
			require.Equal(t, Problem{Tenant: "contoso", Cause: c.want}, list[0].Problem)
		})
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestTheTransportNotesWhatGoesWrong(t *testing.T) {
	for _, c := range []struct {
		name, method, path string
		status             int
		err                error
		want               Problem
	}{
		{"a reading", "POST", "/v1.0/communications/getPresencesByUserId", 403, nil, Problem{"contoso", CausePermission, AreaPresence}},
		{"a reading of one", "GET", "/v1.0/users/ana@contoso.test/presence", 429, nil, Problem{"contoso", CauseThrottled, AreaPresence}},
		{"publishing", "POST", "/v1.0/users/1/presence/setPresence", 403, nil, Problem{"contoso", CausePermission, AreaPublishing}},
		{"a photo", "GET", "/v1.0/users/1/photos/48x48/$value", 401, nil, Problem{"contoso", CauseCredential, AreaPhotos}},
		{"a delta", "GET", "/v1.0/users/delta()", 503, nil, Problem{"contoso", CauseGraph, AreaUsers}},
		{"OData's form of a key", "GET", "/v1.0/groups('1')/members", 400, nil, Problem{"contoso", CauseRequest, AreaMembers}},
		{"groups of a user", "GET", "/v1.0/users/1/transitiveMemberOf", 504, nil, Problem{"contoso", CauseTimeout, AreaMemberships}},
		{"folders", "GET", "/v1.0/users/1/contactFolders/2/contacts", 407, nil, Problem{"contoso", CauseProxy, AreaContacts}},
		{"a subscription", "PATCH", "/v1.0/subscriptions/1", 403, nil, Problem{"contoso", CausePermission, AreaSubscriptions}},
		{"a captive portal", "GET", "/v1.0/organization", 307, nil, Problem{"contoso", CauseMalformed, ""}},
		{"no network", "GET", "/v1.0/users", 0, &net.DNSError{}, Problem{"contoso", CauseName, AreaUsers}},
		{"no photo", "GET", "/v1.0/users/1/photo/$value", 404, nil, Problem{}},
		{"success", "GET", "/v1.0/users", 200, nil, Problem{}},
		{"given up", "GET", "/v1.0/users", 0, context.Canceled, Problem{}},
	} {
		t.Run(c.name, func(t *testing.T) {
			e := NewErrors(nil)
			_, err := e.Transport("contoso", roundTripper(func(*http.Request) (*http.Response, error) {
				return &http.Response{StatusCode: c.status}, c.err
			})).RoundTrip(httptest.NewRequest(c.method, "https://graph.microsoft.com"+c.path, nil))
			require.Equal(t, c.err, err)
			if list := e.list(); c.want == (Problem{}) {
				require.Empty(t, list)
			} else {
				require.Equal(t, c.want, list[0].Problem)
			}
		})
	}
}

func FuzzAreaOf(f *testing.F) {
	for _, path := range []string{"/v1.0/users/ana@contoso.test/presence", "/v1.0/groups('1')/members", "", "//", "/users(", "/photo"} {
		f.Add("GET", path)
	}
	f.Fuzz(func(t *testing.T, method, path string) {
		if area := areaOf(method, path); area != "" {
			require.Contains(t, permissions, area)
		}
	})
}
