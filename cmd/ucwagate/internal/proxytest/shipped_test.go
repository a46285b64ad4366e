package proxytest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// shippedDir is where the configurations are.
const shippedDir = "../../../../configs/proxy"

func shipped(t testing.TB, elem ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{shippedDir}, elem...)...))
	require.NoError(t, err)
	return string(text)
}

// place is where a proxy runs and what it leads to.
type place struct {
	dir      string // of everything it writes, and of its certificate
	address  string // of the loopback network, its own
	http     string // ports
	http6    string // stands for the one of IPv6
	https    string
	https6   string
	peers    string
	replicas [2]string // host:port of the gateways
}

// change is one text to replace.
type change struct{ from, to string }

// replace puts every change into a text. A change that has nothing to replace
// is a mistake: the shipped file is then no longer what the test means.
func replace(t testing.TB, text string, changes []change) string {
	t.Helper()
	pairs := make([]string, 0, 2*len(changes))
	for _, c := range changes {
		require.Contains(t, text, c.from, "what the test replaces is not in the shipped file")
		pairs = append(pairs, c.from, c.to)
	}
	return strings.NewReplacer(pairs...).Replace(text)
}

// kind is a proxy program and how its shipped file becomes one that can run
// here: the same text at other addresses, ports and paths.
type kind struct {
	name    string
	program string
	file    string
	changes func(p place) []change
	check   func(file string, p place) []string // arguments that make it check a file
	run     func(file string, p place) []string
	// shared are what the file says to change for replicas that share their state.
	shared []change
	// short are the lengths of time that shortTimes replaces.
	short []change
}

var nginx = kind{
	name: "nginx", program: "/usr/sbin/nginx", file: "nginx.conf",
	changes: func(p place) []change {
		return []change{
			{"/run/nginx.pid", p.dir + "/nginx.pid"},
			{"/var/log/nginx/", p.dir + "/"},
			{"/etc/ssl/ucwagate/", p.dir + "/"},
			{"listen 80", "listen " + p.address + ":" + p.http},
			{"listen [::]:80", "listen " + p.address + ":" + p.http6},
			{"listen 443", "listen " + p.address + ":" + p.https},
			{"listen [::]:443", "listen " + p.address + ":" + p.https6},
			{"10.0.0.11:8080", p.replicas[0]},
			{"10.0.0.12:8080", p.replicas[1]},
			// The paths for temporary files are compiled into Debian's program.
			{
				"default_type application/octet-stream;",
				"default_type application/octet-stream; client_body_temp_path " + p.dir + "/body; proxy_temp_path " + p.dir + "/proxy;" +
					" fastcgi_temp_path " + p.dir + "/fastcgi; uwsgi_temp_path " + p.dir + "/uwsgi; scgi_temp_path " + p.dir + "/scgi;",
			},
		}
	},
	check: func(file string, p place) []string {
		return []string{"-T", "-p", p.dir, "-e", p.dir + "/error.log", "-c", file}
	},
	run: func(file string, p place) []string {
		return []string{"-p", p.dir, "-e", p.dir + "/error.log", "-c", file, "-g", "daemon off;"}
	},
	shared: []change{{"hash $remote_addr consistent;", "least_conn;"}},
	short: []change{
		{"send_timeout          30s", "send_timeout 1s"},
		{"keepalive_timeout     75s", "keepalive_timeout 1s"},
		{"client_body_timeout   15s", "client_body_timeout 1s"},
		{"proxy_send_timeout    30s", "proxy_send_timeout 1s"},
		{"proxy_read_timeout    30s", "proxy_read_timeout 1s"},
		// Shorter than the time-out in proportion.
		{"proxy_next_upstream_timeout 5s", "proxy_next_upstream_timeout 200ms"},
	},
}

var haproxy = kind{
	name: "haproxy", program: "/usr/sbin/haproxy", file: "haproxy.cfg",
	changes: func(p place) []change {
		changes := []change{
			{"/run/haproxy/admin.sock", p.dir + "/admin.sock"},
			{"/etc/ssl/ucwagate/", p.dir + "/"},
			{"/etc/haproxy/ucwa-503.http", p.dir + "/503.http"},
			{"bind :80\n", "bind " + p.address + ":" + p.http + "\n"},
			{"bind :::80 v6only", "bind " + p.address + ":" + p.http6},
			{"bind :443", "bind " + p.address + ":" + p.https},
			{"bind :::443 v6only", "bind " + p.address + ":" + p.https6},
			{"127.0.0.1:10000", p.address + ":" + p.peers},
			{"10.0.0.11:8080", p.replicas[0]},
			{"10.0.0.12:8080", p.replicas[1]},
			// Who runs the test may not be allowed that many open files.
			{"maxconn 20000", "maxconn 1000"},
		}
		if os.Geteuid() != 0 {
			// Only root may become somebody else and change the root folder.
			return append(changes, change{"user haproxy", ""}, change{"group haproxy", ""}, change{"chroot /var/lib/haproxy", ""})
		}
		return append(changes, change{"/var/lib/haproxy", p.dir})
	},
	check: func(file string, _ place) []string { return []string{"-c", "-f", file} },
	run:   func(file string, _ place) []string { return []string{"-db", "-f", file} },
	shared: []change{
		{"    stick-table type string len 40 size 200k expire 2h peers ucwa\n", ""},
		{"    http-request set-var(txn.app) ", "    #"},
		{"    stick match ", "    #"},
		{"    stick store-response ", "    #"},
		{"peers ucwa\n    bind 127.0.0.1:10000\n    server lb1\n", ""},
	},
	short: []change{
		{"timeout http-keep-alive 75s", "timeout http-keep-alive 1s"},
		{"timeout client          30s", "timeout client 1s"},
		{"timeout server          30s", "timeout server 1s"},
	},
}
