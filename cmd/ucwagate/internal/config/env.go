package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// variables are the options by the names of their environment variables.
type variables struct {
	loader *loader
	byName map[string]variable
	names  []string // of byName, in the order of the options, tenant 0 for every tenant
	gaps   map[int]bool
}

type variable struct {
	path   string // dotted, with N for the number of a tenant
	option *option
}

var tenantVariable = regexp.MustCompile(`^` + envPrefix + `TENANTS_(0|[1-9][0-9]{0,3})_(.+)$`)

// scanEnvironment finds out how many tenants file and environment make
// together. A tenant of the environment either changes one of the file or
// follows the last one.
func (l *loader) scanEnvironment() *variables {
	v := &variables{loader: l, byName: map[string]variable{}, gaps: map[int]bool{}}
	for _, f := range l.schema {
		f.each(func(o *option) {
			v.byName[o.Env] = variable{path: strings.ReplaceAll(o.Key, "[]", ".N"), option: o}
			v.names = append(v.names, strings.Replace(o.Env, "TENANTS_N_", "TENANTS_0_", 1))
		})
	}
	numbers := map[int]bool{}
	for _, entry := range l.environ {
		name, _, _ := strings.Cut(entry, "=")
		if _, number, ok := v.lookup(name); ok && number >= 0 {
			numbers[number] = true
		}
	}
	for numbers[l.tenants] {
		l.tenants++
	}
	for number := range numbers {
		v.gaps[number] = number >= l.tenants
	}
	return v
}

// lookup finds the option of a variable, and the number of the tenant that it
// speaks of, or -1.
func (v *variables) lookup(name string) (variable, int, bool) {
	if m := tenantVariable.FindStringSubmatch(name); m != nil {
		found, ok := v.byName[envPrefix+"TENANTS_N_"+m[2]]
		number, err := strconv.Atoi(m[1])
		found.path = strings.Replace(found.path, ".N.", "."+m[1]+".", 1)
		return found, number, ok && err == nil
	}
	found, ok := v.byName[name]
	return found, -1, ok && !strings.Contains(found.path, ".N.")
}

// transform reads one variable into the dotted path and the value of its
// option. An empty path leaves it out.
func (v *variables) transform(name, value string) (string, any) {
	at := Origin{Env: name}
	found, number, ok := v.lookup(name)
	switch {
	case !ok:
		if name != EnvConfigFile && !isServiceLink(name, value) {
			v.unknown(name)
		}
		return "", nil
	case v.gaps[number]:
		v.loader.problem(found.path, at, fmt.Sprintf("there is no tenant %d before it; tenants are numbered from 0 without a gap", v.loader.tenants))
		return "", nil
	}
	read, ok := v.loader.accept(found.path, found.option, splitValue(found.option, value), at)
	if !ok {
		return "", nil
	}
	return found.path, read
}

// splitValue takes a list apart at its commas; an empty value is an empty list.
func splitValue(o *option, value string) []string {
	if !o.isList() {
		return []string{value}
	}
	if strings.TrimSpace(value) == "" {
		return nil
	}
	texts := strings.Split(value, ",")
	for i := range texts {
		texts[i] = strings.TrimSpace(texts[i])
	}
	return texts
}

// unknown names the variable meant, by the same rules as unknownKey.
func (v *variables) unknown(name string) {
	names, rest := slices.Clone(v.names), strings.TrimPrefix(name, envPrefix)
	if m := tenantVariable.FindStringSubmatch(name); m != nil {
		rest = m[2]
		for i := range names {
			names[i] = strings.Replace(names[i], "TENANTS_0_", "TENANTS_"+m[1]+"_", 1)
		}
	}
	best, distance := nearest(name, names)
	if i := slices.IndexFunc(names, func(n string) bool { return strings.HasSuffix(n, "_"+rest) }); i >= 0 && distance > slip {
		best = names[i]
	}
	v.loader.problems = append(v.loader.problems, Problem{
		Origin:  Origin{Env: plain(name)},
		Message: "unknown variable",
		Nearest: best,
	})
}

var serviceLink = regexp.MustCompile(`_(SERVICE_HOST|SERVICE_PORT(_[A-Z0-9_]+)?|PORT_[0-9]+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)$`)

// isServiceLink recognises what Kubernetes puts into the environment of every
// pod beside a Service whose name begins with "ucwagate", such as
// UCWAGATE_SERVICE_HOST, UCWAGATE_PORT=tcp://… and
// UCWAGATE_PORT_8080_TCP_ADDR.
func isServiceLink(name, value string) bool {
	if serviceLink.MatchString(name) {
		return true
	}
	scheme, _, found := strings.Cut(value, "://")
	return found && strings.HasSuffix(name, "_PORT") && slices.Contains([]string{"tcp", "udp", "sctp"}, scheme)
}
