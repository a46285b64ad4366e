package proxytest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"ucwagate/cmd/ucwagate/internal/config"
)

// strict decodes JSON and refuses members that the target does not have.
func strict(t *testing.T, raw []byte, to any) {
	t.Helper()
	d := json.NewDecoder(bytes.NewReader(raw))
	d.DisallowUnknownFields()
	require.NoError(t, d.Decode(to), "%s", raw)
}

// typed decodes a typed_config of one type.
func typed(t *testing.T, raw json.RawMessage, kind string, to any) {
	t.Helper()
	var m map[string]json.RawMessage
	require.NoError(t, json.Unmarshal(raw, &m))
	require.JSONEq(t, `"type.googleapis.com/`+kind+`"`, string(m["@type"]))
	delete(m, "@type")
	rest, err := json.Marshal(m)
	require.NoError(t, err)
	strict(t, rest, to)
}

// The parts of Envoy's v3 schema that the shipped file uses, and no others. A
// json.RawMessage is looked at further where the test needs it.
type (
	envoyBootstrap struct {
		Admin     json.RawMessage `json:"admin"`
		Overload  json.RawMessage `json:"overload_manager"`
		Resources struct {
			Listeners []envoyListener `json:"listeners"`
			Clusters  []envoyCluster  `json:"clusters"`
		} `json:"static_resources"`
	}
	envoyExtension struct {
		Name   string          `json:"name"`
		Config json.RawMessage `json:"typed_config"`
	}
	envoyListener struct {
		Name    string           `json:"name"`
		Address json.RawMessage  `json:"address"`
		Buffer  int              `json:"per_connection_buffer_limit_bytes"`
		Filters []envoyExtension `json:"listener_filters"`
		Chains  []struct {
			Match struct {
				Names []string `json:"server_names"`
			} `json:"filter_chain_match"`
			Socket  envoyExtension   `json:"transport_socket"`
			Filters []envoyExtension `json:"filters"`
		} `json:"filter_chains"`
	}
	envoyHeader struct {
		Header struct{ Key, Value string } `json:"header"`
		Action string                      `json:"append_action"`
	}
	envoyManager struct {
		Prefix             string           `json:"stat_prefix"`
		Codec              string           `json:"codec_type"`
		RemoteAddress      bool             `json:"use_remote_address"`
		SkipAppend         bool             `json:"skip_xff_append"`
		TrustedHops        int              `json:"xff_num_trusted_hops"`
		Server             string           `json:"server_header_transformation"`
		StripPort          bool             `json:"strip_matching_host_port"`
		NormalizePath      bool             `json:"normalize_path"`
		MergeSlashes       bool             `json:"merge_slashes"`
		GenerateRequestID  bool             `json:"generate_request_id"`
		PreserveRequestID  bool             `json:"preserve_external_request_id"`
		RespondRequestID   bool             `json:"always_set_request_id_in_response"`
		HTTP1              json.RawMessage  `json:"http_protocol_options"`
		HTTP2              json.RawMessage  `json:"http2_protocol_options"`
		Common             json.RawMessage  `json:"common_http_protocol_options"`
		HeaderKilobytes    int              `json:"max_request_headers_kb"`
		HeadersTimeout     string           `json:"request_headers_timeout"`
		RequestTimeout     string           `json:"request_timeout"`
		StreamIdleTimeout  string           `json:"stream_idle_timeout"`
		LocalReply         json.RawMessage  `json:"local_reply_config"`
		AccessLog          json.RawMessage  `json:"access_log"`
		HTTPFilters        []envoyExtension `json:"http_filters"`
		RouteConfiguration envoyRoutes      `json:"route_config"`
	}
	envoyRoutes struct {
		Name   string        `json:"name"`
		Remove []string      `json:"request_headers_to_remove"`
		Add    []envoyHeader `json:"request_headers_to_add"`
		Hosts  []struct {
			Name    string       `json:"name"`
			Domains []string     `json:"domains"`
			TLS     string       `json:"require_tls"`
			Routes  []envoyRoute `json:"routes"`
		} `json:"virtual_hosts"`
	}
	envoyMatcher struct {
		Exact string `json:"exact"`
		Regex struct {
			Regex string `json:"regex"`
		} `json:"safe_regex"`
	}
	envoyRoute struct {
		Match struct {
			Prefix string `json:"prefix"`
			Regex  struct {
				Regex string `json:"regex"`
			} `json:"safe_regex"`
			Headers []struct {
				Name  string       `json:"name"`
				Match envoyMatcher `json:"string_match"`
			} `json:"headers"`
		} `json:"match"`
		Route *struct {
			Cluster     string          `json:"cluster"`
			Timeout     string          `json:"timeout"`
			IdleTimeout string          `json:"idle_timeout"`
			Hash        json.RawMessage `json:"hash_policy"`
			Retry       struct {
				On       string          `json:"retry_on"`
				Times    int             `json:"num_retries"`
				Attempts int             `json:"host_selection_retry_max_attempts"`
				Hosts    json.RawMessage `json:"retry_host_predicate"`
			} `json:"retry_policy"`
		} `json:"route"`
		Direct *struct {
			Status int `json:"status"`
		} `json:"direct_response"`
		Redirect *struct {
			HTTPS bool   `json:"https_redirect"`
			Code  string `json:"response_code"`
		} `json:"redirect"`
		PerFilter map[string]json.RawMessage `json:"typed_per_filter_config"`
	}
	envoyCluster struct {
		Name           string                     `json:"name"`
		Type           string                     `json:"type"`
		ConnectTimeout string                     `json:"connect_timeout"`
		Policy         string                     `json:"lb_policy"`
		Ring           json.RawMessage            `json:"ring_hash_lb_config"`
		Common         json.RawMessage            `json:"common_lb_config"`
		Breakers       json.RawMessage            `json:"circuit_breakers"`
		Options        map[string]json.RawMessage `json:"typed_extension_protocol_options"`
		Checks         []struct {
			Timeout           string `json:"timeout"`
			Interval          string `json:"interval"`
			UnhealthyInterval string `json:"unhealthy_interval"`
			Unhealthy         int    `json:"unhealthy_threshold"`
			Healthy           int    `json:"healthy_threshold"`
			HTTP              struct {
				Path string `json:"path"`
				Host string `json:"host"`
			} `json:"http_health_check"`
		} `json:"health_checks"`
		Assignment struct {
			Name      string `json:"cluster_name"`
			Endpoints []struct {
				Endpoints []json.RawMessage `json:"lb_endpoints"`
			} `json:"endpoints"`
		} `json:"load_assignment"`
	}
)

const (
	envoyExtensions = "envoy.extensions."
	managerType     = envoyExtensions + "filters.network.http_connection_manager.v3.HttpConnectionManager"
	bufferType      = envoyExtensions + "filters.http.buffer.v3.Buffer"
)

// envoyFile decodes the shipped file strictly and returns the connection
// managers by the name of their listener.
func envoyFile(t *testing.T) (b envoyBootstrap, managers map[string]envoyManager) {
	t.Helper()
	text := shipped(t, "envoy", "envoy.yaml")
	require.NotContains(t, text, "<<:", "Envoy knows anchors, not merge keys")
	var document any
	require.NoError(t, yaml.Unmarshal([]byte(text), &document)) // a key that stands twice is an error
	raw, err := json.Marshal(document)
	require.NoError(t, err)
	strict(t, raw, &b)
	managers = map[string]envoyManager{}
	for _, l := range b.Resources.Listeners {
		require.Len(t, l.Chains, 1)
		require.Len(t, l.Chains[0].Filters, 1)
		var m envoyManager
		typed(t, l.Chains[0].Filters[0].Config, managerType, &m)
		managers[l.Name] = m
	}
	require.Len(t, managers, 2)
	return b, managers
}

func TestEnvoyForwardsWhatItKnowsItself(t *testing.T) {
	_, managers := envoyFile(t)
	for name, m := range managers {
		require.True(t, m.RemoteAddress && m.SkipAppend && m.PreserveRequestID && m.GenerateRequestID && m.RespondRequestID, name)
		require.Zero(t, m.TrustedHops, name)
		require.False(t, m.MergeSlashes || m.NormalizePath, name)
		require.Contains(t, string(m.HTTP1), "preserve_case", name)
		require.Contains(t, string(m.Common), "DROP_HEADER", name)
		set := map[string]string{}
		for _, h := range m.RouteConfiguration.Add {
			require.Equal(t, "OVERWRITE_IF_EXISTS_OR_ADD", h.Action, name)
			set[h.Header.Key] = h.Header.Value
		}
		require.Equal(t, map[string]string{
			"X-Forwarded-For": "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%", "X-Forwarded-Host": "%REQ(:AUTHORITY)%", "X-Forwarded-Proto": "https",
		}, set, name)
		for i := 0; i < len(forged); i += 2 {
			if _, ok := set[forged[i]]; !ok && !strings.Contains(forged[i], "_") {
				require.Contains(t, m.RouteConfiguration.Remove, strings.ToLower(forged[i]), name)
			}
		}
		for _, want := range []string{`"default_value":502`, `"default_value":503`, `"default_value":504`, `"default_value":413`, `"status_code":503`, "ServiceUnavailable", "EntityTooLarge", "Retry-After"} {
			require.Contains(t, string(m.LocalReply), want, name)
		}
		var size struct {
			Max int64 `json:"max_request_bytes"`
		}
		typed(t, m.HTTPFilters[0].Config, bufferType, &size)
		require.EqualValues(t, config.Default().Server.MaxBody, size.Max)
		require.NotContains(t, string(m.AccessLog), "PATH", "no addresses of people in the log")
	}
}

// envoyRouteOf does what Envoy does: the first route that matches.
func envoyRouteOf(t *testing.T, m envoyManager, host, method, path string) (route envoyRoute, redirected bool) {
	t.Helper()
	for _, h := range m.RouteConfiguration.Hosts {
		if !strings.Contains(" "+strings.Join(h.Domains, " ")+" ", " "+host+" ") {
			continue
		}
		if h.TLS == "ALL" {
			return envoyRoute{}, true
		}
		for _, r := range h.Routes {
			fits := strings.HasPrefix(path, r.Match.Prefix)
			if r.Match.Regex.Regex != "" {
				fits = fits && regexp.MustCompile("^(?:"+r.Match.Regex.Regex+")$").MatchString(path)
			}
			for _, header := range r.Match.Headers {
				require.Equal(t, ":method", header.Name)
				fits = fits && (header.Match.Exact == method || header.Match.Regex.Regex != "" && regexp.MustCompile("^(?:"+header.Match.Regex.Regex+")$").MatchString(method))
			}
			if fits {
				return r, r.Redirect != nil
			}
		}
	}
	require.FailNow(t, "no route", "%s %s %s", method, host, path)
	return envoyRoute{}, false
}

func TestEnvoyRoutesAsTheOthers(t *testing.T) {
	b, managers := envoyFile(t)
	require.ElementsMatch(t, []string{publicName, discover, discoverHere}, b.Resources.Listeners[0].Chains[0].Match.Names)
	https, plain := managers["https"], managers["http"]
	for _, path := range []string{"/ucwa/oauth/v1/applications/77/events", "//ucwa/oauth/v1/applications/77/events", "/UCWA/v1/Applications/77/Events"} {
		r, _ := envoyRouteOf(t, https, publicName, http.MethodGet, path)
		require.Equal(t, holding, duration(t, r.Route.Timeout), path)
		require.Equal(t, holding, duration(t, r.Route.IdleTimeout), path)
	}
	for _, path := range []string{"/", "/ucwa/oauth/v1/applications", "/ucwa/oauth/v1/applications/77/people/events@example.com/presence", "/WebTicket/oauthtoken"} {
		r, _ := envoyRouteOf(t, https, publicName, http.MethodPost, path)
		require.Equal(t, ordinary, duration(t, r.Route.Timeout), path)
		require.Empty(t, r.PerFilter)
		require.Equal(t, "connect-failure,refused-stream,reset-before-request", r.Route.Retry.On, "nothing is sent twice")
	}
	r, _ := envoyRouteOf(t, https, publicName, http.MethodPost, "/graph/notifications/contoso")
	var per struct {
		Buffer struct {
			Max int64 `json:"max_request_bytes"`
		} `json:"buffer"`
	}
	typed(t, r.PerFilter["envoy.filters.http.buffer"], bufferType+"PerRoute", &per)
	require.EqualValues(t, notificationBody, per.Buffer.Max)
	r, _ = envoyRouteOf(t, https, publicName, http.MethodGet, "/graph/notifications/contoso")
	require.Equal(t, http.StatusMethodNotAllowed, r.Direct.Status)

	for _, path := range []string{"/", "/Autodiscover/AutodiscoverService.svc/root", "/autodiscover/autodiscoverservice.svc/root"} {
		r, redirected := envoyRouteOf(t, plain, discoverHere, http.MethodGet, path)
		require.False(t, redirected)
		require.Equal(t, ordinary, duration(t, r.Route.Timeout), path)
		r, _ = envoyRouteOf(t, plain, discover, http.MethodPost, path)
		require.Equal(t, http.StatusMethodNotAllowed, r.Direct.Status)
	}
	for host, path := range map[string]string{discover: "/WebTicket/oauthtoken", discoverHere: "/xframe", publicName: "/"} {
		_, redirected := envoyRouteOf(t, plain, host, http.MethodGet, path)
		require.True(t, redirected, "%s %s", host, path)
	}
}

func TestEnvoyReachesTheGateways(t *testing.T) {
	b, _ := envoyFile(t)
	require.Len(t, b.Resources.Clusters, 1)
	c := b.Resources.Clusters[0]
	require.Equal(t, "RING_HASH", c.Policy, "an application lives in one replica")
	require.Len(t, c.Assignment.Endpoints[0].Endpoints, 2)
	require.Equal(t, "/", c.Checks[0].HTTP.Path)
	require.Contains(t, string(c.Options["envoy.extensions.upstreams.http.v3.HttpProtocolOptions"]), "preserve_case", "the gateway's spelling is kept on the way in")
	for _, path := range []string{"fullchain.pem", "privkey.pem", "h2", "TLSv1_2"} {
		require.Contains(t, string(b.Resources.Listeners[0].Chains[0].Socket.Config), path)
	}
}
