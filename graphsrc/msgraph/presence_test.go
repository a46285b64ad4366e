package msgraph

import (
	"compress/gzip"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/graphsrc"
	"ucwagate/mapping"
)

func TestABatchIsReadTolerantlyAndInOrder(t *testing.T) {
	c, f, m := serve(t, always(200, `{"@odata.context":"x","value":[
		{"id":"AAAAAAAA-0000-0000-0000-000000000001","availability":"Busy","activity":"InAMeeting","sequenceNumber":"A01",
		 "statusMessage":{"message":{"content":"at the desk","contentType":"text"}},
		 "outOfOfficeSettings":{"message":"back on Monday","isOutOfOffice":true},
		 "workLocation":{"workLocationType":"remote","source":"manual"},"unknown":[1,{}]},
		{"id":"`+idBen+`","availability":null,"activity":null,"statusMessage":null,"outOfOfficeSettings":{"message":null},"workLocation":null},
		17, null, "text", [], {"availability":"Away"},
		{"id":"c","availability":7,"activity":"Away","statusMessage":"text","sequenceNumber":{"a":1}},
		{"id":"`+idBen+`","availability":"Away"}]}`))
	got, err := c.Presences(t.Context(), []string{idAna, idBen})
	require.NoError(t, err)
	require.Equal(t, []graphsrc.Presence{
		{ID: idAna, Sequence: "A01", Words: mapping.Presence{
			Availability: "Busy", Activity: "InAMeeting", OutOfOffice: true, OutOfOfficeMessage: "back on Monday",
			StatusMessage: "at the desk", WorkLocation: "remote",
		}},
		{ID: idBen},
		{ID: "c", Words: mapping.Presence{Activity: "Away"}},
		{ID: idBen, Words: mapping.Presence{Availability: "Away"}},
	}, got)

	require.EqualValues(t, 1, m.sends.Load())
	req := f.sent()[0]
	require.Equal(t, "POST /v1.0/communications/getPresencesByUserId", req.method+" "+req.uri)
	require.JSONEq(t, `{"ids":["`+idAna+`","`+idBen+`"]}`, req.body)
	require.EqualValues(t, len(req.body), req.length, "a body is sent with its length")
	require.False(t, req.chunked)
	require.Equal(t, "HTTP/2.0", req.proto)
	require.Equal(t, []string{"ucwagate"}, req.header["User-Agent"])
	require.Equal(t, "application/json", req.header.Get("Content-Type"))
	require.Empty(t, req.header.Get("Content-Encoding"))
	for name, values := range req.header {
		require.NotContains(t, strings.ToLower(strings.Join(values, " ")), "linux", "%s discloses the system", name)
	}
}

func TestEverySendCanBeRepeatedBelowAndHasADeadline(t *testing.T) {
	f := newFake(t, always(200, `{"value":[]}`))
	c, m, _ := start(t, f.config())
	var length int64
	var body string
	var left time.Duration
	m.look = func(req *http.Request) error {
		length = req.ContentLength
		again, err := req.GetBody()
		require.NoError(t, err)
		data, err := io.ReadAll(again)
		require.NoError(t, err)
		body = string(data)
		deadline, ok := req.Context().Deadline()
		require.True(t, ok)
		left = time.Until(deadline)
		return nil
	}
	_, err := c.Presences(context.Background(), []string{idAna})
	require.NoError(t, err)
	require.JSONEq(t, `{"ids":["`+idAna+`"]}`, body)
	require.EqualValues(t, len(body), length)
	require.Greater(t, left, 20*time.Second)
	require.LessOrEqual(t, left, defaultTimeout)

	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	_, err = c.Presences(ctx, []string{idAna})
	require.NoError(t, err)
	require.LessOrEqual(t, left, 5*time.Second, "the caller's deadline stands")
}

func TestTheNumberOfIDsIsChecked(t *testing.T) {
	c, _, m := serve(t, always(200, `{"value":[]}`))
	got, err := c.Presences(t.Context(), nil)
	require.NoError(t, err)
	require.Empty(t, got)
	_, err = c.Presences(t.Context(), slices.Repeat([]string{idAna}, 651))
	requireKind(t, graphsrc.KindInvalid, err)
	require.Zero(t, m.sends.Load())
	got, err = c.Presences(t.Context(), slices.Repeat([]string{idAna}, 650))
	require.NoError(t, err)
	require.Empty(t, got)
}

func TestASinglePresenceComesBareOrWrapped(t *testing.T) {
	away := graphsrc.Presence{ID: idAna, Words: mapping.Presence{Availability: "Away"}}
	for name, tc := range map[string]struct {
		body string
		want graphsrc.Kind // 0 is success
	}{
		"the bare object":              {`{"id":"` + strings.ToUpper(idAna) + `","availability":"Away"}`, 0},
		"a list of one under value":    {`{"value":[{"id":"` + idAna + `","availability":"Away"}]}`, 0},
		"an object under value":        {`{"value":{"id":"` + idAna + `","availability":"Away"}}`, 0},
		"without an id":                {`{"availability":"Away"}`, 0},
		"with wrongly typed fields":    {`{"id":"` + idAna + `","availability":"Away","activity":7,"statusMessage":[]}`, 0},
		"wrong types under value":      {`{"value":[{"id":"` + idAna + `","availability":"Away","activity":7}]}`, 0},
		"somebody else":                {`{"id":"` + idBen + `","availability":"Away"}`, graphsrc.KindMalformed},
		"two people":                   {`{"value":[{"id":"` + idAna + `"},{"id":"` + idBen + `"}]}`, graphsrc.KindMalformed},
		"nobody":                       {`{"value":[]}`, graphsrc.KindMalformed},
		"an empty object":              {`{}`, graphsrc.KindMalformed},
		"a text under value":           {`{"value":"x"}`, graphsrc.KindMalformed},
		"a list instead of an object":  {`[{"id":"` + idAna + `"}]`, graphsrc.KindMalformed},
		"null instead of an object":    {`null`, graphsrc.KindMalformed},
		"HTML with a successful state": {`<html>sign in</html>`, graphsrc.KindMalformed},
	} {
		t.Run(name, func(t *testing.T) {
			c, f, m := serve(t, always(200, tc.body))
			got, err := c.Presence(t.Context(), idAna)
			require.EqualValues(t, 1, m.sends.Load())
			require.Equal(t, "GET /v1.0/users/"+idAna+"/presence", f.sent()[0].method+" "+f.sent()[0].uri)
			if tc.want != 0 {
				e := requireKind(t, tc.want, err)
				require.NotContains(t, e.Error(), idBen)
				return
			}
			require.NoError(t, err)
			require.Equal(t, away, got)
		})
	}
}

func TestASuccessThatMakesNoSenseIsMalformed(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{
		"a list":          always(200, `[{"id":"x"}]`),
		"an empty object": always(200, `{}`),
		"a null value":    always(200, `{"value":null}`),
		"a text value":    always(200, `{"value":"x"}`),
		"HTML":            always(200, `<html></html>`),
		"nothing":         always(200, ``),
		"no content":      func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) },
		"truncated JSON":  always(200, `{"value":[{"id":"x"`),
		"no gzip at all":  always(200, `{"value":[]}`, "Content-Encoding", "gzip"),
		"two objects":     always(200, `{"value":[]}{"value":[]}`),
		"too long":        always(200, `{"value":["`+strings.Repeat("x", maxAnswer)+`"]}`),
		"an early end": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "99")
			w.WriteHeader(200)
		},
		"gzip cut in two": func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Content-Encoding", "gzip"); writeHalf(w) },
		"gzip with a fault": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			writeWrong(w)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, _, m := serve(t, handler)
			_, err := c.Presences(t.Context(), []string{idAna})
			requireKind(t, graphsrc.KindMalformed, err)
			require.EqualValues(t, 1, m.sends.Load())
		})
	}
}

func zipped(text string) []byte {
	var out strings.Builder
	w := gzip.NewWriter(&out)
	_, _ = io.WriteString(w, text)
	_ = w.Close()
	return []byte(out.String())
}

func writeHalf(w http.ResponseWriter) {
	data := zipped(`{"value":[{"id":"x"},{"id":"y"}]}`)
	_, _ = w.Write(data[:len(data)/2])
}

func writeWrong(w http.ResponseWriter) {
	data := zipped(`{"value":[]}`)
	data[len(data)-6] ^= 0xff // checksum
	_, _ = w.Write(data)
}

func TestAGzippedAnswerIsRead(t *testing.T) {
	c, f, _ := serve(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		_, _ = w.Write(zipped(`{"value":[{"id":"x"}]}`))
	})
	got, err := c.Presences(t.Context(), []string{"x"})
	require.NoError(t, err)
	require.Len(t, got, 1)
	require.Equal(t, "gzip", f.sent()[0].header.Get("Accept-Encoding"))
}

func FuzzPresenceDecoding(f *testing.F) {
	for _, body := range []string{
		`{"value":[{"id":"A","availability":"Busy","activity":"InACall","sequenceNumber":"A0","statusMessage":{"message":{"content":"x"}},"outOfOfficeSettings":{"message":"m","isOutOfOffice":true},"workLocation":{"workLocationType":"office"}}]}`,
		`{"value":{"id":"A"}}`, `{"id":"A","availability":null}`, `{"value":[1,null,"x",[],{}]}`, `[]`, `null`, `{`, ``,
		`{"id":7,"availability":{},"value":"x"}`, `{"value":[[[[]]]]}`, "{\"id\":\"\xff\"}", `{"ID":"a","Value":[]}`,
	} {
		f.Add([]byte(body))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		var batch page[wirePresence]
		batchErr := unmarshal(data, &batch)
		if batchErr == nil && batch.Value == nil {
			t.Fatal("a batch without a list is accepted")
		}
		var single singlePresence
		singleErr := unmarshal(data, &single)
		if !json.Valid(data) && (batchErr == nil || singleErr == nil) {
			t.Fatal("what is not JSON is accepted")
		}
		for i := range batch.Value {
			if p := batch.Value[i].presence(); p.ID != strings.ToLower(p.ID) {
				t.Fatalf("id %q is not lower case", p.ID)
			}
		}
		if singleErr == nil && single.ID == "" && single.Availability == "" && single.Activity == "" {
			t.Fatal("a presence of nothing is accepted")
		}
	})
}
