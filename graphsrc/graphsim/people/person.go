package people

import (
	"fmt"
	"strconv"
	"strings"
)

// User is everything the directory says about a person. Empty fields are
// null in Graph.
type User struct {
	Index             int
	ID                string // object id, lower case
	DisplayName       string
	GivenName         string
	Surname           string
	UserPrincipalName string
	Mail              string
	IMAddresses       []string // usually bare, of some users with "sip:"
	ProxyAddresses    []string // "SMTP:", "smtp:", "sip:"; upper case marks the primary
	OtherMails        []string
	JobTitle          string
	Department        string
	CompanyName       string
	OfficeLocation    string
	BusinessPhones    []string
	MobilePhone       string
	PreferredLanguage string
	City              string
	Country           string
	UserType          string // "Member" or "Guest"
	CreationType      string // "Invitation" for guests
	EmployeeID        string
	AccountEnabled    bool
}

// Address is the bare address under which others reach the user: the first
// IM address, of guests the mail address of their home.
func (u User) Address() string {
	if len(u.IMAddresses) > 0 {
		return withoutScheme(u.IMAddresses[0])
	}
	return u.Mail
}

// Address is User.Address without the rest of the user.
func (p Person) Address() string {
	if p.Guest() {
		return p.Mail()
	}
	return p.sip()
}

// Person computes single properties of one user, so that a search over a
// million users does not build a million users.
type Person struct {
	d             *Directory
	index         int
	lang          int
	given, family name
	suffix        string
}

// Person is the user of that index, which must be in [0, Len).
func (d *Directory) Person(index int) Person {
	size := d.names.size()
	lang, given, family := d.names.at((d.stride*(index%size) + d.offset) % size)
	p := Person{d: d, index: index, lang: lang, given: d.names.given[lang][given], family: d.names.family[lang][family]}
	if block := index / size; block > 0 {
		p.suffix = strconv.Itoa(block + 1)
	}
	return p
}

// User assembles all properties of the user of that index.
func (d *Directory) User(index int) User {
	p := d.Person(index)
	return User{
		Index: index, ID: p.ID(), DisplayName: p.DisplayName(), GivenName: p.GivenName(), Surname: p.Surname(),
		UserPrincipalName: p.PrincipalName(), Mail: p.Mail(), IMAddresses: p.IMAddresses(),
		ProxyAddresses: p.ProxyAddresses(), OtherMails: p.OtherMails(), JobTitle: p.JobTitle(),
		Department: p.Department(), CompanyName: p.CompanyName(), OfficeLocation: p.OfficeLocation(),
		BusinessPhones: p.BusinessPhones(), MobilePhone: p.MobilePhone(), PreferredLanguage: p.PreferredLanguage(),
		City: p.City(), Country: p.Country(), UserType: p.UserType(), CreationType: p.CreationType(),
		EmployeeID: p.EmployeeID(), AccountEnabled: p.AccountEnabled(),
	}
}

// Index is the user's number in the directory.
func (p Person) Index() int { return p.index }

// ID is the object id.
func (p Person) ID() string { return p.d.objectID(kindUser, p.index) }

// Guest reports whether the user was invited from another tenant.
func (p Person) Guest() bool { return p.index%20 == 19 }

// AccountEnabled is false for the few who have left and are still listed.
func (p Person) AccountEnabled() bool { return p.index%90 != 77 }

// swapped marks the users whose SIP address is family.given, unlike their
// principal name.
func (p Person) swapped() bool { return p.index%9 == 4 }

func (p Person) local() string { return p.given.address + "." + p.family.address + p.suffix }

func (p Person) homeDomain() string { return partnerDomains[p.index/20%len(partnerDomains)] }

// DisplayName is the name shown to others.
func (p Person) DisplayName() string {
	p.d.mu.RLock()
	renamed, ok := p.d.renamed[p.index]
	p.d.mu.RUnlock()
	if ok {
		return renamed
	}
	display := p.given.display + " " + p.family.display
	if languages[p.lang].familyFirst {
		display = p.family.display + " " + p.given.display
	}
	if p.suffix != "" {
		display += " (" + p.suffix + ")"
	}
	return display
}

// GivenName is the first name in its own script.
func (p Person) GivenName() string { return p.given.display }

// Surname is the family name in its own script.
func (p Person) Surname() string { return p.family.display }

// PrincipalName is given.family[number]@domain; of guests it has the
// name_home#EXT#@domain form.
func (p Person) PrincipalName() string {
	if p.Guest() {
		return p.local() + "_" + p.homeDomain() + "#EXT#@" + p.d.domain
	}
	return p.local() + "@" + p.d.domain
}

// sip is the bare SIP address of a member.
func (p Person) sip() string {
	if p.swapped() {
		return p.family.address + "." + p.given.address + p.suffix + "@" + p.d.domain
	}
	return p.local() + "@" + p.d.domain
}

// Mail is the primary SMTP address. It equals the principal name except for
// guests and for half of those whose SIP address differs.
func (p Person) Mail() string {
	switch {
	case p.Guest():
		return p.local() + "@" + p.homeDomain()
	case p.swapped() && p.index%2 == 0:
		return p.sip()
	}
	return p.local() + "@" + p.d.domain
}

// IMAddresses holds one address; guests have none.
func (p Person) IMAddresses() []string {
	switch {
	case p.Guest():
		return nil
	case p.index%13 == 6:
		return []string{"sip:" + p.sip()}
	}
	return []string{p.sip()}
}

// ProxyAddresses holds the primary and a secondary mail address and the SIP
// address, with their schemes.
func (p Person) ProxyAddresses() []string {
	if p.Guest() {
		return []string{"SMTP:" + p.Mail()}
	}
	return []string{
		"SMTP:" + p.Mail(),
		"smtp:" + p.local() + "@mail." + p.d.domain,
		"sip:" + p.sip(),
	}
}

// OtherMails is a private address of every seventh user, the home address of guests.
func (p Person) OtherMails() []string {
	switch {
	case p.Guest():
		return []string{p.Mail()}
	case p.index%7 == 2:
		return []string{p.local() + "@private.example"}
	}
	return nil
}

// JobTitle falls with the height in the management tree.
func (p Person) JobTitle() string {
	switch {
	case p.index == 0:
		return "Chief Executive Officer"
	case p.index <= reportsPerManager:
		return "Vice President " + p.Department()
	}
	return jobTitles[p.d.hash("title", p.index)%uint64(len(jobTitles))]
}

// Department is that of the user's team.
func (p Person) Department() string { return departments[teamOf(p.index)%len(departments)] }

// CompanyName is the domain's first label, of guests that of their home.
func (p Person) CompanyName() string {
	domain := p.d.domain
	if p.Guest() {
		domain = p.homeDomain()
	}
	label, _, _ := strings.Cut(domain, ".")
	return strings.ToUpper(label[:1]) + label[1:]
}

// OfficeLocation is building and room; some users work nowhere fixed.
func (p Person) OfficeLocation() string {
	if p.Guest() || p.index%11 == 8 {
		return ""
	}
	h := p.d.hash("office", p.index)
	return fmt.Sprintf("%d/%d%03d", 10+h%40, 1+h>>8%6, h>>16%400)
}

// BusinessPhones has at most one number.
func (p Person) BusinessPhones() []string {
	if p.Guest() || p.index%6 == 5 {
		return nil
	}
	return []string{p.phone("phone")}
}

// MobilePhone is empty for every third user.
func (p Person) MobilePhone() string {
	if p.index%3 == 2 {
		return ""
	}
	return p.phone("mobile")
}

// phone draws a number from the range kept free for fiction.
func (p Person) phone(purpose string) string {
	h := p.d.hash(purpose, p.index)
	return fmt.Sprintf("+1 %d 555 01%02d", 201+h%700, h>>16%100)
}

// PreferredLanguage is a BCP 47 tag.
func (p Person) PreferredLanguage() string { return languages[p.lang].tag }

// City is where the person lives, in its own script.
func (p Person) City() string { return languages[p.lang].city }

// Country is the ISO 3166-1 alpha-2 code.
func (p Person) Country() string { return languages[p.lang].country }

// UserType is "Member" or "Guest".
func (p Person) UserType() string {
	if p.Guest() {
		return "Guest"
	}
	return "Member"
}

// CreationType is "Invitation" for guests, else empty.
func (p Person) CreationType() string {
	if p.Guest() {
		return "Invitation"
	}
	return ""
}

// EmployeeID is unique; guests have none.
func (p Person) EmployeeID() string {
	if p.Guest() {
		return ""
	}
	return fmt.Sprintf("E%07d", p.index+1)
}
