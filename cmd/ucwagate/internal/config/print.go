package config

import (
	"fmt"
	"io"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// Print writes the configuration that is in effect as YAML, every option on a
// line of its own with the origin of its value behind it:
//
//	server:
//	  listen: 127.0.0.1:8080   # default
//
// Secrets that are set are masked; the rest can be loaded again.
func (l *Loaded) Print(w io.Writer) error {
	p := printer{origins: l.origins}
	p.section(newSchema(), reflect.ValueOf(l.Config), "", "", "")
	width := 0
	for _, line := range p.lines {
		if n := utf8.RuneCountInString(line.text); line.origin != "" && n <= widest {
			width = max(width, n)
		}
	}
	for _, line := range p.lines {
		text := line.text
		if line.origin != "" {
			pad := max(0, width-utf8.RuneCountInString(text))
			text += strings.Repeat(" ", pad) + "   # " + line.origin
		}
		if _, err := io.WriteString(w, text+"\n"); err != nil {
			return fmt.Errorf("printing the configuration: %w", err)
		}
	}
	return nil
}

// widest is the longest line, in characters, that moves the column of origins.
const widest = 64

type printedLine struct{ text, origin string }

type printer struct {
	origins map[string]Origin
	lines   []printedLine
}

// section prints the fields of a struct. The first line begins with lead, the
// others with indent: that makes the hyphen of a list.
func (p *printer) section(fields []*field, v reflect.Value, path, lead, indent string) {
	for _, f := range fields {
		fv, at := v.Field(f.index), join(path, f.name)
		head := lead + f.name + ":"
		lead = indent
		switch {
		case f.option != nil:
			p.lines = append(p.lines, printedLine{head + " " + printValue(fv), inline(p.origins[at].String())})
		case f.entries && fv.Len() == 0:
			p.lines = append(p.lines, printedLine{text: head + " []", origin: Origin{}.String()})
		case f.entries:
			p.lines = append(p.lines, printedLine{text: head})
			for i := range fv.Len() {
				p.section(f.fields, fv.Index(i), join(at, strconv.Itoa(i)), indent+"  - ", indent+"    ")
			}
		default:
			p.lines = append(p.lines, printedLine{text: head})
			p.section(f.fields, fv, at, indent+"  ", indent+"  ")
		}
	}
}

// printValue writes a value as YAML on one line.
func printValue(v reflect.Value) string {
	if v.Kind() == reflect.Slice {
		texts := make([]string, v.Len())
		for i := range texts {
			texts[i] = printValue(v.Index(i))
		}
		return "[" + strings.Join(texts, ", ") + "]"
	}
	if secret, ok := v.Interface().(Secret); ok {
		return strconv.Quote(secret.String())
	}
	text, _ := formatValue(v).(string)
	switch v.Kind() {
	case reflect.Bool, reflect.Int, reflect.Float64:
		return text
	default:
		return printText(text)
	}
}

var bareText = regexp.MustCompile(`^[A-Za-z0-9/]([A-Za-z0-9_./:@+-]*[A-Za-z0-9_/])?$`)

// printText quotes what YAML would read as something else than a text.
func printText(text string) string {
	scalar := yaml.Node{Kind: yaml.ScalarNode, Value: text}
	if bareText.MatchString(text) && scalar.ShortTag() == "!!str" {
		return text
	}
	return strconv.Quote(text)
}

// inline keeps the path of a file on the line of its comment.
func inline(text string) string {
	if quoted := strconv.Quote(text); quoted[1:len(quoted)-1] != text {
		return quoted
	}
	return text
}
