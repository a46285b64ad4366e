package conform

import (
	"fmt"
	"io"
	"strings"
)

// Outcome is what became of a check.
type Outcome string

// The outcomes, as they are printed.
const (
	OK      Outcome = "ok"
	Skipped Outcome = "skip"
	Failed  Outcome = "FAIL"
)

// Result is one line of a report: a rule, checked once or many times in one
// section on one kind of resource.
type Result struct {
	Section string
	Format  Format
	Rule    Rule
	// Where is the resource or step that was looked at, such as contactPresence.
	Where   string
	Outcome Outcome
	// Seen is what a failed check saw, or why one was skipped.
	Seen string
	// Failures is how many checks of the line failed; Seen is the first.
	Failures int
}

// String is the result as a line.
func (r Result) String() string {
	line := fmt.Sprintf("%-4s %s: %s (ucwa: %s)", r.Outcome, r.Where, r.Rule.Says, r.Rule.Source)
	switch {
	case r.Outcome == Failed && r.Failures > 1:
		line += fmt.Sprintf(" [%s]: %s, and %d more", r.Rule.ID, r.Seen, r.Failures-1)
	case r.Outcome == Failed:
		line += fmt.Sprintf(" [%s]: %s", r.Rule.ID, r.Seen)
	case r.Outcome == Skipped:
		line += ": " + r.Seen
	}
	return line
}

// Report is what a walk found, in the order in which it looked.
type Report struct{ Results []Result }

// Count returns how many lines have an outcome.
func (r *Report) Count(o Outcome) (n int) {
	for i := range r.Results {
		if r.Results[i].Outcome == o {
			n++
		}
	}
	return n
}

// Summary is the report's last line.
func (r *Report) Summary() string {
	return fmt.Sprintf("%d checks: %d ok, %d failed, %d skipped", len(r.Results), r.Count(OK), r.Count(Failed), r.Count(Skipped))
}

// recorder collects the results of one section after the other and prints them.
// What was told of a kind of resource once is not told again in a later section,
// unless it fails there for the first time.
type recorder struct {
	report  Report
	rules   map[string]*Rule
	only    []string
	w       io.Writer
	section string
	format  Format
	began   int            // of the section, in the results
	at      map[string]int // format, rule and place → result
}

// begin starts a section and prints the one before it.
func (r *recorder) begin(section string, format Format) error {
	err := r.flush()
	r.section, r.format = section, format
	if r.at == nil {
		r.at = make(map[string]int)
	}
	return err
}

// flush prints the section.
func (r *recorder) flush() error {
	list := r.report.Results[r.began:]
	r.began = len(r.report.Results)
	if len(list) == 0 {
		return nil
	}
	if _, err := fmt.Fprintf(r.w, "# %s, %s\n", r.section, r.format); err != nil {
		return fmt.Errorf("printing the report: %w", err)
	}
	for _, result := range list {
		if _, err := fmt.Fprintln(r.w, result); err != nil {
			return fmt.Errorf("printing the report: %w", err)
		}
	}
	return nil
}

// wanted says whether a rule is to be reported.
func (r *recorder) wanted(rule *Rule) bool {
	if len(r.only) == 0 {
		return true
	}
	for _, o := range r.only {
		if strings.EqualFold(o, string(rule.Class)) || strings.EqualFold(o, rule.ID) || strings.EqualFold(o, r.section) && !r.isClass(o) {
			return true
		}
	}
	return false
}

// isClass says whether a name is that of a class; most sections bear the name of
// one, and then the class is meant.
func (r *recorder) isClass(name string) bool {
	for _, rule := range r.rules {
		if strings.EqualFold(name, string(rule.Class)) {
			return true
		}
	}
	return false
}

// note records an outcome. A failure outweighs what was recorded before, a
// success a skip.
func (r *recorder) note(id, where string, o Outcome, seen string) {
	rule, ok := r.rules[id]
	if !ok {
		panic("conform: there is no rule " + id)
	}
	if !r.wanted(rule) {
		return
	}
	key := fmt.Sprint(r.format, "\x00", id, "\x00", where)
	i, known := r.at[key]
	if known && i < r.began && r.report.Results[i].Outcome != Failed && o != r.report.Results[i].Outcome && (o == Failed || o == OK) {
		known = false // it was printed otherwise
	}
	if !known {
		i = len(r.report.Results)
		r.at[key] = i
		r.report.Results = append(r.report.Results, Result{Section: r.section, Format: r.format, Rule: *rule, Where: where, Outcome: o, Seen: seen})
	}
	result := &r.report.Results[i]
	switch {
	case o == Failed:
		if result.Outcome != Failed || result.Failures == 0 {
			result.Outcome, result.Seen = Failed, seen
		}
		result.Failures++
	case o == OK && result.Outcome == Skipped:
		result.Outcome, result.Seen = OK, ""
	}
}
