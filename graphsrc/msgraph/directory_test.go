package msgraph

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
)

const selectUser = "$select=id,displayName,userPrincipalName,mail,imAddresses,proxyAddresses,otherMails," +
	"jobTitle,department,companyName,officeLocation,businessPhones,mobilePhone,userType"

// query is the query of a request with the commas readable.
func (s seen) query(t testing.TB) string {
	_, raw, _ := strings.Cut(s.uri, "?")
	require.NotContains(t, strings.ToLower(raw), "%24", "parameter names go out with their dollar sign")
	text, err := url.QueryUnescape(raw)
	require.NoError(t, err)
	return text
}

func (s seen) path() string {
	path, _, _ := strings.Cut(s.uri, "?")
	return path
}

func TestAUserIsReadWithAllFields(t *testing.T) {
	c, f, m := serve(t, always(200, `{"@odata.context":"x","id":"`+strings.ToUpper(idAna)+`","displayName":"Ana","userPrincipalName":"ana@contoso.test",
		"mail":"a@contoso.test","imAddresses":["ana@contoso.test",null,7],"proxyAddresses":["SMTP:a@contoso.test"],"otherMails":[],
		"jobTitle":"T","department":"D","companyName":"C","officeLocation":null,"businessPhones":["+1"],"mobilePhone":5,"userType":"Member"}`))
	got, err := c.User(t.Context(), "ana#ext'x/y%@contoso.test")
	require.NoError(t, err)
	require.Equal(t, graphsrc.User{
		ID: idAna, DisplayName: "Ana", UserPrincipalName: "ana@contoso.test", Mail: "a@contoso.test",
		IMAddresses: []string{"ana@contoso.test"}, ProxyAddresses: []string{"SMTP:a@contoso.test"},
		JobTitle: "T", Department: "D", CompanyName: "C", BusinessPhones: []string{"+1"}, UserType: "Member",
	}, got)
	require.EqualValues(t, 1, m.sends.Load())
	path, err := url.PathUnescape(f.sent()[0].path())
	require.NoError(t, err)
	require.Equal(t, "/v1.0/users/ana#ext'x/y%@contoso.test", path)
	require.Contains(t, f.sent()[0].path(), "%23ext")
	require.Contains(t, f.sent()[0].path(), "x%2Fy%25")
	require.Equal(t, selectUser, f.sent()[0].query(t))
	require.Zero(t, f.sent()[0].length)
}

func TestANameThatBeginsWithADollarSignIsLookedUpByFilter(t *testing.T) {
	body := `{"value":[{"id":"` + idAna + `"}]}`
	c, f, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) { reply(w, 200, body) })
	got, err := c.User(t.Context(), "$o'hara@contoso.test")
	require.NoError(t, err)
	require.Equal(t, idAna, got.ID)
	require.Equal(t, "/v1.0/users", f.sent()[0].path())
	require.Equal(t, "$filter=userPrincipalName eq '$o''hara@contoso.test'&"+selectUser+"&$top=1", f.sent()[0].query(t))
	body = `{"value":[]}`
	_, err = c.User(t.Context(), "$nobody@contoso.test")
	requireKind(t, graphsrc.KindNotFound, err)
}

func TestWhatCannotBeAnIDIsNotSent(t *testing.T) {
	c, _, m := serve(t, always(200, `{}`))
	calls := map[string]func(string) error{
		"presence": func(id string) error { _, err := c.Presence(t.Context(), id); return err },
		"user":     func(id string) error { _, err := c.User(t.Context(), id); return err },
		"manager":  func(id string) error { _, err := c.Manager(t.Context(), id); return err },
		"reports":  func(id string) error { _, err := c.DirectReports(t.Context(), id, 1); return err },
		"groups":   func(id string) error { _, err := c.MemberOf(t.Context(), id, 1); return err },
		"members":  func(id string) error { _, err := c.GroupMembers(t.Context(), id, 1); return err },
		"people":   func(id string) error { _, err := c.People(t.Context(), id, 1); return err },
		"folders":  func(id string) error { _, err := c.ContactFolders(t.Context(), id, 1); return err },
		"contacts": func(id string) error { _, err := c.Contacts(t.Context(), id, "", 1); return err },
	}
	for name, call := range calls {
		for _, id := range []string{"", ".", "..", "me-token-to-replace", "a\nb", strings.Repeat("x", 600)} {
			require.Equal(t, graphsrc.KindInvalid, asError(t, call(id)).Kind, "%s of %q", name, id)
		}
	}
	_, err := c.Contacts(t.Context(), idAna, "..", 1)
	requireKind(t, graphsrc.KindInvalid, err)
	_, err = c.DirectReports(t.Context(), idAna, 0)
	requireKind(t, graphsrc.KindInvalid, err)
	_, err = c.FindUsers(t.Context(), " ", 5)
	requireKind(t, graphsrc.KindInvalid, err)
	require.Zero(t, m.sends.Load())
}

func TestAnObjectThatIsNoUserIsNotFound(t *testing.T) {
	c, f, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.Contains(r.URL.Path, idAna):
			reply(w, 200, `{"@odata.type":"#microsoft.graph.user","id":"`+idBen+`"}`)
		case strings.Contains(r.URL.Path, idBen):
			reply(w, 200, `{"@odata.type":"#microsoft.graph.orgContact","id":"`+idAna+`"}`)
		default:
			reply(w, 404, `{"error":{"code":"Request_ResourceNotFound"}}`)
		}
	})
	got, err := c.Manager(t.Context(), idAna)
	require.NoError(t, err)
	require.Equal(t, idBen, got.ID)
	require.Equal(t, "/v1.0/users/"+idAna+"/manager?"+selectUser, f.sent()[0].path()+"?"+f.sent()[0].query(t))
	_, err = c.Manager(t.Context(), idBen)
	requireKind(t, graphsrc.KindNotFound, err)
	_, err = c.Manager(t.Context(), "x")
	require.Equal(t, "Request_ResourceNotFound", requireKind(t, graphsrc.KindNotFound, err).Code)
}

func TestFiltersThatNeedAnAdvancedQueryAreRecognised(t *testing.T) {
	for filter, want := range map[string]bool{
		"mail eq 'a@b.c'": false, "imAddresses/any(i:i eq 'x')": false, "userPrincipalName in ('a','b')": false,
		"startsWith(displayName,'ne')": false, "displayName eq 'it''s not contains(x)'": false, "mail eq 'mobilePhone'": false,
		"endsWith(mail,'@b.c')": true, "mail ne 'x'": true, "not(accountEnabled eq true)": true,
		"companyName eq 'C'": true, "imAddresses/$count eq 0": true, "NOT startsWith(mail,'x')": true,
	} {
		require.Equal(t, want, needsAdvanced(filter), filter)
	}
}

func TestAnAdvancedQueryIsOneOnEveryPage(t *testing.T) {
	var f *fake
	c, f, m := serve(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Query().Has("$skiptoken") {
			reply(w, 200, `{"value":[{"id":"b"}]}`)
			return
		}
		reply(w, 200, `{"@odata.nextLink":"https://`+r.Host+`/v1.0/users?%24skiptoken=X%2DY%24","value":[{"id":"a"}]}`)
	})
	got, err := c.FindUsers(t.Context(), "endsWith(mail,'@b.c')", 50)
	require.NoError(t, err)
	require.Len(t, got, 2)
	require.EqualValues(t, 2, m.sends.Load(), "each page is one send")
	require.Equal(t, "$count=true&$filter=endsWith(mail,'@b.c')&"+selectUser+"&$top=50", f.sent()[0].query(t))
	require.Equal(t, "/v1.0/users?%24skiptoken=X%2DY%24", f.sent()[1].uri, "links go out as they came")
	for _, req := range f.sent() {
		require.Equal(t, "eventual", req.header.Get("ConsistencyLevel"))
	}
	_, err = c.FindUsers(t.Context(), "mail eq 'x'", 1)
	require.NoError(t, err)
	require.Empty(t, f.sent()[2].header.Get("ConsistencyLevel"))
	require.NotContains(t, f.sent()[2].uri, "count")
}

func TestCollectionsAreFilteredAndLimited(t *testing.T) {
	const objects = `{"@odata.type":"#microsoft.graph.directoryRole","id":"r"},
		{"@odata.type":"#microsoft.graph.group","id":"G1","displayName":"One","mail":"one@contoso.test","groupTypes":["Unified"]},
		{"@odata.type":"#microsoft.graph.user","id":"U1","displayName":"Ana"},
		{"@odata.type":"#microsoft.graph.device","id":"d"},{"@odata.type":"#microsoft.graph.group","id":"g2","groupTypes":null}`
	c, f, m := serve(t, func(w http.ResponseWriter, r *http.Request) {
		next := ""
		if !r.URL.Query().Has("page") {
			next = `"@odata.nextLink":"https://` + r.Host + r.URL.Path + `?page=2",`
		}
		reply(w, 200, `{`+next+`"value":[`+objects+`]}`)
	})
	one := graphsrc.Group{ID: "g1", DisplayName: "One", Mail: "one@contoso.test", Unified: true}
	two := graphsrc.Group{ID: "g2"}
	ana := graphsrc.User{ID: "u1", DisplayName: "Ana"}

	memberships, err := c.MemberOf(t.Context(), idAna, 3)
	require.NoError(t, err)
	require.Equal(t, []graphsrc.Group{one, two, one}, memberships)
	require.Equal(t, "/v1.0/users/"+idAna+"/memberOf", f.sent()[0].path())
	require.Equal(t, "$select=id,displayName,mail,groupTypes&$top=3", f.sent()[0].query(t))

	before := m.sends.Load()
	memberships, err = c.MemberOf(t.Context(), idAna, 2)
	require.NoError(t, err)
	require.Equal(t, []graphsrc.Group{one, two}, memberships)
	require.EqualValues(t, before+1, m.sends.Load(), "no page is read beyond the limit")

	members, err := c.GroupMembers(t.Context(), "g1", 5000)
	require.NoError(t, err)
	require.Equal(t, []graphsrc.User{ana, ana}, members)
	last := f.sent()[len(f.sent())-2]
	require.Equal(t, "/v1.0/groups/g1/members?"+selectUser+"&$top=999", last.path()+"?"+last.query(t))

	reports, err := c.DirectReports(t.Context(), idBen, 10)
	require.NoError(t, err)
	require.Equal(t, []graphsrc.User{ana, ana}, reports)
	last = f.sent()[len(f.sent())-2]
	require.Equal(t, "/v1.0/users/"+idBen+"/directReports", last.path())
}

func TestALinkToAnotherHostIsRefused(t *testing.T) {
	foreign := newFake(t, always(200, `{"value":[]}`))
	for name, link := range map[string]string{
		"another port":    foreign.server.URL + "/v1.0/users?$skiptoken=x",
		"another host":    "https://graph.example.test/v1.0/users",
		"another scheme":  "http://HOST/v1.0/users",
		"another version": "https://HOST/beta/users",
		"a user":          "https://x@HOST/v1.0/users",
		"no host":         "/v1.0/users",
		"no URL":          "https://HOST/v1.0/%zz",
	} {
		t.Run(name, func(t *testing.T) {
			c, f, m := serve(t, func(w http.ResponseWriter, r *http.Request) {
				reply(w, 200, `{"@odata.nextLink":"`+strings.ReplaceAll(link, "HOST", r.Host)+`","value":[{"id":"a"}]}`)
			})
			_, err := c.FindUsers(t.Context(), "mail eq 'x'", 50)
			requireKind(t, graphsrc.KindMalformed, err)
			_, err = c.UsersDelta(t.Context(), "")
			requireKind(t, graphsrc.KindMalformed, err)
			require.EqualValues(t, 2, m.sends.Load())
			_, err = c.UsersDelta(t.Context(), strings.ReplaceAll(link, "HOST", strings.TrimPrefix(f.server.URL, "https://")))
			requireKind(t, graphsrc.KindInvalid, err)
			require.EqualValues(t, 2, m.sends.Load())
		})
	}
	require.Empty(t, foreign.sent(), "nothing reaches the other host, least of all a token")
	t.Run("nor does the transport send there", func(t *testing.T) {
		c, _, m := serve(t, nil)
		auth := &authTransport{base: c.endpoints.base, tokens: c.tokens, next: m, logger: c.logger}
		req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, foreign.server.URL+"/v1.0/users", strings.NewReader("x"))
		require.NoError(t, err)
		_, err = auth.RoundTrip(req)
		require.Equal(t, graphsrc.KindInvalid, asError(t, err).Kind)
		require.Zero(t, m.sends.Load())
	})
}

func TestPagesThatDoNotEndAreGivenUp(t *testing.T) {
	for name, tc := range map[string]struct {
		link  string
		sends int64
	}{
		"a link to itself":        {"https://%s/v1.0/users?page=1", 2},
		"ever more pages, and on": {"https://%s/v1.0/users?page=%d", maxPages},
	} {
		t.Run(name, func(t *testing.T) {
			number := 0
			c, _, m := serve(t, func(w http.ResponseWriter, r *http.Request) {
				number++
				link := strings.Replace(tc.link, "%s", r.Host, 1)
				reply(w, 200, `{"@odata.nextLink":"`+strings.Replace(link, "%d", fmt.Sprint(number), 1)+`","value":[]}`)
			})
			_, err := c.FindUsers(t.Context(), "mail eq 'x'", 50)
			requireKind(t, graphsrc.KindMalformed, err)
			require.Equal(t, tc.sends, m.sends.Load())
		})
	}
}

func TestADeltaRoundIsFollowedLinkByLink(t *testing.T) {
	status, body := 200, ""
	c, f, m := serve(t, func(w http.ResponseWriter, r *http.Request) {
		reply(w, status, strings.ReplaceAll(body, "HOST", r.Host))
	})
	root := f.server.URL + "/v1.0/users/delta"
	body = `{"@odata.nextLink":"https://HOST/v1.0/users/delta?%24skiptoken=A%2Db~%5F","value":[
		{"id":"A","displayName":"Ana","imAddresses":["ana@contoso.test"]},
		{"id":"b","@removed":{"reason":"deleted"}},{"displayName":"without an id"},{"id":"c","@removed":null}]}`
	got, err := c.UsersDelta(t.Context(), "")
	require.NoError(t, err)
	require.Equal(t, graphsrc.UsersPage{
		Users: []graphsrc.User{
			{ID: "a", DisplayName: "Ana", IMAddresses: []string{"ana@contoso.test"}},
			{ID: "b", Removed: true},
			{ID: "c"},
		},
		Next: root + "?%24skiptoken=A%2Db~%5F",
	}, got)
	require.Equal(t, "/v1.0/users/delta()?"+selectUser, f.sent()[0].path()+"?"+f.sent()[0].query(t))

	body = `{"@odata.deltaLink":"https://HOST/v1.0/users/delta()?$deltatoken=D","value":[]}`
	got, err = c.UsersDelta(t.Context(), got.Next)
	require.NoError(t, err)
	require.Equal(t, "/v1.0/users/delta?%24skiptoken=A%2Db~%5F", f.sent()[1].uri, "links go out as they came")
	require.Equal(t, graphsrc.UsersPage{Users: []graphsrc.User{}, Delta: root + "()?$deltatoken=D"}, got)
	require.EqualValues(t, 2, m.sends.Load())

	for _, answer := range []struct {
		status int
		body   string
		kind   graphsrc.Kind
	}{
		{410, `{"error":{"code":"x"}}`, graphsrc.KindGone},
		{400, `{"error":{"code":"badRequest","innerError":{"code":"syncStateNotFound"}}}`, graphsrc.KindGone},
		{404, `{"error":{"code":"resyncRequired"}}`, graphsrc.KindGone},
		{400, `{"error":{"code":"badRequest"}}`, graphsrc.KindInvalid},
		{200, `{"value":[]}`, graphsrc.KindMalformed},
		{200, `{"value":[],"@odata.nextLink":"https://HOST/v1.0/a","@odata.deltaLink":"https://HOST/v1.0/b"}`, graphsrc.KindMalformed},
	} {
		status, body = answer.status, answer.body
		_, err = c.UsersDelta(t.Context(), got.Delta)
		requireKind(t, answer.kind, err)
	}
}

func TestMailboxContactsComeWithPlainAddresses(t *testing.T) {
	c, f, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/v1.0/users/" + idAna + "/people":
			reply(w, 200, `{"value":[
				{"displayName":"Ben","imAddress":"sip:ben@contoso.test","userPrincipalName":"ben.b@contoso.test","personType":{"class":"Person","subclass":"OrganizationUser"},
				 "scoredEmailAddresses":[{"address":"BEN@contoso.test","relevanceScore":8},{"address":"b@contoso.test"}]},
				{"displayName":"Room 1","personType":{"class":"Other","subclass":"Room"}},
				{"displayName":"Team","personType":{"class":"Group"}},{"displayName":"Meeting","personType":{"class":"Person","subclass":"Room"}},
				{"displayName":"Cleo"},{},7]}`)
		case "/v1.0/users/" + idAna + "/contactFolders":
			reply(w, 200, `{"value":[{"id":"F=/1","displayName":"Friends"},{"displayName":"without an id"}]}`)
		default:
			reply(w, 200, `{"value":[{"displayName":"Dan","imAddresses":["SIP:dan@fabrikam.test","+1555"],"emailAddresses":[{"address":"mailto:d@fabrikam.test","name":"x"},{"address":null}]}]}`)
		}
	})
	people, err := c.People(t.Context(), idAna, 20)
	require.NoError(t, err)
	require.Equal(t, []graphsrc.MailboxContact{
		{DisplayName: "Ben", Addresses: []string{"ben@contoso.test", "b@contoso.test", "ben.b@contoso.test"}},
		{DisplayName: "Cleo"},
	}, people)
	require.Contains(t, f.sent()[0].query(t), "$top=20")
	folders, err := c.ContactFolders(t.Context(), idAna, 5)
	require.NoError(t, err)
	require.Equal(t, []graphsrc.ContactFolder{{ID: "F=/1", DisplayName: "Friends"}}, folders)
	dan := []graphsrc.MailboxContact{{DisplayName: "Dan", Addresses: []string{"dan@fabrikam.test", "d@fabrikam.test"}}}
	for folder, path := range map[string]string{"": "/contacts", "F=/1": "/contactFolders/F%3D%2F1/contacts"} {
		contacts, err := c.Contacts(t.Context(), idAna, folder, 5)
		require.NoError(t, err)
		require.Equal(t, dan, contacts)
		last := f.sent()[len(f.sent())-1]
		require.Equal(t, "/v1.0/users/"+idAna+path, last.path())
		require.Equal(t, "$select=id,displayName,imAddresses,emailAddresses&$top=5", last.query(t))
	}
}

func TestPagesOfEveryKindAreFollowed(t *testing.T) {
	c, f, _ := serve(t, func(w http.ResponseWriter, r *http.Request) {
		next := ""
		if !r.URL.Query().Has("page") {
			next = `"@odata.nextLink":"https://` + r.Host + r.URL.EscapedPath() + `?page=2",`
		}
		reply(w, 200, `{`+next+`"value":[{"id":"x","displayName":"X"}]}`)
	})
	for path, call := range map[string]func(context.Context) (int, error){
		"/people": func(ctx context.Context) (int, error) { l, err := c.People(ctx, idAna, 9); return len(l), err },
		"/contactFolders": func(ctx context.Context) (int, error) {
			l, err := c.ContactFolders(ctx, idAna, 9)
			return len(l), err
		},
		"/contacts": func(ctx context.Context) (int, error) { l, err := c.Contacts(ctx, idAna, "", 9); return len(l), err },
		"/contactFolders/f/contacts": func(ctx context.Context) (int, error) {
			l, err := c.Contacts(ctx, idAna, "f", 9)
			return len(l), err
		},
	} {
		n, err := call(t.Context())
		require.NoError(t, err)
		require.Equal(t, 2, n)
		sent := f.sent()
		require.Equal(t, "/v1.0/users/"+idAna+path+"?page=2", sent[len(sent)-1].uri)
	}
}
