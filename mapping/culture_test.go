package mapping

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"golang.org/x/text/language"
	"pgregory.net/rapid"
)

func TestCulture(t *testing.T) {
	for name, want := range map[string]language.Tag{
		"en":                               language.English,
		"en-US":                            language.English,
		"de":                               language.German,
		"de-AT":                            language.German,
		"DE-de":                            language.German,
		"de_CH":                            language.German,
		"gsw":                              language.German,
		"fr-CA":                            language.French,
		"es-419":                           language.Spanish,
		"it-IT":                            language.Italian,
		"pt-BR":                            language.Portuguese,
		"pt-PT":                            language.Portuguese,
		"nl-BE":                            language.Dutch,
		"sv-SE":                            language.Swedish,
		"pl-PL":                            language.Polish,
		"ja-JP":                            language.Japanese,
		"zh-CN":                            language.Chinese,
		"zh-Hans-SG":                       language.Chinese,
		"zh-TW":                            language.Chinese,
		"ko-KR":                            language.Korean,
		"":                                 language.English,
		"und":                              language.English,
		"cy-GB":                            language.English,
		"ru-RU":                            language.English,
		"tlh":                              language.English,
		"*":                                language.English,
		"de-$$$":                           language.English,
		"not a name":                       language.English,
		strings.Repeat("de-", 1000) + "de": language.English,
	} {
		t.Run("culture "+name[:min(len(name), 20)], func(t *testing.T) {
			require.Equal(t, want, Culture(name))
		})
	}
}

func TestCultureIsAlwaysOneOfOurs(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		require.Contains(t, Cultures(), Culture(rapid.String().Draw(t, "name")))
	})
}

func FuzzCulture(f *testing.F) {
	for _, seed := range []string{"", "en", "de-AT", "zh-CHS", "x-private", "de-u-co-phonebk", "i-klingon", "\xff"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, name string) { require.Contains(t, Cultures(), Culture(name)) })
}

func TestEveryPhraseHasATextInEveryCulture(t *testing.T) {
	require.Len(t, cultures, 12)
	require.Equal(t, language.English, cultures[0].tag)
	for _, c := range cultures {
		for p := focusing; p < phraseCount; p++ {
			text := p.in(c.tag)
			require.NotEmpty(t, text, "phrase %d in %s", p, c.tag)
			require.Equal(t, strings.TrimSpace(text), text)
			require.LessOrEqual(t, len([]rune(text)), 60, "UCWA allows a location 60 characters")
		}
	}
}

func TestTextsFollowTheCulture(t *testing.T) {
	c := Translate(Presence{Availability: "DoNotDisturb", Activity: "Focusing", WorkLocation: "office"}, Options{})
	require.Equal(t, "Konzentriert sich", c.Activity.In(language.German))
	require.Equal(t, "Konzentriert sich", c.Activity.In(language.MustParse("de-CH")), "a culture that was not matched before")
	require.Equal(t, "Büro", c.Location.In(language.German))
	require.Equal(t, "사무실", c.Location.In(language.Korean))
	require.Equal(t, "Focusing", c.Activity.In(language.MustParse("cy")))
	require.Equal(t, "Focusing", c.Activity.In(language.Und))
	token := Translate(Presence{Activity: "InACall"}, Options{}).Activity
	require.Equal(t, "on-the-phone", token.In(language.German), "clients localize tokens themselves")
	require.Empty(t, Activity{}.In(language.German))
	require.Empty(t, Location{}.In(language.German))
}
