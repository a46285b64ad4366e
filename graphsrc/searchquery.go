package graphsrc

import (
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"
)

const (
	// maxQuery is the longest text that is searched, in bytes; nobody has a
	// longer name or address.
	maxQuery = 1024
	// maxFound is the most that a search returns.
	maxFound = 500
	// maxWords is how many words Graph is asked for; more are compared here.
	maxWords = 8
	// minDigits is how many digits make a text a phone number.
	minDigits = 3
	// minInternational is how many digits a number with a country code has at
	// least.
	minInternational = 7
)

// query is a SearchQuery as it is carried out. What is compared is folded,
// what Graph is asked is in lower case only: how it compares is its own affair.
type query struct {
	limit int

	address string // the text is this whole address

	name   string   // " ana lopez": the words of the text
	words  []string // " ana", " lopez": each begins a word of the name
	begins string   // an address may begin with it; empty: none does
	typed  []string // the words for Graph
	typing string   // begins for Graph

	digits string // of a phone number
	core   string // digits without leading zeros
	number string // as typed

	mail      string // begins a mail address
	typedMail string // mail for Graph

	traits [2]traits // somebody who matches has all of the first, or of the second
	strict bool      // Graph is asked for less than is wanted: compare here too
}

// parseQuery reads a query; false if there is nothing to search for.
func parseQuery(q SearchQuery) (*query, bool) {
	p := &query{limit: min(max(q.Limit, 1), maxFound)}
	if len(q.Text) > maxQuery || len(q.Mail) > maxQuery {
		return p, false
	}
	text, mail := plain(q.Text), plain(q.Mail)
	if mail != "" && !p.parseMail(mail) {
		return p, false
	}
	if text != "" && !p.parseText(text) {
		return p, false
	}
	if text == "" && mail == "" {
		return p, false
	}
	p.setTraits()
	return p, true
}

// plain is text without what nobody types: broken encoding and control characters.
func plain(s string) string {
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == utf8.RuneError || unicode.IsControl(r) {
			return ' '
		}
		return r
	}, s))
}

func (p *query) parseMail(mail string) bool {
	for _, scheme := range []string{"mailto:", "smtp:", "sip:"} {
		mail, _ = cutScheme(mail, scheme)
	}
	if !addressable(mail) {
		return false
	}
	p.typedMail = strings.ToLower(norm.NFC.String(mail))
	p.mail = foldAddress(p.typedMail)
	return p.mail != "" // not only of marks
}

func (p *query) parseText(text string) bool {
	if p.parseNumber(text) {
		p.strict = true // the directory's spelling of numbers is not known: Graph is asked for more
		return true
	}
	text, _ = cutScheme(text, "sip:")
	text = strings.ToLower(norm.NFC.String(strings.TrimSpace(text)))
	if a, ok := normalizeAddress(text); ok && p.mail == "" {
		p.address = a
	}
	for _, w := range wordsOf(fold(text)) {
		p.name += " " + w
		if w = " " + w; !slices.Contains(p.words, w) {
			p.words = append(p.words, w)
		}
	}
	for _, w := range wordsOf(text) {
		if !slices.Contains(p.typed, w) {
			p.typed = append(p.typed, w)
		}
	}
	if begins := foldAddress(text); addressable(text) && begins != "" {
		p.typing, p.begins = text, begins
	}
	if len(p.typed) > maxWords {
		p.typed, p.strict = p.typed[:maxWords], true
	}
	p.strict = p.strict || p.mail != ""
	return len(p.words) > 0 && len(p.typed) > 0
}

// parseNumber recognizes a phone number: at least three digits among nothing
// but what phone numbers are written with.
func (p *query) parseNumber(text string) bool {
	text, _ = cutScheme(text, "tel:")
	text = strings.TrimSpace(text)
	for _, r := range text {
		if (r < '0' || r > '9') && !strings.ContainsRune("+()-./", r) && !unicode.IsSpace(r) {
			return false
		}
	}
	digits := digitsOf(text)
	if len(digits) < minDigits {
		return false
	}
	p.number, p.digits, p.core = text, digits, digits
	if core := strings.TrimLeft(digits, "0"); len(core) >= minDigits {
		p.core = core
	}
	return true
}

// addressable says whether an address may begin with a text.
func addressable(s string) bool {
	named := false
	for _, r := range s {
		if r != '@' && !localRune(r) {
			return false
		}
		named = named || wordRune(r)
	}
	return named && len(s) <= maxAddress && strings.Count(s, "@") <= 1
}

func (p *query) setTraits() {
	var t traits
	for _, w := range p.words {
		t.begins |= beginning(w[1:])
	}
	t.phones = triples(p.core)
	t.begins |= beginning(p.mail)
	p.traits = [2]traits{t, t}
	if p.begins != "" {
		p.traits[1].begins = beginning(p.begins) | beginning(p.mail)
	}
}

// may says whether a text with these traits can match.
func (p *query) may(t traits) bool {
	for i := range p.traits {
		want := &p.traits[i]
		if t.begins&want.begins == want.begins && t.phones&want.phones == want.phones {
			return true
		}
	}
	return false
}

// Ranks of what is found, best first.
const (
	rankExact  = iota // the name or an address is what was looked for
	rankPrefix        // it begins with it
	rankInside        // each word begins a word of the name; a number is in a number
	rankGraphs        // nothing that is known here, but Graph found it
)

// rank compares a text with the query; rankGraphs if it does not match.
func (p *query) rank(text string) int {
	rank := rankGraphs
	if p.digits != "" {
		rank = p.rankNumber(text)
	} else if p.name != "" {
		rank = p.rankName(text)
	}
	if p.mail == "" {
		return rank
	}
	mail := rankPart(text, markMail, p.mail)
	if p.digits == "" && p.name == "" {
		return mail
	}
	return max(rank, mail)
}

func (p *query) rankName(text string) int {
	rank := rankInside
	for _, w := range p.words {
		if !strings.Contains(text, w) {
			rank = rankGraphs
			break
		}
	}
	if rank == rankInside && strings.HasPrefix(text, p.name) {
		rank = rankPrefix
		if text[len(p.name)] < ' ' {
			return rankExact
		}
	}
	if p.begins != "" {
		rank = min(rank, rankPart(text, markMail, p.begins), rankPart(text, markOther, p.begins))
	}
	return rank
}

// rankPart compares the parts of a text that follow a mark.
func rankPart(text, mark, begins string) int {
	rank := rankGraphs
	needle := mark + begins
	for {
		i := strings.Index(text, needle)
		if i < 0 {
			return rank
		}
		text = text[i+len(needle):]
		if text[0] < ' ' {
			return rankExact
		}
		rank = rankPrefix
	}
}

func (p *query) rankNumber(text string) int {
	i := strings.Index(text, markPhone)
	if i < 0 {
		return rankGraphs
	}
	numbers := text[i:]
	switch {
	case rankPart(numbers, markPhone, p.digits) == rankExact:
		return rankExact
	case strings.Contains(numbers, p.digits):
		return rankPrefix
	case strings.Contains(numbers, p.core):
		return rankInside
	}
	return rankGraphs
}

// userSearch is what Graph is asked for users: a $filter or a $search.
func (p *query) userSearch() (expression string, filter bool) {
	switch {
	case p.mail != "":
		m := quote(p.typedMail)
		return "startsWith(mail," + m + ")" +
			" or otherMails/any(m:startsWith(m," + m + "))" +
			" or proxyAddresses/any(p:startsWith(p," + quote("smtp:"+p.typedMail) + "))" +
			" or proxyAddresses/any(p:startsWith(p," + quote("SMTP:"+p.typedMail) + "))", true
	case p.digits != "":
		var filters []string
		for _, n := range p.spellings() {
			filters = append(filters,
				"businessPhones/any(b:startsWith(b,"+quote(n)+"))", "startsWith(mobilePhone,"+quote(n)+")")
		}
		return strings.Join(filters, " or "), true
	}
	return p.search("mail", "userPrincipalName"), false
}

// spellings are what the number may begin with in the directory, which keeps
// numbers as people have typed them: as it was typed here, in digits alone, or
// with a space after the country code, of whichever length that is.
func (p *query) spellings() []string {
	list := []string{p.number, "+" + p.core}
	if p.number == "+"+p.core {
		list = list[1:]
	}
	for code := 1; code <= 3 && len(p.core) >= minInternational; code++ {
		list = append(list, "+"+p.core[:code]+" "+p.core[code:code+2])
	}
	return list
}

// groupSearch is the $search for groups; empty: none can match.
func (p *query) groupSearch() string {
	switch {
	case p.digits != "":
		return ""
	case p.mail != "":
		return clause("mail", p.typedMail)
	}
	return p.search("mail")
}

// search is a $search for the words of a name or for an address that begins
// like the text. It never mixes AND with OR, whose precedence is not documented.
func (p *query) search(addresses ...string) string {
	if p.typing == "" {
		clauses := make([]string, len(p.typed))
		for i, w := range p.typed {
			clauses[i] = clause("displayName", w)
		}
		return strings.Join(clauses, " AND ")
	}
	// Graph parts the words of one clause and wants all of them.
	expression := clause("displayName", strings.Join(p.typed, " "))
	for _, property := range addresses {
		expression += " OR " + clause(property, p.typing)
	}
	return expression
}

// clause writes one clause of a $search: in double quotes, in which a quote and
// a backslash are escaped.
//
// Source: https://learn.microsoft.com/en-us/graph/search-query-parameter
func clause(property, value string) string {
	return `"` + property + ":" + escapeClause.Replace(plain(value)) + `"`
}

var escapeClause = strings.NewReplacer(`\`, `\\`, `"`, `\"`)
