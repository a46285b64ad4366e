package notify

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestOpenReadsPresence(t *testing.T) {
	k := newRing(t, KeyringConfig{})
	for _, c := range []struct {
		name, plain string
		want        Presence
	}{
		{
			"as documented", presenceJSON(anaID, "Busy", "InACall"),
			Presence{ID: anaID, Availability: "Busy", Activity: "InACall"},
		},
		{
			"with a sequence number and parts that are not read",
			`{"id":"` + anaID + `","availability":"Away","activity":"Away","sequenceNumber":"A0129311063","statusMessage":{"message":{"content":"hello"}}}`,
			Presence{ID: anaID, Availability: "Away", Activity: "Away", Sequence: "A0129311063"},
		},
		{"an id in upper case", presenceJSON(strings.ToUpper(anaID), "Away", "Away"), Presence{ID: anaID, Availability: "Away", Activity: "Away"}},
		{"only an @odata.id", `{"@odata.id":"users/` + anaID + `/presence"}`, Presence{ID: anaID}},
		{"an @odata.id with parentheses", `{"@odata.id":"Users('` + anaID + `')/presence"}`, Presence{ID: anaID}},
		{"an @odata.id of communications", `{"@odata.id":"https://graph.microsoft.com/v1.0/communications/presences/` + anaID + `"}`, Presence{ID: anaID}},
		{"an id that is no GUID", `{"id":"ana@contoso.com","availability":"Away"}`, Presence{Availability: "Away"}},
		{"nulls", `{"id":null,"availability":null,"activity":null,"sequenceNumber":null}`, Presence{}},
		{"a byte order mark", "\xef\xbb\xbf" + presenceJSON(anaID, "Away", "Away"), Presence{ID: anaID, Availability: "Away", Activity: "Away"}},
		{"a length that fills the last block", `{"activity":"A"}` + strings.Repeat(" ", 16), Presence{Activity: "A"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got, err := k.Open(seal(t, k, c.plain))
			require.NoError(t, err)
			require.Equal(t, c.want, got)
		})
	}
}

func TestOpenReturnsWhatWasSealed(t *testing.T) {
	k := newRing(t, KeyringConfig{})
	der, id := k.Current()
	rapid.Check(t, func(rt *rapid.T) {
		word := rapid.StringOfN(rapid.Rune(), 0, -1, maxWord)
		want := Presence{ID: anaID, Availability: word.Draw(rt, "availability"), Activity: word.Draw(rt, "activity"), Sequence: word.Draw(rt, "sequence")}
		plain, err := json.Marshal(map[string]string{
			"id": want.ID, "availability": want.Availability, "activity": want.Activity, "sequenceNumber": want.Sequence,
		})
		require.NoError(rt, err)
		got, err := k.Open(newSealing().seal(t, der, id, string(plain)))
		require.NoError(rt, err)
		require.Equal(rt, want, got)
	})
}

func TestOpenRefusesWhatIsNotSealedAsDocumented(t *testing.T) {
	k := newRing(t, KeyringConfig{})
	good := presenceJSON(anaID, "Busy", "InACall")
	padWith := func(padding ...byte) func([]byte) []byte {
		return func(plain []byte) []byte {
			plain = append(bytes.Clone(plain), bytes.Repeat([]byte(" "), 16-len(plain)%16)...)
			return append(plain[:len(plain)-len(padding)%16], padding...)
		}
	}
	for _, c := range []struct {
		name   string
		change func(s *sealing)
	}{
		{"a key of 16 bytes", func(s *sealing) { s.dataKey = s.dataKey[:16] }},
		{"a key of 24 bytes", func(s *sealing) { s.dataKey = s.dataKey[:24] }},
		{"OAEP with SHA-256", func(s *sealing) {
			s.wrap = func(public *rsa.PublicKey, dataKey []byte) ([]byte, error) {
				return rsa.EncryptOAEP(sha256.New(), rand.Reader, public, dataKey, nil)
			}
		}},
		{"PKCS#1 v1.5", func(s *sealing) {
			s.wrap = func(public *rsa.PublicKey, dataKey []byte) ([]byte, error) {
				//lint:ignore SA1019 this is what must be refused
				return rsa.EncryptPKCS1v15(rand.Reader, public, dataKey)
			}
		}},
		{"a label", func(s *sealing) {
			s.wrap = func(public *rsa.PublicKey, dataKey []byte) ([]byte, error) {
				return rsa.EncryptOAEP(sha1.New(), rand.Reader, public, dataKey, []byte("label"))
			}
		}},
		{"a signature by another key", func(s *sealing) {
			sign := s.sign
			s.sign = func(_, data []byte) []byte { return sign([]byte("another"), data) }
		}},
		{"a signature of something else", func(s *sealing) {
			sign := s.sign
			s.sign = func(dataKey, data []byte) []byte { return sign(dataKey, data[1:]) }
		}},
		{"half a signature", func(s *sealing) {
			sign := s.sign
			s.sign = func(dataKey, data []byte) []byte { return sign(dataKey, data)[:16] }
		}},
		{"no signature", func(s *sealing) { s.sign = func(_, _ []byte) []byte { return nil } }},
		{"an initialization vector of zeros", func(s *sealing) { s.iv = func([]byte) []byte { return make([]byte, 16) } }},
		{"padding of zero bytes", func(s *sealing) { s.pad = padWith(0) }},
		{"padding of 17 bytes", func(s *sealing) { s.pad = padWith(17) }},
		{"padding whose bytes differ", func(s *sealing) { s.pad = padWith(3, 2, 3) }},
		{"no data", func(s *sealing) { s.pad = func([]byte) []byte { return nil } }},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newSealing()
			c.change(s)
			der, id := k.Current()
			_, err := k.Open(s.seal(t, der, id, good))
			require.ErrorIs(t, err, ErrUndecryptable)
			if c.name != "an initialization vector of zeros" { // the first block is garbled, which only JSON notices
				require.Equal(t, errAltered, err, "the step that failed is not told")
			}
		})
	}
}

func TestOpenRefusesWhatIsNoPresence(t *testing.T) {
	k := newRing(t, KeyringConfig{})
	for _, plain := range []string{
		"", "{", "[]", "null garbage", `"text"`, `{"id":1}`, `{"availability":["Away"]}`,
		`{"availability":"` + strings.Repeat("A", maxWord+1) + `"}`, strings.Repeat("[", 20_000),
	} {
		_, err := k.Open(seal(t, k, plain))
		require.Equal(t, errNoPresence, err, "%.40q", plain)
	}
}

func TestOpenRefusesAlteredContent(t *testing.T) {
	k := newRing(t, KeyringConfig{})
	good := seal(t, k, presenceJSON(anaID, "Busy", "InACall"))
	flip := func(s string, bit int) string {
		raw, err := base64.StdEncoding.DecodeString(s)
		require.NoError(t, err)
		raw[bit/8%len(raw)] ^= 1 << (bit % 8)
		return base64.StdEncoding.EncodeToString(raw)
	}
	for bit := range 64 {
		for _, c := range []EncryptedContent{
			{flip(good.Data, bit), good.DataSignature, good.DataKey, good.CertificateID},
			{good.Data, flip(good.DataSignature, bit), good.DataKey, good.CertificateID},
			{good.Data, good.DataSignature, flip(good.DataKey, bit), good.CertificateID},
		} {
			_, err := k.Open(c)
			require.Equal(t, errAltered, err)
		}
	}
	for name, c := range map[string]EncryptedContent{
		"no base64 in the data":      {"%", good.DataSignature, good.DataKey, good.CertificateID},
		"no base64 in the signature": {good.Data, "%", good.DataKey, good.CertificateID},
		"no base64 in the key":       {good.Data, good.DataSignature, "%", good.CertificateID},
		"data beyond all measure":    {strings.Repeat("A", maxContent+4), good.DataSignature, good.DataKey, good.CertificateID},
		"a key beyond all measure":   {good.Data, good.DataSignature, strings.Repeat("A", maxDataKey+4), good.CertificateID},
		"nothing but the id":         {CertificateID: good.CertificateID},
	} {
		_, err := k.Open(c)
		require.Equal(t, errAltered, err, name)
	}
	_, err := k.Open(EncryptedContent{good.Data, good.DataSignature, good.DataKey, "another"})
	require.Equal(t, errKeyUnknown, err)
	_, err = newRing(t, KeyringConfig{}).Open(good)
	require.Equal(t, errKeyUnknown, err)
	_, err = k.Open(good)
	require.NoError(t, err)
}

func TestPerson(t *testing.T) {
	for _, c := range []struct{ name, id, odataID, want string }{
		{"an id", anaID, "", anaID},
		{"an id in upper case", strings.ToUpper(anaID), "", anaID},
		{"the id comes first", anaID, "users/" + benID + "/presence", anaID},
		{"a user of a tenant", "", "Users/" + benID + "@" + tenantID + "/presence", benID},
		{"a name in place of an id", "ana", "users/ana/presence", ""},
		{"a GUID that belongs to something else", "", "groups/" + benID + "/presence", ""},
		{"a GUID with a tail", "", "users/" + benID + "00/presence", ""},
		{"a GUID in braces", "{" + anaID + "}", "", ""},
		{"a path beyond all measure", "", strings.Repeat("x/", 300) + "users/" + benID, ""},
		{"nothing", "", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) { require.Equal(t, c.want, person(c.id, c.odataID)) })
	}
}

func FuzzOpen(f *testing.F) {
	k := newRing(f, KeyringConfig{})
	der, id := k.Current()
	good := newSealing().seal(f, der, id, presenceJSON(anaID, "Busy", "InACall"))
	f.Add(good.Data, good.DataSignature, good.DataKey, []byte(presenceJSON(anaID, "Busy", "InACall")))
	f.Add("", "", "", []byte(`{"id":null}`))
	f.Add(good.Data[:32], good.DataSignature, good.DataKey, []byte("\xef\xbb\xbf{}"))
	f.Add(good.Data, good.DataSignature, good.DataKey[:40], []byte(`{"@odata.id":"users('x')"}`))
	f.Fuzz(func(t *testing.T, data, signature, dataKey string, plain []byte) {
		_, err := k.Open(EncryptedContent{Data: data, DataSignature: signature, DataKey: dataKey, CertificateID: id})
		same := data == good.Data && signature == good.DataSignature && dataKey == good.DataKey
		if err == nil != same && !equalDecoded(good, data, signature, dataKey) {
			t.Fatalf("altered content: %v", err)
		}
		if p, err := readPresence(plain); err == nil {
			if p.ID != "" && !guid.MatchString(p.ID) {
				t.Fatalf("id %q", p.ID)
			}
			if len(p.Availability) > maxWord || len(p.Activity) > maxWord || len(p.Sequence) > maxWord {
				t.Fatal("a word is too long")
			}
		}
	})
}

// equalDecoded tells other spellings of the same bytes in base64 from others.
func equalDecoded(good EncryptedContent, data, signature, dataKey string) bool {
	for given, want := range map[string]string{data: good.Data, signature: good.DataSignature, dataKey: good.DataKey} {
		a, err := base64.StdEncoding.DecodeString(given)
		b, err2 := base64.StdEncoding.DecodeString(want)
		if err != nil || err2 != nil || !bytes.Equal(a, b) {
			return false
		}
	}
	return true
}
