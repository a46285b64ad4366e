package mapping

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
)

// WriteTable writes the whole translation, both ways, as aligned text made from
// the tables. This is what `ucwagate map` prints.
func WriteTable(w io.Writer) error {
	var b bytes.Buffer
	for i, s := range sections() {
		if i > 0 {
			b.WriteByte('\n')
		}
		fmt.Fprintf(&b, "%s\n%s\n\n", s.title, strings.Repeat("-", len(s.title)))
		b.WriteString(align(s.rows))
	}
	if _, err := w.Write(b.Bytes()); err != nil {
		return fmt.Errorf("writing the table: %w", err)
	}
	return nil
}

// section is one printed table; its first row is the heading.
type section struct {
	title string
	rows  [][]string
}

func sections() []section {
	return []section{
		{"How words are read", readingRows()},
		{"Rules: what decides the availability", ruleRows()},
		{"Availability: Graph to UCWA", availabilityRows()},
		{"Activity: Graph to UCWA", activityRows()},
		{"Changed availability: the pairs where an activity has a say", refinementRows()},
		{"Words in no table", shapeRows()},
		{"Note, location and the rest", partRows()},
		{"Texts", textRows()},
		{"Publishing: UCWA to Graph", publishingRows()},
	}
}

// align renders rows in columns, without trailing space.
func align(rows [][]string) string {
	var raw bytes.Buffer
	t := tabwriter.NewWriter(&raw, 0, 0, 2, ' ', 0)
	for _, row := range rows {
		fmt.Fprintln(t, strings.Join(row, "\t"))
	}
	t.Flush() // a bytes.Buffer does not fail
	lines := strings.Split(raw.String(), "\n")
	for i, line := range lines {
		lines[i] = strings.TrimRight(line, " ")
	}
	return strings.Join(lines, "\n")
}

func readingRows() [][]string {
	return [][]string{
		{"case", "does not matter, nor does space around a word"},
		{"joined", fmt.Sprintf("words of one field may be joined by any of %s; at most %d words of a person are read", separators, maxWords)},
		{"field", "any known word counts in either field; one met in the wrong field is moved to the right one,"},
		{"", "unless that has a word of its own: then each is read where it stands, its own field first"},
		{"availability", "an activity never changes a known availability, but for the pairs listed below"},
		{"activity", "a token where UCWA has one, else a text in the application's culture;"},
		{"", "left out where it names a state: it would repeat the availability or contradict it"},
		{"members", "only documented members are emitted; None only by switch"},
	}
}

func ruleRows() [][]string {
	rows := [][]string{{"RULE", "MEANING"}}
	for _, r := range rules {
		rows = append(rows, []string{r.name, r.text})
	}
	return rows
}

func availabilityRows() [][]string {
	rows := [][]string{{"GRAPH", "UCWA", "NOTE"}}
	for _, w := range words {
		if w.kind == state {
			rows = append(rows, []string{w.graph, string(w.availability), w.note})
		}
	}
	for _, w := range words {
		if w.kind != state && w.kind != silence {
			rows = append(rows, []string{w.graph, string(w.availability), "as availability, where no state word stands: moved to activity"})
		}
	}
	for _, name := range append(silent(), "null, absent") {
		rows = append(rows, []string{name, string(Offline), "by switch " + string(NoAvailability) + "; a recent good reading may be held"})
	}
	return rows
}

func activityRows() [][]string {
	rows := [][]string{{"GRAPH", "UCWA", "AVAILABILITY IF UNKNOWN", "NOTE"}}
	for _, w := range words {
		if w.kind == state {
			rows = append(rows, []string{w.graph, w.activity.describe(), string(w.availability), ""})
		}
	}
	for _, w := range words {
		if w.kind != state && w.kind != silence {
			rows = append(rows, []string{w.graph, w.activity.describe(), string(w.availability), w.note})
		}
	}
	for _, name := range append(silent(), "null, absent") {
		rows = append(rows, []string{name, Activity{}.describe(), "", ""})
	}
	return append(rows, []string{"isOutOfOffice", outOfOfficeActivity.describe(), "", "a setting, not a word: only where no other token or text stands, whatever the availability, Offline too;"},
		[]string{"", "", "", "never changes the availability; left out by the same switch as OutOfOffice"})
}

func silent() []string {
	var names []string
	for _, w := range words {
		if w.kind == silence {
			names = append(names, w.graph)
		}
	}
	return names
}

func refinementRows() [][]string {
	rows := [][]string{{"FOUND", "WITH", "BECOMES", "NOTE"}}
	for _, r := range refinements {
		rows = append(rows, []string{string(r.from), r.by, string(r.to), r.note})
	}
	return rows
}

func shapeRows() [][]string {
	rows := [][]string{{"SHAPE", "UCWA", "NOTE"}}
	for _, f := range idleForms {
		rows = append(rows, []string{"…" + idleSuffix, string(f.to), "where what precedes it means " + string(f.from)})
	}
	rows = append(rows,
		[]string{"…" + idleSuffix, "as without it", "where that has no idle form"},
		[]string{"…" + idleSuffix, string(IdleOnline), "where what precedes it says nothing"})
	for _, s := range shapes {
		ucwa := string(s.availability)
		if ucwa == "" {
			ucwa = "(none)"
		}
		rows = append(rows, []string{s.prefix + "…", ucwa, s.note})
	}
	return append(rows, []string{"any other", "(none)", "like PresenceUnknown; reported to the caller, who counts it"})
}

func partRows() [][]string {
	rows := [][]string{
		{"UCWA", "VALUE", "FROM"},
		{"deviceType", DeviceType, "Graph does not tell"},
		{"lastActive", "time", "last time seen Available, Busy or DoNotDisturb and not idle; left out until known"},
		{"contactNote", string(OutOfOffice), "out of office, by word or setting, and outOfOfficeSettings.message has a text"},
		{"contactNote", string(Personal), "else statusMessage.message.content, without the mark of a pinned message; else an empty text"},
	}
	for _, l := range workLocations {
		value := "(none)"
		if !l.location.IsZero() {
			value = fmt.Sprintf("the text %q", l.location.In(cultures[0].tag))
		}
		rows = append(rows, []string{"contactLocation", value, "workLocation " + l.graph})
	}
	return append(rows, []string{"contactLocation", "text", "where workLocation gives none: officeLocation of the directory, else empty"})
}

func textRows() [][]string {
	rows := [][]string{{"CULTURE", "FOCUSING", "OFFICE", "REMOTE"}}
	for _, c := range cultures {
		rows = append(rows, append([]string{c.tag.String()}, c.texts[focusing:]...))
	}
	return append(rows, []string{"any other", "the nearest of these, else English"})
}

func publishingRows() [][]string {
	rows := [][]string{{"UCWA", "GRAPH", "AVAILABILITY/ACTIVITY", "READ BACK AS", "NOTE"}}
	for _, p := range publishings {
		method, pair, back := p.action.Method, "", ""
		if method == "" {
			method = "(nothing)"
		}
		if p.action.Availability != "" {
			pair = p.action.Availability + "/" + p.action.Activity
			c := Translate(Presence{Availability: p.action.Availability, Activity: p.action.Activity}, Options{})
			back = strings.TrimSpace(string(c.Availability) + " " + c.Activity.In(cultures[0].tag))
		}
		rows = append(rows, []string{p.ucwa, method, pair, back, p.note})
	}
	return rows
}
