package representation_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"ucwagate/ucwaapi/representation"
)

const ns = ` xmlns="http://schemas.microsoft.com/rtc/2012/03/ucwa"`

func TestParseInputAccepts(t *testing.T) {
	for name, c := range map[string]struct {
		query, contentType, body string
		param, want              string
	}{
		"a JSON property":                         {"", "application/json", `{"culture":"en-US"}`, "culture", "en-US"},
		"a JSON property in another letter case":  {"", "application/json", `{"Culture":"en-US"}`, "culture", "en-US"},
		"the vendor JSON type":                    {"", "application/vnd.microsoft.com.ucwa+json", `{"a":"b"}`, "a", "b"},
		"a charset in single quotes":              {"", "application/json;charset='utf-8'", `{"a":"b"}`, "a", "b"},
		"a body without a type as JSON":           {"", "", `{"a":"b"}`, "a", "b"},
		"a number as text":                        {"", "application/json", `{"duration":15}`, "duration", "15"},
		"a boolean as text":                       {"", "application/json", `{"expand":false}`, "expand", "false"},
		"a trailing comma":                        {"", "application/json", "{\"a\":\"b, }\",\n}", "a", "b, }"},
		"a byte order mark":                       {"", "application/json", "\xef\xbb\xbf{\"a\":\"b\"}", "a", "b"},
		"a whole resource posted back":            {"", "application/json", `{"a":"b","rel":"x","_links":{"self":{"href":"/"}},"_embedded":{},"etag":null}`, "a", "b"},
		"an XML property":                         {"", "application/xml", `<input` + ns + `><property name="Duration">15</property></input>`, "duration", "15"},
		"an XML resource":                         {"", "application/vnd.microsoft.com.ucwa+xml", `<?xml version="1.0"?><resource rel="x" href="/x"` + ns + `><link rel="l" href="/"/><property name="a">b</property><resource rel="y" href="/y"><property name="a">c</property></resource></resource>`, "a", "b"},
		"a query parameter":                       {"duration=15", "", "", "duration", "15"},
		"a query parameter in another case":       {"Duration=15", "", "", "duration", "15"},
		"raw characters in a query":               {"groupId=Etah6+cL/q7;2@x=", "", "", "groupId", "Etah6+cL/q7;2@x="},
		"escapes in a query":                      {"groupId=a%3D%2b%40", "", "", "groupId", "a=+@"},
		"a broken escape in a query":              {"a=100%&b=%zz", "", "", "b", "%zz"},
		"the body before the query":               {"a=query", "application/json", `{"a":"body"}`, "a", "body"},
		"an odd type if there is no body":         {"a=1", "application/x-www-form-urlencoded", "", "a", "1"},
		"a query value where the body has a null": {"a=1", "application/json", `{"a":null}`, "a", "1"},
		"the later of two names in other cases":   {"", "application/json", `{"culture":"aa","Culture":"bb","CULTURE":"cc"}`, "culture", "cc"},
	} {
		t.Run(name, func(t *testing.T) {
			in, err := representation.ParseInput(c.query, c.contentType, []byte(c.body))
			require.NoError(t, err)
			got, ok := in.String(c.param)
			require.True(t, ok)
			require.Equal(t, c.want, got)
		})
	}
}

func TestParseInputReadsLists(t *testing.T) {
	for name, c := range map[string]struct{ query, contentType, body string }{
		"from JSON":            {"", "application/json", `{"Uris":["sip:a@b.c",null,"sip:d@e.f"]}`},
		"from XML":             {"", "application/xml", `<input` + ns + `><propertyList name="uris"><item>sip:a@b.c</item><item>sip:d@e.f</item></propertyList></input>`},
		"from a repeated name": {"uris=sip:a@b.c&uris=sip%3Ad@e.f", "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			in, err := representation.ParseInput(c.query, c.contentType, []byte(c.body))
			require.NoError(t, err)
			got, ok := in.List("uris")
			require.True(t, ok)
			require.Equal(t, []string{"sip:a@b.c", "sip:d@e.f"}, got)
		})
	}
	in, err := representation.ParseInput("", "application/json", []byte(`{"uris":"sip:a@b.c"}`))
	require.NoError(t, err)
	got, ok := in.List("uris")
	require.True(t, ok, "a single value is a list of one")
	require.Equal(t, []string{"sip:a@b.c"}, got)
	_, ok = in.List("contactUris")
	require.False(t, ok)
}

func TestParseInputReadsWholeNumbers(t *testing.T) {
	in, err := representation.ParseInput("a=15&b=x&c=1.5", "", nil)
	require.NoError(t, err)
	n, ok, err := in.Int("a")
	require.NoError(t, err)
	require.True(t, ok)
	require.Equal(t, 15, n)
	for _, bad := range []string{"b", "c"} {
		_, ok, err = in.Int(bad)
		require.True(t, ok)
		require.Error(t, err)
	}
	_, ok, err = in.Int("d")
	require.NoError(t, err)
	require.False(t, ok)
}

func TestParseInputRefuses(t *testing.T) {
	var syntax *representation.SyntaxError
	for name, c := range map[string]struct{ contentType, body string }{
		"cut-off JSON":               {"application/json", `{"a":`},
		"a JSON array":               {"application/json", `["a"]`},
		"a JSON text":                {"application/json", `"a"`},
		"two JSON values":            {"application/json", `{} {}`},
		"cut-off XML":                {"application/xml", `<input><property name="a">`},
		"another document element":   {"application/xml", `<output/>`},
		"two document elements":      {"application/xml", `<input/><input/>`},
		"an undeclared XML entity":   {"application/xml", `<input><property name="a">&lol;</property></input>`},
		"JSON under the type of XML": {"application/xml", `{"a":"b"}`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := representation.ParseInput("", c.contentType, []byte(c.body))
			require.ErrorAs(t, err, &syntax)
			require.NotContains(t, err.Error(), "Go ", "no internal names reach a client")
		})
	}
	_, err := representation.ParseInput("", "text/plain", []byte("a"))
	require.ErrorIs(t, err, representation.ErrUnsupportedMediaType)
	_, err = representation.ParseInput("", "application/x-www-form-urlencoded", []byte("a=b"))
	require.ErrorIs(t, err, representation.ErrUnsupportedMediaType)
}

func FuzzParseInput(f *testing.F) {
	f.Add("a=b", "application/json", []byte(`{"uris":["sip:a@b.c"],"duration":15}`))
	f.Add("", "application/json", []byte(`{"a":"b",}`))
	f.Add("groupId=%", "application/xml", []byte(`<input`+ns+`><property name="a">b</property><propertyList name="l"><item>1</item></propertyList></input>`))
	f.Add("a=%4", "", []byte(`[[[[[[`))
	f.Fuzz(func(t *testing.T, query, contentType string, body []byte) {
		in, err := representation.ParseInput(query, contentType, body)
		if err != nil {
			return
		}
		for _, name := range []string{"a", "uris", "duration", "groupId"} {
			_, _ = in.String(name)
			_, _ = in.List(name)
			_, _, _ = in.Int(name)
		}
	})
}

func FuzzNegotiate(f *testing.F) {
	f.Add("application/json;q=0.5, application/xml")
	f.Add(";;,,q=")
	f.Fuzz(func(t *testing.T, accept string) {
		if representation.Negotiate([]string{accept}).ContentType == "" {
			t.Fatal("no format")
		}
	})
}
