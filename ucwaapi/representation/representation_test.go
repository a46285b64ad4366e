package representation_test

import (
	"encoding/json"
	"encoding/xml"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"ucwagate/ucwaapi/representation"
)

func sample() *representation.Resource {
	child := representation.New("contact", "/a/people/ana@contoso.com").
		Set("name", "Ana & Bo <\"quoted\">").
		SetList("emailAddresses", []string{"ana@contoso.com", "a.b@contoso.com"}).
		Link("contactPresence", "/a/people/ana@contoso.com/presence").
		Tag()
	return representation.New("groupContacts", "/a/people/contacts?groupId=x%3D&y=1").
		Set("empty", "").
		SetNonEmpty("absent", "").
		SetInt("count", 7).
		SetBool("moreResultsAvailable", true).
		SetTime("lastActive", time.UnixMilli(1358827096123)).
		SetTime("never", time.Time{}).
		SetList("none", nil).
		Link("one", "/one").
		LinkRevision("newer", "/newer", "2").
		LinkAll("many", []string{"/1", "/2"}).
		LinkAll("nobody", nil).
		EmbedAll("contact", []*representation.Resource{child}).
		EmbedAll("group", nil).
		Embed(representation.New("me", "/a/me")).
		Embed(nil)
}

func TestJSONKeepsTheOrderOfTheRealServerAndItsDateForm(t *testing.T) {
	etag := representation.New("contact", "/a/people/ana@contoso.com").
		Set("name", "Ana & Bo <\"quoted\">").
		SetList("emailAddresses", []string{"ana@contoso.com", "a.b@contoso.com"}).
		Link("contactPresence", "/a/people/ana@contoso.com/presence").Tag().ETag()
	want := `{"empty":"","count":7,"moreResultsAvailable":true,"lastActive":"\/Date(1358827096123)\/","none":[],` +
		`"_links":{"self":{"href":"/a/people/contacts?groupId=x%3D\u0026y=1"},"one":{"href":"/one"},` +
		`"newer":{"href":"/newer","revision":"2"},"many":[{"href":"/1"},{"href":"/2"}],"nobody":[]},` +
		`"_embedded":{"contact":[{"name":"Ana \u0026 Bo \u003c\"quoted\"\u003e","emailAddresses":["ana@contoso.com","a.b@contoso.com"],` +
		`"_links":{"self":{"href":"/a/people/ana@contoso.com"},"contactPresence":{"href":"/a/people/ana@contoso.com/presence"}},` +
		`"rel":"contact","etag":"` + etag + `"}],"group":[],"me":{"_links":{"self":{"href":"/a/me"}},"rel":"me"}},"rel":"groupContacts"}`
	require.Equal(t, want, string(representation.AppendJSON(nil, sample())))
}

func TestXMLCarriesTheSelfLinkAsAttributesAndLinksFirst(t *testing.T) {
	got := string(representation.AppendXML(nil, sample()))
	require.True(t, strings.HasPrefix(got, `<?xml version="1.0" encoding="utf-8"?><resource rel="groupContacts" href="/a/people/contacts?groupId=x%3D&amp;y=1" xmlns="http://schemas.microsoft.com/rtc/2012/03/ucwa"><link rel="one" href="/one"/><link rel="newer" href="/newer" revision="2"/><link rel="many" href="/1"/><link rel="many" href="/2"/><property name="rel">groupContacts</property><property name="empty"/><property name="count">7</property><property name="moreResultsAvailable">True</property><property name="lastActive">2013-01-22T03:58:16.1230000Z</property><propertyList name="none"></propertyList><resource rel="contact" href="/a/people/ana@contoso.com">`), got)
	require.NotContains(t, got, "nobody")
	require.Contains(t, got, "Ana &amp; Bo &lt;&#34;quoted&#34;&gt;")
	d := xml.NewDecoder(strings.NewReader(got))
	for {
		_, err := d.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
	}
}

func TestTheEntityTagFollowsContentAndNotEmbeddedResources(t *testing.T) {
	tag := func(name, href string) string {
		return representation.New("contact", "/c").Set("name", name).Link("l", href).Tag().ETag()
	}
	require.Equal(t, tag("a", "/1"), tag("a", "/1"))
	require.NotEqual(t, tag("a", "/1"), tag("b", "/1"))
	require.NotEqual(t, tag("a", "/1"), tag("a", "/2"))
	require.Regexp(t, `^[0-9]+$`, tag("a", "/1"))
	require.Equal(t,
		representation.New("x", "/x").Tag().ETag(),
		representation.New("x", "/x").Embed(representation.New("y", "/y")).Tag().ETag())
}

func TestAnyStringSurvivesBothEncodings(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s := rapid.String().Draw(t, "s")
		r := representation.New("x", "/x").Set("p", s)
		var j struct{ P string }
		if err := json.Unmarshal(representation.AppendJSON(nil, r), &j); err != nil {
			t.Fatal(err)
		}
		if j.P != strings.ToValidUTF8(s, "�") {
			t.Fatalf("JSON: %q became %q", s, j.P)
		}
		var x struct {
			Properties []string `xml:"property"`
		}
		if err := xml.Unmarshal(representation.AppendXML(nil, r), &x); err != nil {
			t.Fatal(err)
		}
	})
}

func TestReason(t *testing.T) {
	e := &representation.Reason{
		Code: "BadRequest", Subcode: "ParameterValidationFailure", Message: "duration <10",
		Parameters: []representation.Parameter{{Name: "duration", Reason: "must be 10 to 30"}},
		Debug:      []representation.Parameter{{Name: "requestId", Reason: "ab"}},
	}
	require.Equal(t, `{"code":"BadRequest","subcode":"ParameterValidationFailure","message":"duration \u003c10","parameters":[{"name":"duration","reason":"must be 10 to 30"}],"debugInfo":{"requestId":"ab"}}`,
		string(representation.AppendReasonJSON(nil, e)))
	require.Equal(t, `<?xml version="1.0" encoding="utf-8"?><reason xmlns="http://schemas.microsoft.com/rtc/2012/03/ucwa"><code>BadRequest</code><subcode>ParameterValidationFailure</subcode><message>duration &lt;10</message><debugInfo><property name="requestId">ab</property></debugInfo><parameters><parameter name="duration">must be 10 to 30</parameter></parameters></reason>`,
		string(representation.AppendReasonXML(nil, e)))
	require.Equal(t, `{"code":"NotFound"}`, string(representation.AppendReasonJSON(nil, &representation.Reason{Code: "NotFound"})))
}

func TestNegotiate(t *testing.T) {
	const vendor = "application/vnd.microsoft.com.ucwa"
	for name, c := range map[string]struct {
		accept []string
		want   string
	}{
		"no Accept gets JSON":                           {nil, "application/json; charset=utf-8"},
		"anything gets JSON":                            {[]string{"*/*"}, "application/json; charset=utf-8"},
		"XML gets XML":                                  {[]string{"application/xml"}, "application/xml; charset=utf-8"},
		"the vendor JSON type comes back":               {[]string{vendor + "+json"}, vendor + "+json; charset=utf-8"},
		"the vendor XML type comes back":                {[]string{vendor + "+xml"}, vendor + "+xml; charset=utf-8"},
		"the vendor type without .com is an alias":      {[]string{"application/vnd.microsoft.ucwa+xml"}, vendor + "+xml; charset=utf-8"},
		"the higher quality wins":                       {[]string{"application/json;q=0.5, application/xml; q=0.9"}, "application/xml; charset=utf-8"},
		"the first of equals wins":                      {[]string{"application/xml, application/json"}, "application/xml; charset=utf-8"},
		"several header lines count as one":             {[]string{"text/html", "application/xml"}, "application/xml; charset=utf-8"},
		"quality zero is a refusal":                     {[]string{"application/xml;q=0, */*"}, "application/json; charset=utf-8"},
		"letter case does not matter":                   {[]string{"Application/XML"}, "application/xml; charset=utf-8"},
		"what cannot be served gets JSON, not 406":      {[]string{"image/png"}, "application/json; charset=utf-8"},
		"an old discovery schema gets JSON":             {[]string{"application/vnd.microsoft.rtc.autodiscover+xml;v=1"}, "application/json; charset=utf-8"},
		"a script library's usual list gets JSON":       {[]string{"application/json, text/javascript, */*; q=0.01"}, "application/json; charset=utf-8"},
		"an odd quality is passed over":                 {[]string{"application/xml;q=high, application/json"}, "application/json; charset=utf-8"},
		"the default of a well-known Java client: JSON": {[]string{"text/html, image/gif, image/jpeg, *; q=.2, */*; q=.2"}, "application/json; charset=utf-8"},
	} {
		t.Run(name, func(t *testing.T) {
			got := representation.Negotiate(c.accept)
			require.Equal(t, c.want, got.ContentType)
			require.Equal(t, strings.Contains(c.want, "xml"), got.XML)
		})
	}
}
