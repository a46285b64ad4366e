package promtest

import (
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"ucwagate/cmd/ucwagate/internal/metrics"
)

// selector is a metric in an expression.
type selector struct {
	name   string
	labels []string // that it is selected by
	within string   // the function of which it is the first argument
}

// expression is what an expression of PromQL names.
type expression struct {
	selectors []selector
	grouped   []string // labels of by, on and their like
	kept      []string // labels that its result has
}

var (
	textInExpr     = regexp.MustCompile(`"[^"]*"`)
	groupingInExpr = regexp.MustCompile(`\b(by|on|without|ignoring|group_left|group_right)\s*\(([^)]*)\)`)
	rangeInExpr    = regexp.MustCompile(`\[[^\]]*\]`)
	wordInExpr     = regexp.MustCompile(`[a-zA-Z_][a-zA-Z0-9_]*|[0-9.]+(?:e[0-9]+)?|\{[^}]*\}|[^\s]`)
	labelInExpr    = regexp.MustCompile(`([a-z_]+)\s*(?:=~|!~|!=|=)`)
	wordsOfPromQL  = strings.Fields("and or unless bool offset by on")
)

// read finds the metrics and labels of an expression. It is no parser, which
// promtool is: what that accepts is taken apart rightly here as long as labels
// hold no quotation marks or braces.
func read(expr string) (e expression) {
	expr = textInExpr.ReplaceAllString(expr, "")
	for _, g := range groupingInExpr.FindAllStringSubmatch(expr, -1) {
		names := strings.FieldsFunc(g[2], func(r rune) bool { return r == ',' || r == ' ' })
		e.grouped = append(e.grouped, names...)
		if g[1] == "by" {
			e.kept = append(e.kept, names...)
		}
	}
	aggregated := groupingInExpr.MatchString(expr)
	expr = rangeInExpr.ReplaceAllString(groupingInExpr.ReplaceAllString(expr, ""), "")
	words := append([]string{"", ""}, wordInExpr.FindAllString(expr, -1)...)
	words = append(words, "")
	for i, word := range words[:len(words)-1] {
		next := words[i+1]
		if word == "" || !isLetter(word[0]) || next == "(" || slices.Contains(wordsOfPromQL, word) {
			continue // what stands before a parenthesis is a function
		}
		within := ""
		if words[i-1] == "(" {
			within = words[i-2]
		}
		e.add(word, next, within)
	}
	if !aggregated {
		for _, s := range e.selectors {
			e.kept = append(e.kept, familyOf(s.name).Labels...)
		}
		e.kept = append(e.kept, "job", "instance")
	}
	return e
}

func isLetter(c byte) bool { return c >= 'a' && c <= 'z' }

func (e *expression) add(name, labels, within string) {
	s := selector{name: name, within: within}
	if !strings.HasPrefix(labels, "{") {
		labels = ""
	}
	for _, m := range labelInExpr.FindAllStringSubmatch(labels, -1) {
		s.labels = append(s.labels, m[1])
	}
	e.selectors = append(e.selectors, s)
}

// familyOf returns the metric that a name belongs to; that of a histogram's
// bucket has the label le. The name is empty if there is none.
func familyOf(name string) metrics.Family {
	for _, f := range metrics.Families() {
		if f.Type != "histogram" {
			if f.Name == name {
				return f
			}
			continue
		}
		for _, suffix := range []string{"_bucket", "_sum", "_count"} {
			if f.Name+suffix == name {
				if suffix == "_bucket" {
					f.Labels = append(slices.Clone(f.Labels), "le")
				}
				return f
			}
		}
	}
	return metrics.Family{}
}

// foreign are the metrics that are not the gateway's own, each with its labels
// besides job and instance. A Prometheus shows that they are there.
var foreign = map[string][]string{
	"up": nil, "process_start_time_seconds": nil, "process_resident_memory_bytes": nil, "process_cpu_seconds_total": nil,
	"process_open_fds": nil, "process_max_fds": nil, "go_goroutines": nil, "go_gc_gomemlimit_bytes": nil, "go_memstats_heap_inuse_bytes": nil,
}

// wrongIn says what an expression names that is not there, or reads in a way
// that means nothing.
func wrongIn(expr string) (wrong []string) {
	e := read(expr)
	known := []string{"job", "instance"}
	for _, s := range e.selectors {
		has, ok := foreign[s.name]
		if !ok {
			f := familyOf(s.name)
			if f.Name == "" {
				wrong = append(wrong, "there is no metric "+s.name)
				continue
			}
			has = f.Labels
			// Ages known now are a snapshot; every other bucket and counter only
			// means something by its rise.
			counts := f.Type == "counter" || f.Type == "histogram" && f.Name != "ucwagate_presence_age_known_seconds"
			if rises := s.within == "rate" || s.within == "increase"; counts != rises {
				wrong = append(wrong, s.name+" is a "+f.Type+" and stands within "+s.within)
			}
		}
		known = append(known, has...)
		for _, label := range s.labels {
			if label != "job" && label != "instance" && !slices.Contains(has, label) {
				wrong = append(wrong, s.name+" has no label "+label)
			}
		}
	}
	for _, label := range e.grouped {
		if !slices.Contains(known, label) {
			wrong = append(wrong, "nothing has the label "+label)
		}
	}
	if len(e.selectors) == 0 {
		wrong = append(wrong, "it names no metric")
	}
	return wrong
}

func TestEveryMetricOfAnAlertIsThere(t *testing.T) {
	for _, r := range alerts(t).all() {
		require.Empty(t, wrongIn(r.Expr), r.Alert)
	}
}

func TestEveryMetricOfThePanelsIsThere(t *testing.T) {
	for _, p := range dashboard(t).Panels {
		for _, target := range p.Targets {
			require.Empty(t, wrongIn(target.Expr), "%s: %s", p.Title, target.Expr)
		}
	}
}

func TestWhatIsWrongInAnExpressionIsFound(t *testing.T) {
	for expr, wrong := range map[string]string{
		`ucwagate_parked_pget`:                                             "there is no metric ucwagate_parked_pget",
		`sum by (tenant) (ucwagate_parked_pgets)`:                          "nothing has the label tenant",
		`ucwagate_parked_pgets{tenant="contoso"}`:                          "ucwagate_parked_pgets has no label tenant",
		`ucwagate_signins_total > 5`:                                       "ucwagate_signins_total is a counter and stands within ",
		`rate(ucwagate_applications[5m])`:                                  "ucwagate_applications is a gauge and stands within rate",
		`histogram_quantile(0.9, rate(ucwagate_wake_latency_seconds[5m]))`: "there is no metric ucwagate_wake_latency_seconds",
		`histogram_quantile(0.9, sum by (le, route) (rate(ucwagate_wake_latency_seconds_bucket[5m])))`:         "nothing has the label route",
		`up == 1 and on (job, tier) sum by (job, tenant) (increase(ucwagate_graph_answers_total[$__range]))`:   "nothing has the label tier",
		`max(ucwagate_graph_budget_tokens{tenant=~"$tenant"} + ucwagate_graph_budget_token{job=~"$instance"})`: "there is no metric ucwagate_graph_budget_token",
		`vector(1)`: "it names no metric",
	} {
		require.Equal(t, []string{wrong}, wrongIn(expr), expr)
	}
}
