package proxytest

import (
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/config"
	"ucwagate/gateway/session"
)

// What every configuration must say.
const (
	holding  = session.MaxTimer + 30*time.Second // the longest P-GET, and a way back
	ordinary = 30 * time.Second
	// notificationBody is the largest notification that Microsoft Graph sends.
	notificationBody = 4 << 20
)

// directive is a line of an nginx configuration, with its block if it has one.
type directive struct {
	words []string
	block []directive
}

// nginxTokens takes a configuration apart, comments left out.
func nginxTokens(text string) (tokens []string) {
	for i := 0; i < len(text); i++ {
		switch c := text[i]; {
		case c == '#':
			for i < len(text) && text[i] != '\n' {
				i++
			}
		case strings.IndexByte(" \t\r\n", c) >= 0:
		case strings.IndexByte(";{}", c) >= 0:
			tokens = append(tokens, string(c))
		case c == '"' || c == '\'':
			end := i + 1 + strings.IndexByte(text[i+1:], c)
			tokens = append(tokens, text[i:end+1])
			i = end
		default:
			end := i
			for end < len(text) && strings.IndexByte(" \t\r\n;", text[end]) < 0 && !(text[end] == '{' && text[end-1] == ' ') {
				end++
			}
			tokens = append(tokens, text[i:end])
			i = end - 1
		}
	}
	return tokens
}

func nginxBlock(tokens *[]string) (list []directive) {
	var d directive
	for len(*tokens) > 0 {
		token := (*tokens)[0]
		*tokens = (*tokens)[1:]
		switch token {
		case ";":
			list, d = append(list, d), directive{}
		case "{":
			d.block = nginxBlock(tokens)
			list, d = append(list, d), directive{}
		case "}":
			return list
		default:
			d.words = append(d.words, token)
		}
	}
	return list
}

// all returns the directives of a name in a block.
func all(block []directive, name string) (list []directive) {
	for _, d := range block {
		if d.words[0] == name {
			list = append(list, d)
		}
	}
	return list
}

// value returns the argument of a directive that stands there once.
func value(t *testing.T, block []directive, name string) string {
	t.Helper()
	list := all(block, name)
	require.Len(t, list, 1, name)
	return strings.Join(list[0].words[1:], " ")
}

func TestNginxSaysWhatIsDocumented(t *testing.T) {
	p, _ := settle(t, "127.0.0.1:8080", "127.0.0.2:8080")
	// What nginx itself has read.
	out, err := exec.CommandContext(t.Context(), nginx.program, nginx.check(nginx.write(t, p, nil), p)...).Output()
	require.NoError(t, err)
	tokens := nginxTokens(string(out))
	http := all(nginxBlock(&tokens), "http")[0].block
	require.Equal(t, ordinary, duration(t, value(t, http, "proxy_read_timeout")))
	for name, most := range map[string]time.Duration{"client_header_timeout": 10 * time.Second, "client_body_timeout": ordinary, "send_timeout": ordinary, "proxy_connect_timeout": 5 * time.Second} {
		require.LessOrEqual(t, duration(t, value(t, http, name)), most, name)
	}
	require.Equal(t, "off", value(t, http, "gzip"))
	require.Equal(t, "off", value(t, http, "server_tokens"))
	require.Equal(t, "1.1", value(t, http, "proxy_http_version"))
	require.Equal(t, "1m", value(t, http, "client_max_body_size"))
	require.EqualValues(t, 1<<20, config.Default().Server.MaxBody)
	require.Less(t, duration(t, value(t, http, "proxy_next_upstream_timeout")), ordinary, "what ran into the time-out is not repeated")
	require.NotEmpty(t, value(t, all(http, "upstream")[0].block, "keepalive"))
	held, notified := 0, 0
	for _, s := range all(http, "server") {
		require.Empty(t, all(s.block, "proxy_set_header"), "it would undo those of the http block")
		for _, l := range all(s.block, "location") {
			require.Empty(t, all(l.block, "proxy_set_header"), "it would undo those of the http block")
			name := strings.Join(l.words[1:], " ")
			switch {
			case strings.HasSuffix(name, "/events$"):
				held++
				require.Equal(t, holding, duration(t, value(t, l.block, "proxy_read_timeout")))
				require.Equal(t, "off", value(t, l.block, "proxy_buffering"))
			case strings.HasSuffix(name, "/graph/notifications/"):
				notified++
				require.Equal(t, "4m", value(t, l.block, "client_max_body_size"))
			default:
				require.Empty(t, all(l.block, "proxy_read_timeout"), name)
			}
		}
	}
	require.Equal(t, []int{1, 1}, []int{held, notified})
}

func TestHAProxySaysWhatIsDocumented(t *testing.T) {
	sections := map[string][]string{}
	section := ""
	for line := range strings.Lines(shipped(t, "haproxy", "haproxy.cfg")) {
		line = strings.TrimRight(line, "\n")
		switch text := strings.Join(strings.Fields(line), " "); {
		case text == "" || text[0] == '#':
		case line[0] != ' ':
			section = text
		default:
			sections[section] = append(sections[section], text)
		}
	}
	defaults, backend := sections["defaults"], sections["backend ucwagate"]
	timeout := func(name string) time.Duration {
		for _, line := range defaults {
			if v, ok := strings.CutPrefix(line, "timeout "+name+" "); ok {
				return duration(t, v)
			}
		}
		require.FailNow(t, "no timeout "+name)
		return 0
	}
	require.Equal(t, ordinary, timeout("server"))
	require.LessOrEqual(t, timeout("client"), ordinary)
	require.LessOrEqual(t, timeout("http-request"), 10*time.Second)
	require.LessOrEqual(t, timeout("connect"), 5*time.Second)
	require.Contains(t, backend, "http-request set-timeout server "+strconv.Itoa(int(holding.Seconds()))+"s if events")
	require.Contains(t, backend, "acl too_large req.hdr_val(content-length) gt "+strconv.Itoa(int(config.Default().Server.MaxBody)))
	require.Contains(t, backend, "acl far_too_large req.hdr_val(content-length) gt "+strconv.Itoa(notificationBody))
	require.Contains(t, backend, "http-request disable-l7-retry unless METH_GET")
	for _, line := range backend {
		require.NotContains(t, line, "add-header", "what a client sends is replaced")
		require.NotContains(t, line, "compression", "the gateway compresses")
	}
}

func TestTheGatewaysShareBelongsToTheProxy(t *testing.T) {
	for _, name := range []string{"nginx", "haproxy", "envoy"} {
		s := fragment(t, name)
		require.Equal(t, "https://"+publicName, s.PublicURL)
		require.Len(t, s.TrustedProxies, 1, "one address, not everybody's")
		require.Equal(t, 32, s.TrustedProxies[0].Bits())
		require.Equal(t, config.Default().Server.MaxBody, s.MaxBody)
		require.True(t, strings.HasSuffix(s.Listen, ":8080"), "where the proxies look for it")
	}
}

// duration reads a length of time as these programs write it: in seconds where
// no unit is named.
func duration(t *testing.T, text string) time.Duration {
	t.Helper()
	if n, err := strconv.Atoi(text); err == nil {
		return time.Duration(n) * time.Second
	}
	d, err := time.ParseDuration(text)
	require.NoError(t, err)
	return d
}
