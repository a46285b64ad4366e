package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// readFile reads the file into values, with the line of each, and reports
// whether all of it could be read as YAML.
func (l *loader) readFile() bool {
	content, err := readConfigFile(l.path)
	if err != nil {
		l.fileProblem(0, "cannot be read: "+reason(err))
		return false
	}
	return l.readYAML(content)
}

func readConfigFile(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	return readLimited(f, path)
}

// reason returns the cause of a failed file operation without the path, which
// the message around it has.
func reason(err error) string {
	if pathError, ok := errors.AsType[*os.PathError](err); ok {
		return pathError.Err.Error()
	}
	return err.Error()
}

func (l *loader) fileProblem(line int, message string) {
	l.problems = append(l.problems, Problem{Origin: Origin{File: l.path, Line: line}, Message: message})
}

// readYAML walks the document by the schema rather than by its own shape, so
// an alias that contains itself ends where the schema does.
func (l *loader) readYAML(content []byte) bool {
	decoder := yaml.NewDecoder(bytes.NewReader(content))
	var document yaml.Node
	switch err := decoder.Decode(&document); {
	case errors.Is(err, io.EOF):
		return true // nothing but comments
	case err != nil:
		l.syntaxProblem(err, content)
		return false
	}
	if len(document.Content) > 0 {
		l.readSection(document.Content[0], l.schema, "")
	}
	if l.bad[""] {
		return false // the document is no section
	}
	var next yaml.Node
	switch err := decoder.Decode(&next); {
	case errors.Is(err, io.EOF):
		return true
	case err != nil:
		l.syntaxProblem(err, content)
	default:
		l.fileProblem(next.Line, "a second YAML document begins here; only one is read")
	}
	return false
}

var (
	yamlLine = regexp.MustCompile(`^line (\d+): (.*)$`)
	// yamlFromZero are the errors whose line the library counts from 0: those
	// of its parser, unlike those of its scanner.
	yamlFromZero  = regexp.MustCompile(`^did not find expected (node content|key|'-' indicator|',' or '.'|<document start>)`)
	unknownAnchor = regexp.MustCompile(`^unknown anchor '(.*)' referenced$`)
)

// syntaxProblem records an error of the YAML parser. Its messages speak of
// YAML's own signs, but for one, which quotes the word behind an asterisk:
// often the beginning of a secret that wants quotation marks.
func (l *loader) syntaxProblem(err error, content []byte) {
	message, line := strings.TrimPrefix(err.Error(), "yaml: "), 0
	if m := yamlLine.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1]) // digits by the expression
		message = m[2]
	}
	if yamlFromZero.MatchString(message) && line > 0 {
		line++
	}
	if m := unknownAnchor.FindStringSubmatch(message); m != nil {
		if before, _, found := bytes.Cut(content, []byte("*"+m[1])); found {
			line = 1 + bytes.Count(before, []byte("\n"))
		}
		message = "an asterisk begins a reference, and nothing has its name; write a value that begins with * in quotation marks"
	}
	l.fileProblem(line, "is no valid YAML: "+message)
}

func (l *loader) readSection(node *yaml.Node, fields []*field, path string) {
	node = target(node)
	if isNull(node) {
		return // a section whose keys are all commented out
	}
	if node.Kind != yaml.MappingNode {
		l.problem(path, l.line(node), "must be a section with keys of its own, not "+describe(node))
		return
	}
	first := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		switch line, again := first[key.Value]; {
		case key.Kind != yaml.ScalarNode:
			l.problem(path, l.line(key), "holds a key that is not a plain name")
		case key.Value == "<<":
			l.problem(path, l.line(key), "holds a merge (<<), which is not supported; write the keys out")
		case again:
			l.problem(join(path, plain(key.Value)), l.line(key), fmt.Sprintf("stands here a second time; the first is in line %d", line))
		default:
			first[key.Value] = key.Line
			l.readKey(key, value, fields, path)
		}
	}
}

func (l *loader) readKey(key, value *yaml.Node, fields []*field, prefix string) {
	path := join(prefix, key.Value)
	f := find(fields, key.Value)
	switch {
	case f == nil:
		l.unknownKey(key, fields, prefix)
	case f.option != nil:
		l.readOption(key, value, f.option, path)
	case f.entries:
		l.lines[path] = key.Line
		l.readEntries(value, f, path)
	default:
		l.lines[path] = key.Line
		l.readSection(value, f.fields, path)
	}
}

func (l *loader) readEntries(node *yaml.Node, f *field, path string) {
	node = target(node)
	if isNull(node) {
		return
	}
	if node.Kind != yaml.SequenceNode {
		l.problem(path, l.line(node), "must be a list of sections, each beginning with a hyphen, not "+describe(node))
		return
	}
	l.tenants = len(node.Content)
	for i, entry := range node.Content {
		at := join(path, strconv.Itoa(i))
		l.lines[at] = entry.Line
		l.readSection(entry, f.fields, at)
	}
}

func (l *loader) readOption(key, node *yaml.Node, o *option, path string) {
	node = target(node)
	at := l.line(key)
	var texts []string
	switch {
	case o.isList() && isNull(node):
	case o.isList() && node.Kind != yaml.SequenceNode:
		l.problem(path, at, fmt.Sprintf("must be %s, such as [a, b], not %s", o.Type, describe(node)))
		return
	case o.isList():
		for i, entry := range node.Content {
			text, ok := scalar(target(entry), o)
			if !ok {
				l.problem(path, at, fmt.Sprintf("entry %d: must be a text, not %s", i+1, describe(target(entry))))
				return
			}
			texts = append(texts, text)
		}
	case isNull(node):
		l.problem(path, at, "has no value; give it one, or remove the key")
		return
	default:
		text, ok := scalar(node, o)
		if !ok {
			l.problem(path, at, fmt.Sprintf("must be %s, not %s", o.Type, describe(node)))
			return
		}
		texts = []string{text}
	}
	if value, ok := l.accept(path, o, texts, at); ok {
		l.values[path] = value
	}
}

// scalar returns the text of a scalar if YAML's own idea of its type fits the
// option: a quoted number is no number, and a bare true is no text. Digits are
// a text as they stand, leading zeros and all.
func scalar(node *yaml.Node, o *option) (string, bool) {
	if node.Kind != yaml.ScalarNode {
		return "", false
	}
	tag := node.ShortTag()
	number := tag == "!!int" || tag == "!!float"
	switch o.Type {
	case "true or false":
		return node.Value, tag == "!!bool"
	case "a whole number":
		var n int64
		if tag != "!!int" || node.Decode(&n) != nil {
			return "", false
		}
		return strconv.FormatInt(n, 10), true
	case "a number":
		var n float64
		if !number || node.Decode(&n) != nil {
			return "", false
		}
		return strconv.FormatFloat(n, 'g', -1, 64), true
	default:
		return node.Value, number || tag == "!!str" || tag == "!!timestamp"
	}
}

// unknownKey names the key meant: one of the same section that is spelled
// almost alike, else the same name elsewhere, else whatever comes nearest.
func (l *loader) unknownKey(key *yaml.Node, fields []*field, prefix string) {
	siblings := make([]string, len(fields))
	for i, f := range fields {
		siblings[i] = f.name
	}
	best, distance := nearest(key.Value, siblings)
	best = showKey(join(prefix, best))
	if distance > slip {
		if elsewhere, ok := l.sameName(key.Value); ok {
			best = elsewhere
		}
	}
	l.problems = append(l.problems, Problem{
		Origin:  l.line(key),
		Key:     showKey(join(prefix, plain(key.Value))),
		Message: "unknown key",
		Nearest: best,
	})
}

// sameName finds an option by the last part of its key.
func (l *loader) sameName(name string) (key string, ok bool) {
	for _, f := range l.schema {
		f.each(func(o *option) {
			if !ok && strings.HasSuffix(o.Key, "."+name) {
				key, ok = o.Key, true
			}
		})
	}
	return key, ok
}

var plainKey = regexp.MustCompile(`^[A-Za-z0-9_-]{1,64}$`)

// plain quotes a key that would upset a line of output.
func plain(key string) string {
	if plainKey.MatchString(key) {
		return key
	}
	return quote(key)
}

func (l *loader) line(node *yaml.Node) Origin { return Origin{File: l.path, Line: node.Line} }

func find(fields []*field, name string) *field {
	for _, f := range fields {
		if f.name == name {
			return f
		}
	}
	return nil
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

// target returns what an alias stands for.
func target(node *yaml.Node) *yaml.Node {
	if node.Kind == yaml.AliasNode && node.Alias != nil {
		return node.Alias
	}
	return node
}

func isNull(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}

// describe names what stands in the file without quoting it.
func describe(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "a section"
	case yaml.SequenceNode:
		return "a list"
	}
	switch node.ShortTag() {
	case "!!bool":
		return "true or false"
	case "!!int":
		return "a whole number"
	case "!!float":
		return "a number with a fraction"
	case "!!null":
		return "nothing"
	default:
		return "a text"
	}
}
