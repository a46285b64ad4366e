package signin

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/crypto/bcrypt"
)

// hashOf returns a bcrypt hash in the form of htpasswd.
func hashOf(t testing.TB, version, password string, cost int) string {
	t.Helper()
	hash, err := bcrypt.GenerateFromPassword([]byte(password), cost)
	require.NoError(t, err)
	return "$" + version + string(hash[3:])
}

func testPasswords(t testing.TB, domains ...string) *Passwords {
	t.Helper()
	file := "# people\r\n\n" +
		"ana@contoso.test:" + hashOf(t, "2y", "Pass+w@rd%1", 5) + "\r\n" +
		"  sip:Bo@Contoso.test:" + hashOf(t, "2b", "b", 4) + "  \n" +
		"chi@fabrikam.test:" + hashOf(t, "2a", strings.Repeat("x", 72), 4) + "\n"
	p, err := ParseHtpasswd(strings.NewReader("\ufeff"+file), domains...)
	require.NoError(t, err)
	return p
}

func TestPasswordCheck(t *testing.T) {
	p := testPasswords(t, "contoso.test", "@Fabrikam.test")
	require.Equal(t, 3, p.Len())
	for _, c := range []struct {
		name, user, password, want string
	}{
		{"an address", "ana@contoso.test", "Pass+w@rd%1", "ana@contoso.test"},
		{"an address in capitals", "ANA@Contoso.TEST", "Pass+w@rd%1", "ana@contoso.test"},
		{"an address with its scheme", "sip:ana@contoso.test", "Pass+w@rd%1", "ana@contoso.test"},
		{"an address with its scheme in capitals", "SIP: Ana@contoso.test", "Pass+w@rd%1", "ana@contoso.test"},
		{"a bare name of the first default domain", "Ana", "Pass+w@rd%1", "ana@contoso.test"},
		{"a bare name of the second default domain", "chi", strings.Repeat("x", 72), "chi@fabrikam.test"},
		{"a Windows name", `CONTOSO\ana`, "Pass+w@rd%1", "ana@contoso.test"},
		{"a Windows name of another domain is its bare name", `WHATEVER\Chi`, strings.Repeat("x", 72), "chi@fabrikam.test"},
		{"a name that stands with its scheme in the file", "bo@contoso.test", "b", "bo@contoso.test"},
		{"a wrong password", "ana@contoso.test", "pass+w@rd%1", ""},
		{"another's password", "ana@contoso.test", "b", ""},
		{"no password", "bo@contoso.test", "", ""},
		{"a zero byte for no password", "bo@contoso.test", "\x00", ""},
		{"a password longer than bcrypt reads", "chi", strings.Repeat("x", 73), ""},
		{"a very long password", "chi", strings.Repeat("x", 10_000), ""},
		{"an unknown user", "eve@contoso.test", "b", ""},
		{"an unknown bare user", "eve", "b", ""},
		{"an account of another domain", "ana@fabrikam.test", "Pass+w@rd%1", ""},
		{"no user", "", "", ""},
		{"a very long user", strings.Repeat("ana", 10_000), "b", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			id, ok := p.Check(c.user, c.password)
			require.Equal(t, c.want != "", ok)
			if ok {
				require.Equal(t, Identity{Address: c.want, Method: MethodPassword}, id)
			} else {
				require.Zero(t, id)
			}
		})
	}
}

func TestAllSpellingsAreOneAccount(t *testing.T) {
	p := testPasswords(t, "contoso.test", "fabrikam.test")
	for _, user := range []string{"ana", "ANA", `X\Ana`, "sip:ana@contoso.test", " ana@CONTOSO.test "} {
		require.Equal(t, "ana@contoso.test", p.Account(user))
	}
	require.Equal(t, "eve@contoso.test", p.Account("Eve"))
	require.Equal(t, "eve", testPasswords(t).Account(`D\Eve`))
}

func TestEveryCheckDoesTheSameWork(t *testing.T) {
	p := testPasswords(t, "contoso.test")
	require.Equal(t, 5, p.maxCost)
	work := func(cost int) int {
		sum := 1 << cost
		for c := cost; c < p.maxCost; c++ {
			require.NotNil(t, p.decoys[c])
			got, err := bcrypt.Cost(p.decoys[c])
			require.NoError(t, err)
			require.ErrorIs(t, bcrypt.CompareHashAndPassword(p.decoys[c], []byte("b")), bcrypt.ErrMismatchedHashAndPassword)
			sum += 1 << got
		}
		return sum
	}
	for _, a := range p.accounts {
		require.Equal(t, 1<<p.maxCost, work(a.cost))
	}
	require.Len(t, p.decoys[p.maxCost], 60, "the decoy of an unknown user")

	empty, err := ParseHtpasswd(strings.NewReader(""))
	require.NoError(t, err)
	_, ok := empty.Check("ana@contoso.test", "b")
	require.False(t, ok)
	require.Equal(t, bcrypt.DefaultCost, empty.maxCost)
}

func TestHtpasswdProblems(t *testing.T) {
	good := hashOf(t, "2y", "b", 4)
	for _, c := range []struct{ name, file, want string }{
		{"no colon", "ana@contoso.test", "line 1: no colon"},
		{"SHA-1", "\n#\nana@contoso.test:{SHA}fEqNCco3Yq9h5ZUglD3CZJT4lBs=", "line 3: the hash is not bcrypt"},
		{"MD5", "ana@contoso.test:$apr1$abc$def", "line 1: the hash is not bcrypt"},
		{"plain text", "ana@contoso.test:hunter2", "line 1: the hash is not bcrypt"},
		{"no hash", "ana@contoso.test:", "line 1: the hash is not bcrypt"},
		{"the flawed variant", "ana@contoso.test:" + strings.Replace(good, "2y", "2x", 1), "line 1: the hash is not bcrypt"},
		{"a cut hash", "ana@contoso.test:" + good[:59], "line 1: the bcrypt hash is not 60 characters long"},
		{"a longer hash", "ana@contoso.test:" + good + "a", "line 1: the bcrypt hash is not 60 characters long"},
		{"a strange character", "ana@contoso.test:" + good[:59] + "!", "line 1: the bcrypt hash has a character"},
		{"a cost below the least", "ana@contoso.test:$2y$03" + good[6:], "line 1: the cost of the bcrypt hash is not legal"},
		{"a cost that is no number", "ana@contoso.test:$2y$xx" + good[6:], "line 1: the cost of the bcrypt hash is not legal"},
		{"a cost that takes minutes", "ana@contoso.test:$2y$25" + good[6:], "line 1: the cost of the bcrypt hash is 25, above 17"},
		{"a bare name without a domain", "ana:" + good, "line 1: a name without a domain"},
		{"no name", ":" + good, "line 1: a name without a domain"},
		{"a bad address", "a na@contoso.test:" + good, "line 1: the name is not an address"},
		{"the same account twice", "ana@contoso.test:" + good + "\nsip:ANA@contoso.test:" + good, "line 2: the same account as in line 1"},
		{"a very long line", strings.Repeat("a", 1<<17), "line 1: bufio.Scanner: token too long"},
		{"several problems", "a\nb", "line 1: no colon between name and hash\nline 2: no colon"},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := ParseHtpasswd(strings.NewReader(c.file))
			require.ErrorContains(t, err, c.want)
			for _, secret := range []string{"hunter2", "fEqN", "apr1", good[7:30], "na@contoso"} {
				require.NotContains(t, err.Error(), secret)
			}
		})
	}
}

func TestBareNamesInTheFileBelongToTheFirstDomain(t *testing.T) {
	p, err := ParseHtpasswd(strings.NewReader("ana:"+hashOf(t, "2y", "b", 4)), "contoso.test", "fabrikam.test")
	require.NoError(t, err)
	id, ok := p.Check("ana@contoso.test", "b")
	require.True(t, ok)
	require.Equal(t, "ana@contoso.test", id.Address)

	_, err = ParseHtpasswd(strings.NewReader(""), "contoso test")
	require.ErrorContains(t, err, `default domain "contoso test"`)
}

func TestOpenHtpasswd(t *testing.T) {
	path := filepath.Join(t.TempDir(), "users")
	_, err := OpenHtpasswd(path)
	require.ErrorIs(t, err, os.ErrNotExist)

	require.NoError(t, os.WriteFile(path, []byte("nonsense"), 0o600))
	_, err = OpenHtpasswd(path)
	require.ErrorContains(t, err, path+": line 1: no colon")

	require.NoError(t, os.WriteFile(path, []byte("ana:"+hashOf(t, "2y", "b", 4)), 0o600))
	p, err := OpenHtpasswd(path, "contoso.test")
	require.NoError(t, err)
	require.Equal(t, 1, p.Len())
}

func FuzzHtpasswd(f *testing.F) {
	good := "$2y$04$abcdefghijklmnopqrstuuJ1MOtCIZxVoPCf0yfzi3sJzRVHPkiiC"
	for _, seed := range []string{
		"", "#", "a:b", "ana:" + good, "sip:ana@contoso.test:" + good + "\r\nbo:" + good, "\ufeff\n::\n", "a@b:" + good[:30], "\x00:\xff",
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, file []byte) {
		p, err := ParseHtpasswd(bytes.NewReader(file), "contoso.test")
		if err != nil {
			require.Contains(t, err.Error(), "line ")
			return
		}
		for address, a := range p.accounts {
			again, err := parseAddress(address)
			require.NoError(t, err)
			require.Equal(t, address, again)
			require.LessOrEqual(t, a.cost, maxBcryptCost)
			require.NotNil(t, p.decoys[a.cost])
			require.Equal(t, address, p.Account(address))
		}
	})
}
