package config

import (
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"time"
)

const (
	// envPrefix begins every environment variable that is an option.
	envPrefix = "UCWAGATE_"
	// EnvConfigFile is the one variable with the prefix that is no option: the
	// program may take the path of its configuration file from it.
	EnvConfigFile = envPrefix + "CONFIG"
)

// Option describes one setting, for documentation and for tests.
type Option struct {
	Key      string   // dotted key; "tenants[].name" stands for every tenant's
	Env      string   // environment variable; N stands for the tenant's number, from 0
	Type     string   // what a value is, in words
	Default  string   // as it would be written in the file; empty where there is none
	Min, Max string   // bounds, both included; empty where there are none
	OneOf    []string // the legal words, where they are a closed set
	Doc      string   // what it means
	Required bool     // every entry of the list must have it
	Secret   bool     // never shown
	File     bool     // names a file that must be readable
}

// Options returns every option, in the order of the structs.
func Options() []Option {
	var options []Option
	for _, f := range newSchema() {
		f.each(func(o *option) { options = append(options, o.Option) })
	}
	return options
}

// option is a leaf of the schema.
type option struct {
	Option
	typ    reflect.Type
	format string // entry of formats for the text, or for every text of the list
	path   bool   // names a file
}

func (o *option) isList() bool { return o.typ.Kind() == reflect.Slice }

// field is one key of a section: an option, a section of further fields, or a
// list of such sections.
type field struct {
	name    string
	doc     string
	index   int
	typ     reflect.Type
	fields  []*field // of the section, or of each entry of the list
	entries bool
	option  *option
}

func (f *field) each(visit func(*option)) {
	if f.option != nil {
		visit(f.option)
		return
	}
	for _, child := range f.fields {
		child.each(visit)
	}
}

// newSchema reads the tags of Config.
func newSchema() []*field {
	fields := newFields(reflect.TypeFor[Config]())
	defaults := map[string]any{}
	flatten(fields, reflect.ValueOf(Default()), "", defaults)
	flatten(newFields(reflect.TypeFor[Tenant]()), reflect.ValueOf(DefaultTenant()), "tenants[].", defaults)
	for _, f := range fields {
		f.complete("", defaults)
	}
	return fields
}

// newFields returns the keys of a struct, without the Options of its leaves.
func newFields(t reflect.Type) []*field {
	var fields []*field
	for i := range t.NumField() {
		sf := t.Field(i)
		f := &field{name: sf.Tag.Get("key"), doc: sf.Tag.Get("doc"), index: i, typ: sf.Type}
		switch {
		case sf.Type.Kind() == reflect.Struct:
			f.fields = newFields(sf.Type)
		case sf.Type.Kind() == reflect.Slice && sf.Type.Elem() == reflect.TypeFor[Tenant]():
			f.fields, f.entries = newFields(sf.Type.Elem()), true
		default:
			f.option = newOption(sf)
		}
		fields = append(fields, f)
	}
	return fields
}

func newOption(sf reflect.StructField) *option {
	tag := sf.Tag
	o := &option{typ: sf.Type, format: tag.Get("format")}
	o.Doc, o.Min, o.Max = tag.Get("doc"), tag.Get("min"), tag.Get("max")
	o.Required = tag.Get("required") == "true"
	o.File = o.format == "file"
	o.path = o.File || o.format == "path"
	if words := tag.Get("oneof"); words != "" {
		o.OneOf = strings.Split(words, ",")
	}
	elem := sf.Type
	if o.isList() {
		elem = elem.Elem()
	}
	o.Secret = elem == reflect.TypeFor[Secret]()
	o.Type = typeName(sf.Type)
	if o.path {
		o.Type = "a path"
	}
	if len(o.OneOf) > 0 {
		o.Type = "one of " + strings.Join(o.OneOf, ", ")
	}
	return o
}

// complete fills in what the leaves know only by their place.
func (f *field) complete(prefix string, defaults map[string]any) {
	key := prefix + f.name
	if o := f.option; o != nil {
		o.Key = key
		o.Env = envName(strings.ReplaceAll(key, "[]", ".N"))
		o.Default = showDefault(defaults[key])
		return
	}
	if f.entries {
		key += "[]"
	}
	for _, child := range f.fields {
		child.complete(key+".", defaults)
	}
}

func showDefault(v any) string {
	if list, ok := v.([]string); ok {
		return strings.Join(list, ", ")
	}
	text, _ := v.(string)
	return text
}

func typeName(t reflect.Type) string {
	switch t {
	case reflect.TypeFor[time.Duration]():
		return "a duration such as 20s"
	case reflect.TypeFor[Size]():
		return "a size such as 1MiB"
	case reflect.TypeFor[Secret]():
		return "a secret text"
	case reflect.TypeFor[[]Secret]():
		return "a list of secret texts"
	case reflect.TypeFor[[]netip.Prefix]():
		return "a list of addresses or CIDR networks"
	}
	switch t.Kind() {
	case reflect.Bool:
		return "true or false"
	case reflect.Int:
		return "a whole number"
	case reflect.Float64:
		return "a number"
	case reflect.Slice:
		return "a list of texts"
	default:
		return "a text"
	}
}

// envName returns the variable of a dotted path with numbers, such as
// tenants.0.name.
func envName(path string) string {
	return envPrefix + strings.ToUpper(strings.ReplaceAll(path, ".", "_"))
}

// showKey writes a dotted path as messages do: tenants.0.name becomes
// tenants[0].name.
func showKey(path string) string {
	var b strings.Builder
	for i, part := range strings.Split(path, ".") {
		if _, err := strconv.Atoi(part); err == nil {
			b.WriteString("[" + part + "]")
			continue
		}
		if i > 0 {
			b.WriteByte('.')
		}
		b.WriteString(part)
	}
	return b.String()
}

// flatten writes every option of a struct into values under its dotted path:
// a string, or []string for a list, in the form in which a file or the
// environment would give it.
func flatten(fields []*field, v reflect.Value, prefix string, values map[string]any) {
	for _, f := range fields {
		fv := v.Field(f.index)
		switch {
		case f.option != nil:
			values[prefix+f.name] = formatValue(fv)
		case f.entries:
			for i := range fv.Len() {
				flatten(f.fields, fv.Index(i), prefix+f.name+"."+strconv.Itoa(i)+".", values)
			}
		default:
			flatten(f.fields, fv, prefix+f.name+".", values)
		}
	}
}

func formatValue(v reflect.Value) any {
	switch x := v.Interface().(type) {
	case Secret:
		return x.Reveal()
	case time.Duration:
		return formatDuration(x)
	case Size:
		return x.String()
	case netip.Prefix:
		return formatPrefix(x)
	}
	switch v.Kind() {
	case reflect.Slice:
		list := make([]string, 0, v.Len())
		for i := range v.Len() {
			text, _ := formatValue(v.Index(i)).(string)
			list = append(list, text)
		}
		return list
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Int:
		return strconv.FormatInt(v.Int(), 10)
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'f', -1, 64)
	default:
		return v.String()
	}
}

// formatPrefix leaves out the length of a network of one address.
func formatPrefix(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}
