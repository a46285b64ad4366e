package scale

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// Sizes and ReadRates are what the documented table covers, in its order.
var (
	Sizes     = []int{1_000, 10_000, 100_000, 1_000_000}
	ReadRates = []int{0, 50, 500}
)

// columns are the table's heads.
var columns = []string{
	"people watched", "reads/s", "gateway", "presences in 30 s", "age p50", "age p99",
	"read waits p99", "reads answered", "sends in worst 30 s", "429s",
}

const (
	nameBatched = "ucwagate"
	nameSingle  = "one GET each"
	noReads     = "–"
)

// cells are a result as the table shows it: rounded to what two runs agree on.
func (r Result) cells() []string {
	name, waits, answered := nameBatched, noReads, noReads
	if r.Single {
		name = nameSingle
	}
	if r.Reads > 0 {
		waits, answered = span(r.WaitP99), fmt.Sprintf("%.0f %%", 100*r.Answered)
	}
	return []string{
		thousands(r.People), thousands(r.Reads), name, thousands(rounded(r.Refreshed)), span(r.AgeP50), span(r.AgeP99),
		waits, answered, thousands(r.Worst), thousands(r.Throttled),
	}
}

// Table shows results in Markdown, aligned for those who read the text.
func Table(results []Result) string {
	rows := [][]string{columns}
	for _, r := range results {
		rows = append(rows, r.cells())
	}
	width := make([]int, len(columns))
	for _, row := range rows {
		for i, cell := range row {
			width[i] = max(width[i], utf8.RuneCountInString(cell))
		}
	}
	var b strings.Builder
	for n, row := range rows {
		for i, cell := range row {
			fmt.Fprintf(&b, "| %s%s ", strings.Repeat(" ", width[i]-utf8.RuneCountInString(cell)), cell)
		}
		b.WriteString("|\n")
		if n > 0 {
			continue
		}
		for _, w := range width {
			b.WriteString("|" + strings.Repeat("-", w+1) + ":")
		}
		b.WriteString("|\n")
	}
	return b.String()
}

// ParseTable reads a Table back, as exactly as it is written.
func ParseTable(text string) ([]Result, error) {
	var results []Result
	for n, line := range strings.Split(strings.TrimSpace(text), "\n") {
		if n < 2 {
			continue
		}
		cells := strings.Split(strings.Trim(strings.TrimSpace(line), "|"), "|")
		if len(cells) != len(columns) {
			return nil, fmt.Errorf("row %d has %d columns, not %d", n-1, len(cells), len(columns))
		}
		for i := range cells {
			cells[i] = strings.TrimSpace(cells[i])
		}
		r, err := parseCells(cells)
		if err != nil {
			return nil, fmt.Errorf("row %d: %w", n-1, err)
		}
		results = append(results, r)
	}
	return results, nil
}

func parseCells(cells []string) (r Result, err error) {
	var errs []error
	number := func(text string) int {
		n, err := strconv.Atoi(strings.ReplaceAll(text, ",", ""))
		errs = append(errs, err)
		return n
	}
	duration := func(text string) time.Duration {
		d, err := parseSpan(text)
		errs = append(errs, err)
		return d
	}
	r.People, r.Reads, r.Single = number(cells[0]), number(cells[1]), cells[2] == nameSingle
	r.Refreshed = float64(number(cells[3]))
	r.AgeP50, r.AgeP99 = duration(cells[4]), duration(cells[5])
	if cells[6] != noReads {
		r.WaitP99 = duration(cells[6])
		r.Answered = float64(number(strings.TrimSuffix(cells[7], " %"))) / 100
	}
	r.Worst, r.Throttled = number(cells[8]), number(cells[9])
	return r, errors.Join(errs...)
}

// thousands writes a number with commas.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for i := len(text) - 3; i > 0; i -= 3 {
		text = text[:i] + "," + text[i:]
	}
	return text
}

// rounded keeps three digits.
func rounded(x float64) int {
	unit := 1.0
	for x/unit >= 1000 {
		unit *= 10
	}
	return int(math.Round(x/unit) * unit)
}

// spans are the units of durations and up to which number of them they are used.
var spans = []struct {
	unit  time.Duration
	name  string
	below float64
}{
	{time.Millisecond, "ms", 999.5},
	{time.Second, "s", 119.5},
	{time.Minute, "min", 119.5},
	{time.Hour, "h", 71.5},
	{24 * time.Hour, "d", math.Inf(1)},
}

// span writes a duration with two or three digits.
func span(d time.Duration) string {
	for _, s := range spans {
		n := float64(d) / float64(s.unit)
		switch {
		case n >= s.below:
			continue
		case n < 9.95 && s.unit > time.Millisecond:
			return fmt.Sprintf("%.1f %s", n, s.name)
		}
		return fmt.Sprintf("%.0f %s", n, s.name)
	}
	return d.String()
}

func parseSpan(text string) (time.Duration, error) {
	number, unit, _ := strings.Cut(text, " ")
	n, err := strconv.ParseFloat(number, 64)
	if err != nil {
		return 0, err
	}
	for _, s := range spans {
		if s.name == unit {
			return time.Duration(n * float64(s.unit)), nil
		}
	}
	return 0, fmt.Errorf("%q has no unit", text)
}
