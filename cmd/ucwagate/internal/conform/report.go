package conform

import (
	"fmt"
	"io"
	"slices"
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
	line := fmt.Sprintf("%-4s %s: %s (ucwa: %s) [%s]", r.Outcome, r.Where, r.Rule.Says, r.Rule.Source, r.Rule.ID)
	switch {
	case r.Outcome == Failed && r.Failures > 1:
		line += fmt.Sprintf(": %s, and %d more", r.Seen, r.Failures-1)
	case r.Outcome != OK:
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

// Summary is the end of the report: a table of the sections with the number of
// lines that are ok, skipped and failed in all representations, then a line of
// totals.
func (r *Report) Summary() string {
	var names []string
	totals := make(map[string]map[Outcome]int)
	for i := range r.Results {
		name := r.Results[i].Section
		if totals[name] == nil {
			names, totals[name] = append(names, name), make(map[Outcome]int)
		}
		totals[name][r.Results[i].Outcome]++
	}
	var b strings.Builder
	const columns = "%-14s %6v %6v %6v\n"
	fmt.Fprintf(&b, columns, "section", OK, Skipped, Failed)
	for _, name := range names {
		fmt.Fprintf(&b, columns, name, totals[name][OK], totals[name][Skipped], totals[name][Failed])
	}
	fmt.Fprintf(&b, "%d checks: %d ok, %d skipped, %d failed", len(r.Results), r.Count(OK), r.Count(Skipped), r.Count(Failed))
	return b.String()
}

// unchecked are the skips that matter: those of rules that were checked nowhere
// else, each rule once.
func (r *Report) unchecked() (list []Result) {
	seen := make(map[string]bool)
	for i := range r.Results {
		if r.Results[i].Outcome != Skipped {
			seen[r.Results[i].Rule.ID] = true
		}
	}
	for i := range r.Results {
		if id := r.Results[i].Rule.ID; !seen[id] {
			seen[id] = true
			list = append(list, r.Results[i])
		}
	}
	return list
}

// recorder collects the results of one section after the other and prints them.
// What was told of a kind of resource once is not told again in a later section,
// unless it fails there for the first time.
type recorder struct {
	report  Report
	rules   map[string]*Rule
	only    []string
	w       io.Writer
	quiet   bool // failures only, and at the end the skips that matter
	section string
	format  Format
	began   int           // of the section, in the results
	at      map[place]int // in the results
}

// place is what a line is about.
type place struct {
	format      Format
	rule, where string
}

// begin starts a section and prints the one before it.
func (r *recorder) begin(section string, format Format) error {
	err := r.flush()
	r.section, r.format = section, format
	if r.at == nil {
		r.at = make(map[place]int)
	}
	return err
}

// flush prints the section.
func (r *recorder) flush() error {
	list := r.report.Results[r.began:]
	r.began = len(r.report.Results)
	if r.quiet {
		list = slices.DeleteFunc(slices.Clone(list), func(one Result) bool { return one.Outcome != Failed })
	}
	return r.print(fmt.Sprintf("%s, %s", r.section, r.format), list)
}

// end prints the last section, and what was kept back.
func (r *recorder) end() error {
	if err := r.flush(); err != nil || !r.quiet {
		return err
	}
	return r.print("not checked", r.report.unchecked())
}

// print writes results under a heading, or nothing if there are none.
func (r *recorder) print(heading string, list []Result) error {
	if len(list) == 0 {
		return nil
	}
	if _, err := fmt.Fprintf(r.w, "# %s\n", heading); err != nil {
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
	key := place{r.format, id, where}
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
