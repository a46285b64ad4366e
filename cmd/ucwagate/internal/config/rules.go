package config

import (
	"fmt"
	"math"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

const (
	// graphLimit and graphWindow are Graph's documented limit for presence:
	// 1,500 requests in any 30 s, per application and tenant.
	graphLimit  = 1500
	graphWindow = 30 * time.Second
	// eagerRefresh is the shortest refresh that is fair to Graph's terms.
	eagerRefresh = 5 * time.Second
)

// rules are what no single value can break: what must be there, what must not
// stand together, and which files must be readable.
type rules struct {
	*loader
	config   Config
	warnings Problems
}

func (r *rules) check() {
	r.checkServer()
	r.checkSignIn()
	r.checkTransports()
	r.checkTenants()
	r.checkPresence()
	r.readable("contacts.pinned_file", r.config.Contacts.PinnedFile)
	r.checkListFile()
	r.checkRedis()
	r.checkObservation()
	if a := r.config.Applications; r.ok("applications.max", "applications.per_user") && a.Max < a.PerUser {
		r.wrong("applications.max", "must not be below applications.per_user (%d)", a.PerUser)
	}
}

// checkListFile wants the file of contact lists to be readable, or, where users
// may change it, a folder in which it can be made.
func (r *rules) checkListFile() {
	const file, writable = "contacts.list_file", "contacts.list_writable"
	c := r.config.Contacts
	if !r.ok(file, writable) {
		return
	}
	if c.ListFile == "" {
		if c.ListWritable {
			r.wrong(writable, "has no effect without list_file")
		}
		return
	}
	if _, err := os.Stat(c.ListFile); err == nil || !c.ListWritable {
		r.readable(file, c.ListFile)
		return
	}
	if folder, err := os.Stat(filepath.Dir(c.ListFile)); err != nil || !folder.IsDir() {
		r.wrong(file, "%s cannot be made: its folder is not there", quote(c.ListFile))
	}
}

// wrong records a broken rule where the path's value, or its section, stands.
func (r *rules) wrong(path, format string, args ...any) {
	r.problem(path, r.at(path), fmt.Sprintf(format, args...))
}

func (r *rules) warn(path, format string, args ...any) {
	r.warnings = append(r.warnings, Problem{Origin: r.at(path), Key: showKey(path), Message: fmt.Sprintf(format, args...)})
}

func (r *rules) checkSignIn() {
	s := r.config.SignIn
	none := s.Htpasswd == "" && len(s.Entra.Audiences) == 0 && len(s.Command.Argv) == 0 && s.Callback.URL == "" &&
		len(s.Proxy.Headers) == 0 && s.Certificates.CAFile == "" && s.Fixed.Address == ""
	if none && r.ok("signin.htpasswd", "signin.entra.audiences", "signin.command.argv", "signin.callback.url",
		"signin.proxy.headers", "signin.certificates.ca_file", "signin.fixed.address") {
		r.wrong("signin", "nobody could sign in; set htpasswd, command, callback, entra.audiences, proxy, certificates or fixed (%s, for one)",
			envName("signin.htpasswd"))
	}
	r.readable("signin.callback.authorization_file", s.Callback.AuthorizationFile)
	r.readable("signin.certificates.ca_file", s.Certificates.CAFile)
	if argv := s.Command.Argv; len(argv) > 0 && r.ok("signin.command.argv") && !filepath.IsAbs(argv[0]) {
		r.wrong("signin.command.argv", "must begin with the absolute path of a program, not %s", quote(argv[0]))
	}
	r.readable("signin.htpasswd", s.Htpasswd)
	r.unique("signin.entra.audiences", s.Entra.Audiences)
	r.served("signin.fixed.address", s.Fixed.Address)
	r.served("signin.default_domain", s.DefaultDomain)
	r.checkTicketKeys(s)
}

func (r *rules) checkTicketKeys(s SignIn) {
	const inline, file = "signin.ticket_keys", "signin.ticket_keys_file"
	if !r.ok(inline, file) {
		return
	}
	if len(s.TicketKeys) > 0 && s.TicketKeysFile != "" {
		r.bothSet(inline, file)
		return
	}
	if !r.readable(file, s.TicketKeysFile) {
		return
	}
	if _, err := s.Keys(); err != nil {
		path := inline
		if s.TicketKeysFile != "" {
			path = file
		}
		r.wrong(path, "%s", strings.TrimPrefix(err.Error(), "reading ticket_keys_file: "))
	}
}

func (r *rules) checkPresence() {
	p := r.config.Presence
	if r.ok("presence.staleness", "presence.refresh") && p.Staleness < p.Refresh {
		r.wrong("presence.staleness", "must not be below presence.refresh (%s)", formatDuration(p.Refresh))
	}
	if r.ok("presence.refresh_ceiling", "presence.refresh") && p.RefreshCeiling < p.Refresh {
		r.wrong("presence.refresh_ceiling", "must not be below presence.refresh (%s)", formatDuration(p.Refresh))
	}
	// One subscription's first events must fit, or its client would be told to
	// resynchronize again and again.
	if u := r.config.Subscriptions; r.ok("subscriptions.queued_events", "subscriptions.members") && u.QueuedEvents < 2*u.Members+1 {
		r.wrong("subscriptions.queued_events", "must be at least twice subscriptions.members and one (%d)", 2*u.Members+1)
	}
	if u := r.config.Subscriptions; r.ok("subscriptions.expiry", "subscriptions.soft_reset") && u.Expiry < u.SoftReset {
		r.wrong("subscriptions.expiry", "must not be below subscriptions.soft_reset (%s)", formatDuration(u.SoftReset))
	}
	if r.ok("presence.refresh") && p.Refresh < eagerRefresh {
		r.warn("presence.refresh", "is below %s; Graph's terms frown on eager polling", formatDuration(eagerRefresh))
	}
}

func (r *rules) checkTenants() {
	if r.ok("tenants") && len(r.config.Tenants) == 0 {
		r.wrong("tenants", "is required: at least one tenant, in the file or by %s and the like", envName("tenants.0.name"))
	}
	owners := map[string]map[string]string{"name": {}, "tenant_id": {}, "domains": {}}
	helpers, hooks := map[string]string{}, map[string]string{}
	for i, t := range r.config.Tenants {
		path := "tenants." + strconv.Itoa(i)
		if !r.ok(path) {
			continue
		}
		r.required(path+".name", t.Name == "")
		r.required(path+".tenant_id", t.TenantID == "")
		r.required(path+".domains", len(t.Domains) == 0)
		r.owned(owners["name"], path+".name", strings.ToLower(t.Name), t.Name)
		r.owned(owners["tenant_id"], path+".tenant_id", t.TenantID, t.TenantID)
		r.unique(path+".domains", t.Domains)
		for _, domain := range t.Domains {
			r.owned(owners["domains"], path+".domains", domain, domain)
		}
		r.checkCloud(path, t)
		r.checkCredential(path+".credential", t.Credential)
		r.checkBudget(path+".budget", t.Budget)
		r.checkFallback(path+".budget", t.Budget)
		r.checkNotifications(path+".notifications", t, helpers, hooks)
	}
}

// checkNotifications asks for what subscribing needs. The helpers' files need not
// be there: signing in makes them.
func (r *rules) checkNotifications(path string, t Tenant, owners, hooks map[string]string) {
	n := t.Notifications
	if !r.ok(path) || len(n.Helpers) == 0 {
		return
	}
	var files []string
	for _, file := range n.Helpers {
		files = append(files, filepath.Clean(file))
		r.owned(owners, path+".helpers", filepath.Clean(file), file)
	}
	r.unique(path+".helpers", files)
	if n.URL != "" {
		r.owned(hooks, path+".url", n.URL, n.URL)
		if u, err := url.Parse(n.URL); err == nil && r.ok(path+".url") && u.Path != HookPath(t.Name) {
			r.warn(path+".url", "has another path than %s, where the gateway expects notifications: a proxy must rewrite it", HookPath(t.Name))
		}
	}
	if at := path + ".url"; r.ok(at, "server.public_url") && r.config.HookURL(t) == "" {
		r.wrong(at, "is required where server.public_url is not https: Graph delivers by https alone (%s)", envName(at))
	}
	if at := path + ".client_id"; r.ok(at, path+".credential") && t.HelperClientID() == "" {
		r.wrong(at, "is required where the credential has no client_id that users can sign in to (%s)", envName(at))
	}
	if at := path + ".safety_net"; r.ok(at, "presence.refresh") && n.SafetyNet < r.config.Presence.Refresh {
		r.wrong(at, "must not be below presence.refresh (%s)", formatDuration(r.config.Presence.Refresh))
	}
}

func (r *rules) required(path string, missing bool) {
	if missing && r.ok(path) {
		r.wrong(path, "is required (%s)", envName(path))
	}
}

// owned records that a value belongs to a path, and complains if it belongs to
// the same setting of another tenant already.
func (r *rules) owned(owners map[string]string, path, value, shown string) {
	if value == "" || !r.ok(path) {
		return
	}
	switch owner, taken := owners[value]; {
	case !taken:
		owners[value] = path
	case owner != path:
		r.wrong(path, "%s is also that of %s (%s)", quote(shown), showKey(owner), r.at(owner))
	}
}

// unique complains about an entry that stands twice in one list.
func (r *rules) unique(path string, list []string) {
	seen := map[string]bool{}
	for i, entry := range list {
		if seen[entry] && r.ok(path) {
			r.wrong(path, "entry %d: %s stands in the list twice", i+1, quote(entry))
		}
		seen[entry] = true
	}
}

func (r *rules) checkCloud(path string, t Tenant) {
	r.checkRoots(path+".ca_file", t)
	if !r.ok(path + ".cloud") {
		return
	}
	if t.Cloud == CloudChina {
		r.wrong(path+".cloud", "china has no presence in Microsoft Graph")
	}
	for _, setting := range []struct{ key, value string }{{"graph_url", t.GraphURL}, {"authority", t.Authority}} {
		at := path + "." + setting.key
		switch {
		case !r.ok(at):
		case t.Cloud == CloudCustom && setting.value == "":
			r.wrong(at, "is required with cloud custom (%s)", envName(at))
		case t.Cloud != CloudCustom && setting.value != "":
			r.wrong(at, "is for cloud custom alone, and the cloud is %s", t.Cloud)
		}
	}
}

func (r *rules) checkRoots(path string, t Tenant) {
	if !r.readable(path, t.CAFile) || t.CAFile == "" {
		return
	}
	if _, err := t.RootCAs(); err != nil {
		r.wrong(path, "%s", strings.TrimPrefix(err.Error(), "reading ca_file: "))
	}
}

// checkCredential asks for what the kind needs, and complains about what only
// another kind would use: it would be left unused without a word.
func (r *rules) checkCredential(path string, c Credential) {
	if !r.ok(path + ".kind") {
		return
	}
	set := []struct {
		key  string
		kind CredentialKind
		set  bool
	}{
		{"secret", CredentialSecret, c.Secret != ""},
		{"secret_file", CredentialSecret, c.SecretFile != ""},
		{"certificate_file", CredentialCertificate, c.CertificateFile != ""},
		{"certificate_password_file", CredentialCertificate, c.CertificatePasswordFile != ""},
		{"send_chain", CredentialCertificate, c.SendChain},
		{"token_file", CredentialWorkload, c.TokenFile != ""},
	}
	for _, s := range set {
		if at := join(path, s.key); s.set && s.kind != c.Kind && r.ok(at) {
			r.wrong(at, "is for kind %s alone, and the kind is %s", s.kind, c.Kind)
		}
	}
	switch c.Kind {
	case CredentialSecret:
		r.required(path+".client_id", c.ClientID == "")
		r.checkSecret(path, c)
	case CredentialCertificate:
		r.required(path+".client_id", c.ClientID == "")
		r.required(path+".certificate_file", c.CertificateFile == "")
		r.notEmpty(path+".certificate_file", c.CertificateFile)
		r.readable(path+".certificate_password_file", c.CertificatePasswordFile)
	case CredentialWorkload:
		r.fromAzure(path+".client_id", c.ClientID, "AZURE_CLIENT_ID")
		r.fromAzure(path+".token_file", c.TokenFile, "AZURE_FEDERATED_TOKEN_FILE")
		r.readable(path+".token_file", c.TokenFile)
	}
}

func (r *rules) checkSecret(path string, c Credential) {
	inline, file := path+".secret", path+".secret_file"
	switch {
	case !r.ok(inline, file):
	case c.Secret != "" && c.SecretFile != "":
		r.bothSet(inline, file)
	case c.Secret == "" && c.SecretFile == "":
		r.wrong(inline, "is required with kind secret: secret or secret_file (%s)", envName(inline))
	default:
		r.notEmpty(file, c.SecretFile)
	}
}

// bothSet complains about two ways to say the same thing, where the one that
// is not a file stands.
func (r *rules) bothSet(path, other string) {
	r.wrong(path, "must not be set together with %s (%s); keep one of them", showKey(other), r.at(other))
}

// fromAzure asks for a setting that the Azure SDK else takes from a variable.
func (r *rules) fromAzure(path, value, variable string) {
	if value != "" || !r.ok(path) {
		return
	}
	for _, entry := range r.environ {
		if name, v, _ := strings.Cut(entry, "="); name == variable && v != "" {
			return
		}
	}
	r.wrong(path, "is required with kind workload where %s is not set", variable)
}

// checkBudget keeps the token bucket within Graph's limit. A bucket admits up
// to capacity + rate × window in any window, wherever the window begins.
func (r *rules) checkBudget(path string, b Budget) {
	if !r.ok(path+".limit", path+".window") {
		return
	}
	if windows := math.Ceil(graphWindow.Seconds() / b.Window.Seconds()); float64(b.Limit)*windows > graphLimit {
		r.wrong(path+".limit", "%d requests in every %s may be %.0f in %s, and Graph admits %d",
			b.Limit, formatDuration(b.Window), float64(b.Limit)*windows, formatDuration(graphWindow), graphLimit)
		return
	}
	if !r.ok(path+".capacity", path+".rate", path+".other_programs") {
		return
	}
	// A millionth forgives the rounding of a rate such as 46.6667.
	left := b.Limit - b.OtherPrograms
	if used := float64(b.Capacity) + b.Rate*b.Window.Seconds(); used > float64(left)+1e-6 {
		r.wrong(path, "capacity %d + rate %s × window %s = %s is above limit %d − other_programs %d = %d%s",
			b.Capacity, number(b.Rate), formatDuration(b.Window), number(used), b.Limit, b.OtherPrograms, left, advice(b, left))
	}
}

func advice(b Budget, left int) string {
	rate := math.Floor(10*float64(left-b.Capacity)/b.Window.Seconds()) / 10
	if rate < 0.1 {
		return "; lower capacity and rate"
	}
	return "; with this capacity, rate may be at most " + number(rate)
}

func number(x float64) string { return strconv.FormatFloat(math.Round(x*1000)/1000, 'f', -1, 64) }

// readable reports whether a file can be read, if one is named, and records
// why not.
func (r *rules) readable(path, file string) bool {
	if !r.ok(path) {
		return false
	}
	if file == "" {
		return true
	}
	info, err := os.Stat(file)
	if err == nil && !info.Mode().IsRegular() {
		r.wrong(path, "%s is not a regular file", quote(file))
		return false
	}
	var f *os.File
	if err == nil {
		f, err = os.Open(file)
	}
	if err != nil {
		r.wrong(path, "%s cannot be read: %s", quote(file), reason(err))
		return false
	}
	_ = f.Close() // it was only read from
	return true
}

// notEmpty is readable for a file that must have content: one that is mounted
// before it is filled would else fail at the first request.
func (r *rules) notEmpty(path, file string) {
	if file == "" || !r.readable(path, file) {
		return
	}
	content, err := readFile(file)
	switch {
	case err != nil:
		r.wrong(path, "%s cannot be read: %s", quote(file), reason(err))
	case len(strings.TrimSpace(string(content))) == 0:
		r.wrong(path, "%s is empty", quote(file))
	}
}
