package people

import (
	"fmt"
	"strings"
)

// Every language has the same number of given and family names, so that a
// name is three digits of one number.
const (
	givenPerLanguage  = 16
	familyPerLanguage = 24
)

// language is a source of names. Words are separated by blanks; a word whose
// address form is not its lower-case spelling carries it after "=".
type language struct {
	tag         string // BCP 47, preferredLanguage of its people
	city        string
	country     string // ISO 3166-1 alpha-2
	familyFirst bool   // order of the display name
	given       string
	family      string
}

var languages = []language{
	{
		tag: "en-US", city: "Seattle", country: "US",
		given:  "Adele Alex Megan Nestor Grady Miriam Isaiah Lynne Henrietta Patti Diego Joni Lee Lidia Pradeep Debra",
		family: "Vance Wilber Bowen Wilke Archie Graham Langer Robbins Mullins Foster Sherman Gibson Baker Carter Cooper Hughes Palmer Parker Porter Reed Spencer Turner Walsh Young",
	},
	{
		tag: "de-DE", city: "München", country: "DE",
		given:  "Jürgen=juergen Anke Björn=bjoern Claudia Dieter Elke Friedrich Gisela Heiko Ilse Jörg=joerg Käthe=kaethe Lukas Monika Norbert Sabine",
		family: "Müller=mueller Schäfer=schaefer Weiß=weiss Großmann=grossmann Köhler=koehler Vogel Krüger=krueger Lehmann Hartmann Schröder=schroeder Zimmermann Braun Hofmann Böhm=boehm Winkler Jäger=jaeger Busch Kühn=kuehn Engel Pfeiffer Brandt Sauer Arnold Wolff",
	},
	{
		tag: "fr-FR", city: "Lyon", country: "FR",
		given:  "Amélie=amelie Benoît=benoit Céline=celine Damien Élodie=elodie François=francois Gaëlle=gaelle Hugo Inès=ines Jérôme=jerome Léa=lea Mathieu Noémie=noemie Olivier Zoé=zoe Thibault",
		family: "Lefèvre=lefevre Moreau Girard Bonnet Dupont Fontaine Rousseau Chevalier Gauthier Lacroix Mercier Besson Prévost=prevost Charpentier Marchand Renard Aubert Collet Barbier Perrin Noël=noel Boyer Meunier Guérin=guerin",
	},
	{
		tag: "es-ES", city: "Sevilla", country: "ES",
		given:  "Álvaro=alvaro Beatriz Carmen Dolores Estefanía=estefania Fermín=fermin Gonzalo Inmaculada Iñaki=inaki Jimena Lucía=lucia Martín=martin Nuria Óscar=oscar Pilar Begoña=begona",
		family: "García=garcia Núñez=nunez Muñoz=munoz Ibáñez=ibanez Castaño=castano Delgado Serrano Herrero Peña=pena Cabrera Vidal Molina Ortega Rubio Marín=marin Iglesias Medina Garrido Cortés=cortes Lozano Guerrero Cano Prieto Calvo",
	},
	{
		tag: "it-IT", city: "Torino", country: "IT",
		given:  "Alessia Bruno Chiara Davide Elisa Fabio Giulia Ivano Luca Marta Niccolò=niccolo Ornella Paolo Rosa Stefano Valentina",
		family: "Rossi Bianchi Ferrari Esposito Ricci Marino Greco Conti Lombardi Moretti Barbieri Fontana Santoro Mariani Rinaldi Caruso Ferrara Galli Martinelli Leone Longo Gentile Vitale D'Amico=damico",
	},
	{
		tag: "pt-BR", city: "São Paulo", country: "BR",
		given:  "Ana Bruna Caio Débora=debora Eduarda Fabrício=fabricio Gláucia=glaucia Heitor Isabela João=joao Letícia=leticia Murilo Natália=natalia Otávio=otavio Raíssa=raissa Thiago",
		family: "Gonçalves=goncalves Araújo=araujo Conceição=conceicao Magalhães=magalhaes Guimarães=guimaraes Assunção=assuncao Brandão=brandao Leitão=leitao Falcão=falcao Simões=simoes Antunes Barros Cardoso Duarte Esteves Figueira Macedo Nogueira Pacheco Queiroz Rezende Salgado Teixeira Vasconcelos",
	},
	{
		tag: "nl-NL", city: "Utrecht", country: "NL",
		given:  "Anouk Bram Coen Daan Eefje Floor Gijs Hanneke Ilona Joost Kees Lotte Maaike Niek Ruben Sanne",
		family: "deVries=devries Jansen Bakker Visser Smit Meijer deBoer=deboer Mulder Dekker Brouwer Kuipers Hendriks Schouten Postma Verhoeven Willems Hoekstra Koster Prins Blom Huisman Peeters Kuiper Veenstra",
	},
	{
		tag: "sv-SE", city: "Göteborg", country: "SE",
		given:  "Åsa=asa Birgitta Christer Ebba Folke Göran=goran Håkan=hakan Ingrid Jöns=jons Kerstin Lennart Märta=marta Nils Örjan=orjan Pernilla Sven",
		family: "Åkesson=akesson Öberg=oberg Sjöström=sjostrom Lindström=lindstrom Bergström=bergstrom Nordin Hallberg Ekström=ekstrom Norén=noren Lövgren=lovgren Dahlberg Engström=engstrom Forsberg Hedlund Isaksson Källström=kallstrom Lundqvist Mårtensson=martensson Nyström=nystrom Palmgren Rosén=rosen Sandberg Sundqvist Wallin",
	},
	{
		tag: "pl-PL", city: "Kraków", country: "PL",
		given:  "Agnieszka Błażej=blazej Celina Dominika Elżbieta=elzbieta Grażyna=grazyna Henryk Iwona Jacek Krystyna Łukasz=lukasz Małgorzata=malgorzata Paweł=pawel Stanisław=stanislaw Wojciech Żaneta=zaneta",
		family: "Wiśniewska=wisniewska Wójcik=wojcik Kowalczyk Zieliński=zielinski Szymański=szymanski Woźniak=wozniak Dąbrowski=dabrowski Kozłowski=kozlowski Jabłoński=jablonski Mazur Krawczyk Kaczmarek Piotrowski Grabowski Pawłowski=pawlowski Michalski Król=krol Wieczorek Jasiński=jasinski Duda Bąk=bak Sikora Wróbel=wrobel Głowacki=glowacki",
	},
	{
		tag: "ja-JP", city: "東京", country: "JP", familyFirst: true,
		given:  "陽翔=haruto 結衣=yui 蓮=ren 葵=aoi 大和=yamato 咲良=sakura 悠真=yuma 美月=mitsuki 颯太=sota 凛=rin 健一=kenichi 直美=naomi 拓海=takumi 恵子=keiko 翔太=shota 由紀=yuki",
		family: "佐藤=sato 鈴木=suzuki 高橋=takahashi 田中=tanaka 渡辺=watanabe 伊藤=ito 山本=yamamoto 中村=nakamura 小林=kobayashi 加藤=kato 吉田=yoshida 山田=yamada 佐々木=sasaki 山口=yamaguchi 松本=matsumoto 井上=inoue 木村=kimura 林=hayashi 清水=shimizu 斎藤=saito 森=mori 池田=ikeda 橋本=hashimoto 石川=ishikawa",
	},
	{
		tag: "uk-UA", city: "Київ", country: "UA",
		given:  "Андрій=andrii Богдана=bohdana Віктор=viktor Галина=halyna Дмитро=dmytro Євген=yevhen Жанна=zhanna Зоряна=zoriana Іван=ivan Катерина=kateryna Леся=lesia Максим=maksym Наталія=nataliia Олексій=oleksii Роман=roman Юлія=yuliia",
		family: "Бондаренко=bondarenko Вовк=vovk Гончар=honchar Гриценко=hrytsenko Дорошенко=doroshenko Захарченко=zakharchenko Іваненко=ivanenko Коваль=koval Кравчук=kravchuk Лисенко=lysenko Мельник=melnyk Мороз=moroz Олійник=oliinyk Павленко=pavlenko Петренко=petrenko Поліщук=polishchuk Романюк=romaniuk Савченко=savchenko Ткаченко=tkachenko Федоренко=fedorenko Шевченко=shevchenko Шульга=shulha Юрченко=yurchenko Яковенко=yakovenko",
	},
	{
		tag: "ko-KR", city: "서울", country: "KR", familyFirst: true,
		given:  "민준=minjun 서연=seoyeon 도윤=doyun 지우=jiwoo 하은=haeun 예준=yejun 수빈=subin 지훈=jihoon 은지=eunji 현우=hyunwoo 유진=yujin 성민=sungmin 미영=miyoung 동현=donghyun 소희=sohee 태양=taeyang",
		family: "김=kim 이=yi 박=pak 최=choe 정=jeong 강=kang 조=jo 윤=yoon 장=jang 임=lim 한=han 오=oh 서=seo 신=shin 권=kwon 황=hwang 안=ahn 송=song 류=ryu 전=jeon 홍=hong 고=ko 문=moon 양=yang",
	},
}

// name is a word as it is displayed and as it stands in an address.
type name struct{ display, address string }

// nameBook is the parsed form of the language table. Family names are unique
// over all languages and given names within one, so an address leads back to
// exactly one pair.
type nameBook struct {
	given, family [][]name
	givenAt       []map[string]int
	familyAt      map[string]familyPlace
}

type familyPlace struct{ language, number int }

// size is the number of different names.
func (b *nameBook) size() int { return len(b.given) * givenPerLanguage * familyPerLanguage }

func newNameBook() (*nameBook, error) {
	b := &nameBook{familyAt: make(map[string]familyPlace)}
	for l, lang := range languages {
		given, family := parseNames(lang.given), parseNames(lang.family)
		if len(given) != givenPerLanguage || len(family) != familyPerLanguage {
			return nil, fmt.Errorf("names of %s: %d given and %d family names instead of %d and %d",
				lang.tag, len(given), len(family), givenPerLanguage, familyPerLanguage)
		}
		at := make(map[string]int, len(given))
		for i, n := range given {
			if _, taken := at[n.address]; taken {
				return nil, fmt.Errorf("names of %s: given name %q twice", lang.tag, n.address)
			}
			at[n.address] = i
		}
		for i, n := range family {
			if _, taken := b.familyAt[n.address]; taken {
				return nil, fmt.Errorf("names of %s: family name %q twice", lang.tag, n.address)
			}
			b.familyAt[n.address] = familyPlace{l, i}
		}
		b.given, b.family, b.givenAt = append(b.given, given), append(b.family, family), append(b.givenAt, at)
	}
	return b, nil
}

func parseNames(words string) []name {
	var names []name
	for word := range strings.FieldsSeq(words) {
		display, address, spelled := strings.Cut(word, "=")
		if !spelled {
			address = strings.ToLower(display)
		}
		names = append(names, name{display, address})
	}
	return names
}

// at splits a pair number into its language, given and family name numbers.
func (b *nameBook) at(pair int) (lang, given, family int) {
	return pair / (givenPerLanguage * familyPerLanguage),
		pair / familyPerLanguage % givenPerLanguage,
		pair % familyPerLanguage
}

// find is the reverse of at for names as they stand in addresses.
func (b *nameBook) find(given, family string) (pair int, ok bool) {
	place, ok := b.familyAt[family]
	if !ok {
		return 0, false
	}
	g, ok := b.givenAt[place.language][given]
	if !ok {
		return 0, false
	}
	return (place.language*givenPerLanguage+g)*familyPerLanguage + place.number, true
}

var (
	departments = []string{"Sales", "Engineering", "Marketing", "Finance", "Human Resources", "Operations", "Legal", "Customer Support"}

	jobTitles = []string{
		"Account Manager", "Software Engineer", "Product Manager", "Controller", "Recruiter", "Analyst",
		"Counsel", "Support Engineer", "Designer", "Consultant", "Project Manager", "Architect", "Team Lead",
	}

	projectNames = []string{
		"Aurora", "Basalt", "Cumulus", "Delta Works", "Ember", "Fjord", "Granite", "Horizon",
		"Indigo", "Juniper", "Keystone", "Lighthouse", "Meridian", "Northwind", "Orchard", "Pioneer",
	}

	// partnerDomains are where guests and outside contacts come from; the
	// reserved top-level domains of RFC 2606 never resolve.
	partnerDomains = []string{"fabrikam.example", "northwind.example", "adatum.example", "tailspin.example"}
)
