package contactfile

import (
	"bytes"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// entry is one owner's part of a document while it is changed. Node i of the
// groups' list is group i of the List, as the reader drops none.
type entry struct {
	List               // before the change
	section *yaml.Node // the owner's mapping
}

// edit changes the lists of one owner, which lists has as they are in d, and
// returns the new text and lists; the text is nil if nothing changed. After an
// error d is good for nothing.
func (d *document) edit(path string, lists map[string]List, owner string, change func(*entry) error) ([]byte, map[string]List, error) {
	e := &entry{List: lists[owner], section: d.section(owner)}
	e.writeIDs()
	if err := change(e); err != nil {
		return nil, nil, err
	}
	r := &reader{}
	after := r.contents(d.root)
	if len(r.problems) > 0 {
		return nil, nil, fmt.Errorf("the change would leave the file wrong: %w", &FileError{Path: path, Problems: r.problems})
	}
	if reflect.DeepEqual(after, lists) {
		return nil, lists, nil
	}
	text, err := d.text(path, after)
	return text, after, err
}

// text writes the document and makes sure that what was written means lists.
// The library moves comments by rules of its own, and some that a person may
// write make it write another document or none; there the lists go before the
// comments.
func (d *document) text(path string, lists map[string]List) ([]byte, error) {
	text, err := d.encode()
	if errors.Is(err, ErrFull) || err == nil && means(path, text, lists) {
		return text, err
	}
	d.preamble = nil
	simplify(d.root)
	text, err = d.encode()
	if err == nil && !means(path, text, lists) {
		err = fmt.Errorf("%s cannot be written back as it is; write it in a simpler style", path)
	}
	return text, err
}

func means(path string, text []byte, lists map[string]List) bool {
	_, written, err := parse(path, text)
	return err == nil && reflect.DeepEqual(written, lists)
}

func (d *document) encode() ([]byte, error) {
	var b bytes.Buffer
	if b.Write(d.preamble); len(d.preamble) > 0 && d.preamble[len(d.preamble)-1] != '\n' {
		b.WriteByte('\n')
	}
	nameNulls(d.root, false)
	encoder := yaml.NewEncoder(&b)
	encoder.SetIndent(2)
	if err := encoder.Encode(d.root); err != nil {
		return nil, fmt.Errorf("writing YAML: %w", err)
	}
	if err := encoder.Close(); err != nil {
		return nil, fmt.Errorf("writing YAML: %w", err)
	}
	if b.Len() > maxSize {
		return nil, ErrFull
	}
	return b.Bytes(), nil
}

// simplify drops comments and styles.
func simplify(node *yaml.Node) {
	node.HeadComment, node.LineComment, node.FootComment, node.Style = "", "", "", 0
	for _, child := range node.Content {
		simplify(child)
	}
}

// nameNulls writes the empty values within braces as null: the library leaves
// no space between a key without a value and the comma, which then becomes
// part of the key.
func nameNulls(node *yaml.Node, within bool) {
	within = within || node.Style&yaml.FlowStyle != 0
	if within && isNull(node) {
		node.Value = "null"
	}
	for _, child := range node.Content {
		nameNulls(child, within)
	}
}

// section returns the mapping of owner, made if it is missing.
func (d *document) section(owner string) *yaml.Node {
	if len(d.root.Content) == 0 {
		d.root.Content = []*yaml.Node{{Kind: yaml.MappingNode}}
	}
	top := d.root.Content[0]
	become(top, yaml.MappingNode)
	owners := child(top, keyContacts, yaml.MappingNode)
	for i := 0; i+1 < len(owners.Content); i += 2 {
		if clean, err := address("owner", owners.Content[i].Value); err == nil && clean == owner {
			become(owners.Content[i+1], yaml.MappingNode)
			return owners.Content[i+1]
		}
	}
	return child(owners, owner, yaml.MappingNode)
}

// writeIDs writes down the ids that were derived, so that they outlive the
// names they come from.
func (e *entry) writeIDs() {
	for i, g := range e.Groups {
		node := e.groupNode(i)
		if id := find(node, keyID); id == nil || isNull(id) {
			set(node, keyID, g.ID)
		}
	}
}

func (e *entry) groupNode(i int) *yaml.Node { return find(e.section, keyGroups).Content[i] }

// groupIndex finds a group by its id in any letter case, as some clients
// change the case of paths.
func (e *entry) groupIndex(id string) (int, error) {
	i := slices.IndexFunc(e.Groups, func(g Group) bool { return strings.EqualFold(g.ID, id) })
	if i < 0 {
		return 0, fmt.Errorf("group %q: %w", id, ErrNotFound)
	}
	return i, nil
}

// members returns the addresses of a group, and where its node has them.
func (e *entry) members(id string) (addresses []string, section *yaml.Node, key string, err error) {
	switch {
	case strings.EqualFold(id, Pinned):
		return e.Pinned, e.section, keyPinned, nil
	case strings.EqualFold(id, Default):
		return e.Others, e.section, keyOthers, nil
	}
	i, err := e.groupIndex(id)
	if err != nil {
		return nil, nil, "", err
	}
	return e.Groups[i].Members, e.groupNode(i), keyMembers, nil
}

// contacts returns the distinct contacts of the owner.
func (e *entry) contacts() map[string]bool {
	all := map[string]bool{}
	add := func(addresses []string) {
		for _, a := range addresses {
			all[a] = true
		}
	}
	add(e.Pinned)
	add(e.Others)
	for _, g := range e.Groups {
		add(g.Members)
	}
	return all
}

// find returns the value of a key, nil if there is none.
func find(section *yaml.Node, key string) *yaml.Node {
	_, value := pair(section, key)
	return value
}

func pair(section *yaml.Node, key string) (k, v *yaml.Node) {
	for i := 0; i+1 < len(section.Content); i += 2 {
		if section.Content[i].Value == key {
			return section.Content[i], section.Content[i+1]
		}
	}
	return nil, nil
}

// child returns the value of a key as a node of kind, made if it is missing.
func child(section *yaml.Node, key string, kind yaml.Kind) *yaml.Node {
	value := find(section, key)
	if value == nil {
		value = &yaml.Node{Kind: kind}
		section.Content = append(section.Content, textNode(key), value)
	}
	become(value, kind)
	return value
}

// become makes an empty value an empty node of kind, to be written line by
// line; its comments stay.
func become(node *yaml.Node, kind yaml.Kind) {
	if len(node.Content) == 0 {
		node.Kind, node.Tag, node.Value, node.Style = kind, "", "", 0
	}
}

// set gives a key a text, in the place of the old one if there is one.
func set(section *yaml.Node, key, value string) {
	if old := find(section, key); old != nil {
		old.Kind, old.Tag, old.Value, old.Style = yaml.ScalarNode, "!!str", value, 0
		return
	}
	section.Content = append(section.Content, textNode(key), textNode(value))
}

// textNode makes a scalar that is a text whatever it looks like.
func textNode(s string) *yaml.Node { return &yaml.Node{Kind: yaml.ScalarNode, Tag: "!!str", Value: s} }

// fields makes a mapping of keys and texts.
func fields(keysAndValues ...string) *yaml.Node {
	node := &yaml.Node{Kind: yaml.MappingNode}
	for _, s := range keysAndValues {
		node.Content = append(node.Content, textNode(s))
	}
	return node
}

// remove takes the entries that match off the list at key. The comments below
// them stay, below the list: the library hands comments that stand between two
// owners to the last entry of the first.
func remove(section *yaml.Node, key string, matches func(*yaml.Node) bool) {
	k, list := pair(section, key)
	if list == nil {
		return
	}
	var below []string
	list.Content = slices.DeleteFunc(list.Content, func(entry *yaml.Node) bool {
		if !matches(entry) {
			return false
		}
		below = footComments(entry, below)
		return true
	})
	if k.FootComment != "" {
		below = append(below, k.FootComment)
	}
	k.FootComment = strings.Join(below, "\n")
}

func footComments(node *yaml.Node, comments []string) []string {
	for _, child := range node.Content {
		comments = footComments(child, comments)
	}
	if node.FootComment != "" {
		comments = append(comments, node.FootComment)
	}
	return comments
}

// is returns a test for the nodes that hold an address, which is normal.
func is(normal string) func(*yaml.Node) bool {
	return func(node *yaml.Node) bool {
		clean, err := address("address", node.Value)
		return err == nil && clean == normal
	}
}
