package conform

import (
	"strings"
	"testing"
)

func FuzzReadJSON(f *testing.F) {
	for _, seed := range []string{
		`{"rel":"contactPresence","lastActive":"\/Date(1)\/","_links":{"self":{"href":"/x"}}}`,
		`{"_links":{"contact":[{"href":"/a","revision":"2"},{"href":"/b"}]},"_embedded":{"me":{"rel":"me"}},"list":["a",null,1]}`,
		`{"a":1,"a":2}`, `[]`, "\ufeff{}", `{"_links":7,"_embedded":[1]}`, `{"sender":[{"rel":"people","href":"/p","events":[{"link":{},"_embedded":{}}]}],"_links":{}}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(_ *testing.T, body []byte) {
		if v, err := readJSON(body); err == nil {
			v.anyNull()
			jsonNode(v).hrefs()
		}
		_, _ = jsonReason(body)
		_ = (&pack{}).readJSON(body)
	})
}

func FuzzReadXML(f *testing.F) {
	const prolog = `<?xml version="1.0" encoding="utf-8"?>`
	for _, seed := range []string{
		prolog + `<resource rel="a" href="/x" xmlns="` + namespace + `"><link rel="b" href="/y"/><property name="rel">a</property><resource rel="c" href="/z"/></resource>`,
		prolog + `<events href="/e" xmlns="` + namespace + `"><link rel="next" href="/n"/><sender rel="people"><updated rel="a" href="/x"><in/><resource/></updated></sender></events>`,
		prolog + `<reason xmlns="` + namespace + `"><code>NotFound</code><parameters><parameter name="a"/></parameters></reason>`, `<a/>`, prolog,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(_ *testing.T, body []byte) {
		if e, err := readXML(body); err == nil {
			e.namespaceFault(true)
			xmlNode(e).hrefs()
		}
		_, _ = xmlReason(body)
		_ = (&pack{}).readXML(body)
	})
}

func FuzzSplitBatch(f *testing.F) {
	f.Add("--b\r\nContent-Type: application/http; msgtype=response\r\n\r\nHTTP/1.1 200 OK\r\nContent-Type: a/b\r\n\r\n{}\r\n--b--\r\n", "b")
	f.Add("--b\n\nHTTP\n--b--", "b")
	f.Add("", "")
	f.Fuzz(func(t *testing.T, body, boundary string) {
		answers, wrong := splitBatch(body, boundary)
		if wrong == "" && len(answers) > strings.Count(body, "HTTP/1.1") {
			t.Errorf("%d answers in %q", len(answers), body)
		}
	})
}
