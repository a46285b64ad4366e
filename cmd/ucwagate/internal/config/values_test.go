package config

import (
	"log/slog"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestSizesAreReadWithTheirUnits(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Size{
		"0": 0, "17": 17, "17B": 17, "1KiB": 1 << 10, "1 MiB": 1 << 20, "2gib": 2 << 30, "1KB": 1000, "3MB": 3_000_000, "1GB": 1_000_000_000,
	} {
		var s Size
		require.NoError(t, s.UnmarshalText([]byte(text)), text)
		require.Equal(t, want, s, text)
	}
	for _, text := range []string{"", "B", "MiB", "-1", "1.5MiB", "1TiB", "9223372036854775807KiB", "99999999999999999999", "1e3"} {
		var s Size
		require.Error(t, s.UnmarshalText([]byte(text)), text)
	}
}

func TestSizesAndDurationsAreWrittenSoThatTheyReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		size := Size(rapid.Int64Min(0).Draw(t, "size"))
		var back Size
		require.NoError(t, back.UnmarshalText([]byte(size.String())))
		require.Equal(t, size, back)

		d := time.Duration(rapid.Int64().Draw(t, "duration"))
		if rapid.Bool().Draw(t, "whole") {
			d = d.Truncate(time.Minute)
		}
		read, err := time.ParseDuration(formatDuration(d))
		require.NoError(t, err)
		require.Equal(t, d, read)
	})
}

func TestDurationsAreWrittenShort(t *testing.T) {
	t.Parallel()
	for want, d := range map[string]time.Duration{
		"0s": 0, "5ms": 5 * time.Millisecond, "20s": 20 * time.Second, "10m": 10 * time.Minute, "8h": 8 * time.Hour,
		"1h30m": 90 * time.Minute, "1h0m5s": time.Hour + 5*time.Second,
	} {
		require.Equal(t, want, formatDuration(d))
	}
}

func TestTextsOfEachFormAreToldApart(t *testing.T) {
	t.Parallel()
	for format, texts := range map[string]struct{ good, bad []string }{
		"listen": {
			good: []string{"127.0.0.1:8080", ":8080", "[::1]:0", "localhost:65535"},
			bad:  []string{"8080", "host", "::1:80", "h:65536", "h:http", "h:-1", "h:080", "a b:80", "h:"},
		},
		"origin": {
			good: []string{"https://ucwa.example.com", "http://10.0.0.1:8080", "https://[::1]:8443"},
			bad:  []string{"ucwa.example.com", "//a", "https://", "https://a/", "https://a/b", "ftp://a", "https://u@a", "https://a?", "https://a?b", "https://a#", "https:a", "https://a:0", "https://a:99999", "https://a b", "https://a%41"},
		},
		"graph": {
			good: []string{"https://graph.example", "https://graph.example/root", "http://localhost:1", "http://127.0.0.2:1", "http://[::1]:1"},
			bad:  []string{"http://graph.example", "https://graph.example/v1.0", "https://graph.example/beta/", "https://u:p@graph.example", "http://127.0.0.1.example"},
		},
		"authority": {
			good: []string{"https://login.example", "https://login.example/", "https://127.0.0.1:8443"},
			bad:  []string{"http://127.0.0.1", "https://login.example/tenant", "login.example"},
		},
		"host":   {good: []string{"a", "a.b-c.d", "A_1.example", "10.0.0.1"}, bad: []string{"a.", ".a", "a..b", "-a", "a-", "a b", "a/b"}},
		"domain": {good: []string{"contoso.com", "CONTOSO.com", "a", "xn--mnchen-3ya.example"}, bad: []string{"10.0.0.1", "a@b", "*.contoso.com", "contoso.com.", "münchen.example"}},
		"guid":   {good: []string{"11111111-1111-1111-1111-11111111111A"}, bad: []string{"common", "{11111111-1111-1111-1111-111111111111}", "11111111111111111111111111111111"}},
		"label":  {good: []string{"contoso", "Contoso-1.x_y"}, bad: []string{"-a", "a b", "ü", "a/b"}},
		"word":   {good: []string{"api://x"}, bad: []string{"", "a b", "a\u00a0b"}},
	} {
		for _, text := range texts.good {
			canonical, err := formats[format](text)
			require.NoError(t, err, "%s %q", format, text)
			again, err := formats[format](canonical)
			require.NoError(t, err, "%s %q", format, canonical)
			require.Equal(t, canonical, again, "the canonical form is its own")
		}
		for _, text := range texts.bad {
			_, err := formats[format](text)
			require.Error(t, err, "%s %q", format, text)
		}
	}
}

func TestNetworksWithoutDoubt(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "10.0.0.1/8", "10.0.0.0/33", "::ffff:10.0.0.0/104", "fe80::1%eth0", "fe80::%eth0/64", "10.0.0", "example.com", "0x0a000001", "010.0.0.1"} {
		_, err := readPrefix(text)
		require.Error(t, err, text)
	}
	for text, want := range map[string]string{"10.0.0.0/8": "10.0.0.0/8", "10.0.0.1": "10.0.0.1/32", "::ffff:10.0.0.1": "10.0.0.1/32", "::1": "::1/128"} {
		got, err := readPrefix(text)
		require.NoError(t, err, text)
		require.Equal(t, want, got)
	}
}

func TestTheNearestNameForgivesSlipsOfTheFingers(t *testing.T) {
	t.Parallel()
	names := []string{"listen", "public_url", "trusted_proxies", "server_name", "max_body"}
	for name, want := range map[string]string{
		"lisetn": "listen", "Public-URL": "public_url", "publicUrl": "public_url", "trusted_proxy": "trusted_proxies", "maxbody": "max_body", "": "listen",
	} {
		got, _ := nearest(name, names)
		require.Equal(t, want, got, name)
	}
	require.Equal(t, 1, editDistance([]rune("ab"), []rune("ba")))
	require.Equal(t, 3, editDistance([]rune(""), []rune("abc")))
	require.Equal(t, 3, editDistance([]rune("kitten"), []rune("sitting")))
}

func TestLogLevels(t *testing.T) {
	t.Parallel()
	for level, want := range map[LogLevel]slog.Level{
		LogDebug: slog.LevelDebug, LogInfo: slog.LevelInfo, LogWarn: slog.LevelWarn, LogError: slog.LevelError, "": slog.LevelInfo,
	} {
		require.Equal(t, want, level.Slog())
	}
}
