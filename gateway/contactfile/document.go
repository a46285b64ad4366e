package contactfile

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"

	"ucwagate/graphsrc"
)

// The keys of a file.
const (
	keyContacts     = "contacts"
	keyPinned       = "pinned"
	keyOthers       = "others"
	keyGroups       = "groups"
	keyDistribution = "distributionGroups"
	keyID           = "id"
	keyName         = "name"
	keyMembers      = "members"
	keyAddress      = "address"
)

const (
	maxName     = 256 // characters
	nameAllowed = "1 to 256 characters, none of them a control character"
	idAllowed   = "1 to 64 lower-case letters, digits and hyphens, and not the name of a group that everybody has"
)

var idPattern = regexp.MustCompile(`^[a-z0-9-]{1,64}$`)

// reservedIDs are the groups that UCWA gives to everybody, by the short names
// that hrefs have for them.
var reservedIDs = map[string]bool{
	Pinned: true, Default: true, "organization": true, "delegates": true, "delegators": true,
}

// document is the text of a file as a tree that keeps comments.
type document struct {
	// preamble is the whole text of a file that has nothing but comments,
	// which the parser would drop.
	preamble []byte
	root     *yaml.Node // of kind DocumentNode
}

// parse reads the text of a file. What is wrong with it is a *FileError.
func parse(path string, text []byte) (*document, map[string]List, error) {
	r := &reader{}
	d := r.document(text)
	var lists map[string]List
	if len(r.problems) == 0 {
		lists = r.contents(d.root)
	}
	if len(r.problems) > 0 {
		return nil, nil, &FileError{Path: path, Problems: r.problems}
	}
	return d, lists, nil
}

// reader walks a document by its schema and collects what is wrong.
type reader struct{ problems []Problem }

func (r *reader) problem(line int, format string, args ...any) {
	r.problems = append(r.problems, Problem{Line: line, Message: fmt.Sprintf(format, args...)})
}

func (r *reader) document(text []byte) *document {
	d := &document{root: &yaml.Node{Kind: yaml.DocumentNode}}
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	switch err := decoder.Decode(d.root); {
	case errors.Is(err, io.EOF):
		d.preamble = text
		return d
	case err != nil:
		r.syntax(err)
		return d
	}
	var next yaml.Node
	switch err := decoder.Decode(&next); {
	case errors.Is(err, io.EOF):
	case err != nil:
		r.syntax(err)
	default:
		r.problem(next.Line, "a second document begins here; only one is read")
	}
	return d
}

var (
	yamlLine = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)$`)
	// yamlFromZero are the errors whose line the library counts from 0: those
	// of its parser, unlike those of its scanner.
	yamlFromZero = regexp.MustCompile(`^did not find expected (node content|key|'-' indicator|',' or '.'|<document start>)`)
)

func (r *reader) syntax(err error) {
	line, message := 0, err.Error()
	if m := yamlLine.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1]) // digits by the expression, or nothing
		message = m[2]
		if line > 0 && yamlFromZero.MatchString(message) {
			line++
		}
	}
	r.problem(line, "is no valid YAML: %s", message)
}

// contents reads all lists, by owner.
func (r *reader) contents(root *yaml.Node) map[string]List {
	lists := map[string]List{}
	if len(root.Content) == 0 {
		return lists
	}
	owners := r.section(root.Content[0], "the file", keyContacts)[keyContacts]
	if owners == nil || !r.mapping(owners, keyContacts) {
		return lists
	}
	first := map[string]int{}
	for i := 0; i+1 < len(owners.Content); i += 2 {
		key := owners.Content[i]
		owner, err := graphsrc.ParseAddress(key.Value)
		switch line := first[owner]; {
		case key.Kind != yaml.ScalarNode || err != nil:
			r.problem(key.Line, "%s: the owner %s is not an address of the form user@domain", keyContacts, quote(key))
		case line > 0:
			r.problem(key.Line, "%s stands here a second time; the first is in line %d", owner, line)
		default:
			first[owner] = key.Line
			lists[owner] = r.list(owner, owners.Content[i+1])
		}
	}
	return lists
}

func (r *reader) list(owner string, node *yaml.Node) List {
	f := r.section(node, owner, keyPinned, keyOthers, keyGroups, keyDistribution)
	l := List{
		Pinned: r.addresses(f[keyPinned], keyPinned),
		Others: r.addresses(f[keyOthers], keyOthers),
	}
	ids := map[string]bool{}
	for _, entry := range r.entries(f[keyGroups], keyGroups) {
		l.Groups = append(l.Groups, r.group(entry, ids))
	}
	for i := range l.Groups {
		if g := &l.Groups[i]; g.ID == "" {
			g.ID = derivedID(owner, g.Name, ids)
			ids[g.ID] = true
		}
	}
	seen := map[string]bool{}
	for _, entry := range r.entries(f[keyDistribution], keyDistribution) {
		if d := r.distribution(entry); !seen[d.Address] {
			seen[d.Address] = true
			l.Distribution = append(l.Distribution, d)
		}
	}
	return l
}

func (r *reader) group(node *yaml.Node, ids map[string]bool) Group {
	f := r.section(node, keyGroups, keyID, keyName, keyMembers)
	g := Group{Members: r.addresses(f[keyMembers], keyMembers)}
	if id := f[keyID]; id != nil {
		switch text, ok := scalar(id); {
		case !ok || !idPattern.MatchString(text) || reservedIDs[text]:
			r.problem(id.Line, "the id of a group must be %s", idAllowed)
		case ids[text]:
			r.problem(id.Line, "another group of the same owner has the id %s", text)
		default:
			g.ID = text
			ids[text] = true
		}
	}
	if name := f[keyName]; name == nil {
		r.problem(node.Line, "a group has no name")
	} else {
		g.Name = r.name(name)
	}
	return g
}

func (r *reader) distribution(node *yaml.Node) Distribution {
	f := r.section(node, keyDistribution, keyAddress, keyName)
	var d Distribution
	if f[keyAddress] == nil {
		r.problem(node.Line, "a distribution group has no address")
	} else {
		d.Address = r.address(f[keyAddress], keyDistribution)
	}
	if d.Name = d.Address; f[keyName] != nil {
		d.Name = r.name(f[keyName])
	}
	return d
}

func (r *reader) name(node *yaml.Node) string {
	if text, ok := scalar(node); ok {
		if text, err := cleanName(text); err == nil {
			return text
		}
	}
	r.problem(node.Line, "the name must be %s", nameAllowed)
	return ""
}

func (r *reader) address(node *yaml.Node, key string) string {
	if text, ok := scalar(node); ok {
		if clean, err := graphsrc.ParseAddress(text); err == nil {
			return clean
		}
	}
	r.problem(node.Line, "%s: %s is not an address of the form user@domain", key, quote(node))
	return ""
}

// addresses reads a list of addresses, each once.
func (r *reader) addresses(node *yaml.Node, key string) []string {
	var all []string
	seen := map[string]bool{}
	for _, entry := range r.entries(node, key) {
		if a := r.address(entry, key); !seen[a] {
			seen[a] = true
			all = append(all, a)
		}
	}
	return all
}

func (r *reader) entries(node *yaml.Node, key string) []*yaml.Node {
	switch {
	case node == nil || isNull(node):
		return nil
	case node.Kind != yaml.SequenceNode:
		r.problem(node.Line, "%s must be a list, such as [a, b], not %s", key, describe(node))
		return nil
	}
	return node.Content
}

// section reads a mapping that has no keys but the known ones, and returns
// their values. A section or a value that is empty is as good as missing.
func (r *reader) section(node *yaml.Node, what string, known ...string) map[string]*yaml.Node {
	if !r.mapping(node, what) {
		return nil
	}
	values := map[string]*yaml.Node{}
	lines := map[string]int{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key, value := node.Content[i], node.Content[i+1]
		switch line := lines[key.Value]; {
		case key.Kind != yaml.ScalarNode || !slices.Contains(known, key.Value):
			r.problem(key.Line, "%s: unknown key %s; known are %s", what, quote(key), strings.Join(known, ", "))
		case line > 0:
			r.problem(key.Line, "%s: %s stands here a second time; the first is in line %d", what, key.Value, line)
		default:
			lines[key.Value] = key.Line
			if !isNull(value) {
				values[key.Value] = value
			}
		}
	}
	return values
}

// mapping reports whether node is a section with keys; an empty one has none.
func (r *reader) mapping(node *yaml.Node, what string) bool {
	if node.Kind != yaml.MappingNode && !isNull(node) {
		r.problem(node.Line, "%s must be a section with keys of its own, not %s", what, describe(node))
	}
	return node.Kind == yaml.MappingNode
}

// scalar returns a text, or a number, date or truth value as it stands.
func scalar(node *yaml.Node) (string, bool) {
	if node.Kind != yaml.ScalarNode {
		return "", false
	}
	switch node.ShortTag() {
	case "!!str", "!!int", "!!float", "!!bool", "!!timestamp":
		return node.Value, true
	}
	return "", false
}

func isNull(node *yaml.Node) bool {
	return node.Kind == yaml.ScalarNode && node.ShortTag() == "!!null"
}

func describe(node *yaml.Node) string {
	switch node.Kind {
	case yaml.MappingNode:
		return "a section"
	case yaml.SequenceNode:
		return "a list"
	case yaml.AliasNode:
		// A change of one place would change the others.
		return "a reference (*name), which is not supported here"
	}
	return "a text"
}

// quote shows what stands in the file, in one line of bounded length.
func quote(node *yaml.Node) string {
	if node.Kind != yaml.ScalarNode {
		return describe(node)
	}
	const most = 80
	if text := []rune(node.Value); len(text) > most {
		return strconv.Quote(string(text[:most])) + "…"
	}
	return strconv.Quote(node.Value)
}

// cleanName trims a name and checks it.
func cleanName(s string) (string, error) {
	s = strings.TrimSpace(s)
	if n := utf8.RuneCountInString(s); n < 1 || n > maxName || !utf8.ValidString(s) || strings.ContainsFunc(s, unicode.IsControl) {
		return "", &InvalidError{Field: keyName, Allowed: nameAllowed}
	}
	return s, nil
}

// derivedID names a group whose id the file does not give. It is no secret and
// must be the same wherever the file is read, so it comes from what is there.
func derivedID(owner, name string, taken map[string]bool) string {
	for n := 0; ; n++ {
		sum := sha256.Sum256(fmt.Appendf(nil, "%s\x00%s\x00%d", owner, name, n))
		if id := "g-" + hex.EncodeToString(sum[:8]); !taken[id] {
			return id
		}
	}
}
