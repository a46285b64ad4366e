package mapping

import (
	"errors"

	"golang.org/x/text/language"
)

// phrase is a text that UCWA has no token for and that we localize ourselves.
type phrase uint8

const (
	noPhrase phrase = iota
	focusing
	office
	remote
	phraseCount
)

// cultures holds every phrase in every culture. English comes first: it is what
// any other culture gets.
var cultures = []struct {
	tag   language.Tag
	texts [phraseCount]string
}{
	{language.English, [...]string{focusing: "Focusing", office: "Office", remote: "Remote"}},
	{language.German, [...]string{focusing: "Konzentriert sich", office: "Büro", remote: "Remote"}},
	{language.French, [...]string{focusing: "Se concentre", office: "Bureau", remote: "À distance"}},
	{language.Spanish, [...]string{focusing: "Concentrándose", office: "Oficina", remote: "En remoto"}},
	{language.Italian, [...]string{focusing: "Si sta concentrando", office: "Ufficio", remote: "Da remoto"}},
	{language.Portuguese, [...]string{focusing: "Concentrando-se", office: "Escritório", remote: "Remoto"}},
	{language.Dutch, [...]string{focusing: "Concentreert zich", office: "Kantoor", remote: "Op afstand"}},
	{language.Swedish, [...]string{focusing: "Fokuserar", office: "Kontor", remote: "På distans"}},
	{language.Polish, [...]string{focusing: "W skupieniu", office: "Biuro", remote: "Zdalnie"}},
	{language.Japanese, [...]string{focusing: "フォーカス", office: "オフィス", remote: "リモート"}},
	{language.Chinese, [...]string{focusing: "专注中", office: "办公室", remote: "远程"}},
	{language.Korean, [...]string{focusing: "집중 중", office: "사무실", remote: "원격 근무"}},
}

var matcher = language.NewMatcher(Cultures())

// Cultures returns the cultures that have texts, English, the fallback, first.
func Cultures() []language.Tag {
	tags := make([]language.Tag, len(cultures))
	for i := range cultures {
		tags[i] = cultures[i].tag
	}
	return tags
}

// maxCultureName bounds a culture name in bytes. BCP 47 needs no more than 35
// for anything without extensions.
const maxCultureName = 64

// Culture returns the culture of Cultures that serves a culture name best, such
// as German for "de-AT". A name that is malformed, unknown or empty gives
// English.
func Culture(name string) language.Tag {
	if len(name) > maxCultureName {
		return cultures[0].tag
	}
	tag, err := language.Parse(name)
	var unknownSubtag language.ValueError // well formed; what was understood is in tag
	if err != nil && !errors.As(err, &unknownSubtag) {
		return cultures[0].tag
	}
	return cultures[match(tag)].tag
}

// match returns the index of the culture that serves tag.
func match(tag language.Tag) int {
	for i := range cultures {
		if cultures[i].tag == tag {
			return i
		}
	}
	_, i, confidence := matcher.Match(tag)
	if confidence == language.No {
		return 0
	}
	return i
}

func (p phrase) in(culture language.Tag) string {
	if p == noPhrase {
		return ""
	}
	return cultures[match(culture)].texts[p]
}
