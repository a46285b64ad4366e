package conform

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
)

// namespace is that of every UCWA document.
const namespace = "http://schemas.microsoft.com/rtc/2012/03/ucwa"

// element is an XML element.
type element struct {
	name     xml.Name
	attrs    []xml.Attr
	children []*element
	text     string
}

func (e *element) attr(name string) string {
	for _, a := range e.attrs {
		if a.Name.Space == "" && a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

func (e *element) child(name string) *element {
	for _, c := range e.children {
		if c.name.Local == name {
			return c
		}
	}
	return nil
}

// readXML reads a document.
func readXML(body []byte) (*element, error) {
	const prolog = `<?xml version="1.0" encoding="utf-8"?>`
	if !bytes.HasPrefix(body, []byte(prolog)) {
		return nil, fmt.Errorf("it does not begin with %s", prolog)
	}
	d := xml.NewDecoder(bytes.NewReader(body))
	root := &element{}
	stack := []*element{root}
	for {
		t, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return nil, err
		}
		top := stack[len(stack)-1]
		switch t := t.(type) {
		case xml.StartElement:
			e := &element{name: t.Name, attrs: t.Copy().Attr}
			top.children = append(top.children, e)
			stack = append(stack, e)
		case xml.EndElement:
			stack = stack[:len(stack)-1]
		case xml.CharData:
			top.text += string(t)
		}
	}
	if len(root.children) != 1 || strings.TrimSpace(root.text) != "" {
		return nil, errors.New("it is not one element")
	}
	return root.children[0], nil
}

// namespaceFault tells what is wrong with the namespaces of a document.
func (e *element) namespaceFault(document bool) string {
	declared := ""
	for _, a := range e.attrs {
		if a.Name.Local == "xmlns" || a.Name.Space == "xmlns" {
			declared = a.Value
		}
		if a.Name.Local == "nil" && a.Name.Space != "" {
			return "there is a nil in <" + e.name.Local + ">"
		}
	}
	switch {
	case e.name.Space != namespace:
		return fmt.Sprintf("<%s> is in the namespace %q", e.name.Local, e.name.Space)
	case document && declared != namespace:
		return fmt.Sprintf("<%s> declares the namespace %q", e.name.Local, declared)
	case !document && declared != "":
		return fmt.Sprintf("<%s> declares a namespace again", e.name.Local)
	}
	for _, c := range e.children {
		if s := c.namespaceFault(false); s != "" {
			return s
		}
	}
	return ""
}

// The stages of a resource, in their order.
const (
	stageLinks = iota
	stageProperties
	stageResources
)

// xmlNode makes a resource of an element.
func xmlNode(e *element) *node {
	n := &node{rel: e.attr("rel"), href: e.attr("href")}
	if n.rel == "" || n.href == "" {
		n.fault("identity.self", fmt.Sprintf("a resource has rel=%q and href=%q", n.rel, n.href))
	}
	stage, repeated := stageLinks, false
	for _, c := range e.children {
		at := n.readXMLChild(c, &repeated)
		if at < stage {
			n.fault("xml.order", fmt.Sprintf("<%s> of %s stands behind what comes after it", c.name.Local, n.rel))
		}
		stage = max(stage, at)
	}
	if strings.TrimSpace(e.text) != "" {
		n.fault("xml.elements", fmt.Sprintf("there is text in %s", n.rel))
	}
	if !repeated {
		n.fault("xml.rel-property", fmt.Sprintf("%s has no property rel", n.rel))
	}
	n.repeatedRels()
	return n
}

// readXMLChild reads one child of a resource and returns the stage it belongs
// to; repeated is set when it is the property rel.
func (n *node) readXMLChild(c *element, repeated *bool) int {
	switch c.name.Local {
	case "link":
		l := link{rel: c.attr("rel"), href: c.attr("href"), revision: c.attr("revision")}
		switch {
		case l.rel == "self":
			n.fault("xml.self", n.rel+" has a link self")
		case l.rel == "" || l.href == "":
			n.fault("types.link", fmt.Sprintf("a link of %s has rel=%q and href=%q", n.rel, l.rel, l.href))
		default:
			n.links = append(n.links, l)
		}
		return stageLinks
	case "property":
		name := c.attr("name")
		switch {
		case name == "" || len(c.children) > 0:
			n.fault("xml.elements", "a property of "+n.rel+" has no name, or elements in it")
		case name == "rel":
			*repeated = c.text == n.rel
		default:
			n.properties = append(n.properties, property{name: name, text: c.text})
		}
		return stageProperties
	case "propertyList":
		p := property{name: c.attr("name"), kind: kindList, list: []string{}}
		for _, item := range c.children {
			if item.name.Local != "item" || len(item.children) > 0 {
				n.fault("xml.elements", fmt.Sprintf("<%s> in the list %s of %s", item.name.Local, p.name, n.rel))
			}
			p.list = append(p.list, item.text)
		}
		n.properties = append(n.properties, p)
		return stageProperties
	case "resource":
		e := xmlNode(c)
		n.embedded = append(n.embedded, child{e.rel, e})
		return stageResources
	}
	n.fault("xml.elements", fmt.Sprintf("<%s> in %s", c.name.Local, n.rel))
	return stageResources
}

// repeatedRels finds what may be there once and is there twice.
func (n *node) repeatedRels() {
	seen := make(map[string]bool)
	once := func(what, rel string) {
		if seen[what+rel] && !multi(n.rel, rel) {
			n.fault("arrays.single", fmt.Sprintf("%s has several of the %s %s", n.rel, what, rel))
		}
		seen[what+rel] = true
	}
	for _, l := range n.links {
		once("link", l.rel)
	}
	for _, c := range n.embedded {
		once("resource", c.rel)
	}
}
