package config

import (
	"errors"
	"fmt"
	"path/filepath"
	"reflect"
	"strconv"
	"strings"

	"github.com/go-viper/mapstructure/v2"
	"github.com/knadh/koanf/providers/confmap"
	"github.com/knadh/koanf/providers/env/v2"
	"github.com/knadh/koanf/v2"
)

// Loaded is a configuration and where each of its values comes from.
type Loaded struct {
	Config Config
	// Warnings are legal settings that are seldom meant.
	Warnings Problems

	origins map[string]Origin // by dotted path; absent: default
}

// Load reads the file at path, over it the variables of environ (as
// os.Environ gives them) that begin with UCWAGATE_, and checks the outcome. An
// empty path means the environment and the defaults alone.
//
// Everything that is wrong is in one error of type Problems. The Loaded is
// then what could be understood, fit to be printed but not to be run.
//
// A relative path in the file counts from the folder of the file, one in the
// environment from the working directory.
func Load(path string, environ []string) (*Loaded, error) {
	l := &loader{
		schema:  newSchema(),
		path:    path,
		environ: environ,
		origins: map[string]Origin{},
		lines:   map[string]int{},
		bad:     map[string]bool{},
		values:  map[string]any{},
	}
	whole := path == "" || l.readFile()
	loaded, err := l.merge()
	if err != nil {
		return nil, err
	}
	if whole {
		// Half a file would only bring complaints about its other half.
		r := rules{loader: l, config: loaded.Config}
		r.check()
		loaded.Warnings = r.warnings
	}
	if len(l.problems) == 0 {
		return loaded, nil
	}
	l.problems.sort()
	return loaded, l.problems
}

// Origin returns where the value of a key comes from; keys are written as in
// messages (tenants[0].name), or with dots alone (tenants.0.name).
func (l *Loaded) Origin(key string) Origin {
	return l.origins[strings.NewReplacer("[", ".", "]", "").Replace(key)]
}

// loader gathers the layers of one Load.
type loader struct {
	schema  []*field
	path    string // of the file, or empty
	environ []string

	values   map[string]any    // what the file says, by dotted path
	origins  map[string]Origin // of every value that is not a default
	lines    map[string]int    // of every section that stands in the file
	bad      map[string]bool   // paths that have a problem already
	tenants  int
	problems Problems
}

// problem records that something is wrong with the value or section at a
// dotted path, which no later rule then looks at.
func (l *loader) problem(path string, at Origin, message string) {
	l.bad[path] = true
	l.problems = append(l.problems, Problem{Origin: at, Key: showKey(path), Message: message})
}

// ok reports whether nothing is known to be wrong with any of the paths, nor
// with a section above them.
func (l *loader) ok(paths ...string) bool {
	for _, path := range paths {
		for path != "" {
			if l.bad[path] {
				return false
			}
			path = parent(path)
		}
	}
	return true
}

// at returns where a reader should look for a path: its value, else the
// nearest section above it, else the file. A tenant that stands in the
// environment alone has no such place.
func (l *loader) at(path string) Origin {
	if origin, ok := l.origins[path]; ok {
		return origin
	}
	if parts := strings.Split(path, "."); parts[0] == "tenants" && len(parts) > 1 && l.lines[join(parts[0], parts[1])] == 0 {
		return Origin{}
	}
	for ; path != ""; path = parent(path) {
		if line, ok := l.lines[path]; ok {
			return Origin{File: l.path, Line: line}
		}
	}
	return Origin{File: l.path}
}

func parent(path string) string {
	return path[:max(0, strings.LastIndexByte(path, '.'))]
}

// accept reads one value and returns it for its layer: a string, or []string
// for a list. The second result is false where it was a problem.
func (l *loader) accept(path string, o *option, texts []string, at Origin) (any, bool) {
	list := make([]string, 0, len(texts))
	for i, text := range texts {
		canonical, err := o.read(text)
		if err != nil {
			message := err.Error()
			if o.isList() {
				message = fmt.Sprintf("entry %d: %s", i+1, message)
			}
			l.problem(path, at, message)
			return nil, false
		}
		if o.path && at.Env == "" && canonical != "" && !filepath.IsAbs(canonical) {
			canonical = filepath.Join(filepath.Dir(l.path), canonical)
		}
		list = append(list, canonical)
	}
	l.origins[path] = at
	if o.isList() {
		return list, true
	}
	return list[0], true
}

// merge lays file and environment over the defaults and decodes the outcome.
func (l *loader) merge() (*Loaded, error) {
	variables := l.scanEnvironment()

	defaults := map[string]any{}
	base := Default()
	for range l.tenants {
		base.Tenants = append(base.Tenants, DefaultTenant())
	}
	flatten(l.schema, reflect.ValueOf(base), "", defaults)

	k := koanf.New(".")
	for _, layer := range []koanf.Provider{
		confmap.Provider(defaults, "."),
		confmap.Provider(l.values, "."),
		env.Provider(".", env.Opt{
			Prefix:        envPrefix,
			EnvironFunc:   func() []string { return l.environ },
			TransformFunc: variables.transform,
		}),
	} {
		if err := k.Load(layer, nil); err != nil {
			return nil, fmt.Errorf("merging the configuration: %w", err)
		}
	}
	loaded := &Loaded{origins: l.origins}
	err := k.UnmarshalWithConf("", &loaded.Config, koanf.UnmarshalConf{DecoderConfig: &mapstructure.DecoderConfig{
		TagName:          "key",
		WeaklyTypedInput: true, // every leaf arrives as text that was checked before
		ErrorUnused:      true,
		DecodeHook: mapstructure.ComposeDecodeHookFunc(
			numberedToSlice,
			mapstructure.StringToTimeDurationHookFunc(),
			mapstructure.TextUnmarshallerHookFunc(),
		),
	}})
	if err != nil {
		// The library's errors quote values, which may be secret.
		return nil, errors.New("decoding the configuration: a value that was checked did not fit its field")
	}
	return loaded, nil
}

// numberedToSlice turns the map 0, 1, 2… of a list of sections into a list.
func numberedToSlice(_, to reflect.Type, data any) (any, error) {
	numbered, ok := data.(map[string]any)
	if !ok || to.Kind() != reflect.Slice {
		return data, nil
	}
	list := make([]any, len(numbered))
	for key, entry := range numbered {
		i, err := strconv.Atoi(key)
		if err != nil || i < 0 || i >= len(list) {
			return nil, errors.New("the numbers of a list have a gap")
		}
		list[i] = entry
	}
	return list, nil
}
