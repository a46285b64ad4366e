package people

import (
	"encoding/base64"
	"fmt"
)

// Folder is a folder of personal contacts.
type Folder struct {
	Number      int
	ID          string
	DisplayName string
}

// DefaultFolder is the number of the folder that is no contact folder of its
// own but the mailbox's "Contacts".
const DefaultFolder = 0

var folderNames = []string{"Contacts", "Customers", "Suppliers", "Friends & Family"}

// Folders are the contact folders of a user besides the default one. Everyone
// has two, two of three people have a third.
func (d *Directory) Folders(index int) []Folder {
	count := len(folderNames)
	if index%3 == 2 {
		count--
	}
	var folders []Folder
	for number := 1; number < count; number++ {
		folders = append(folders, d.folder(index, number))
	}
	return folders
}

func (d *Directory) folder(index, number int) Folder {
	return Folder{Number: number, ID: d.mailboxID("folder", index, number, 0), DisplayName: folderNames[number]}
}

// FolderByID finds a folder of a user's mailbox, the default one included.
func (d *Directory) FolderByID(index int, id string) (Folder, bool) {
	for _, f := range append(d.Folders(index), d.folder(index, DefaultFolder)) {
		if f.ID == id {
			return f, true
		}
	}
	return Folder{}, false
}

// Contact is an entry of a contact folder, or of the people list.
type Contact struct {
	ID             string
	FolderID       string
	DisplayName    string
	GivenName      string
	Surname        string
	CompanyName    string
	JobTitle       string
	IMAddresses    []string
	EmailAddresses []string
	BusinessPhones []string
	HomePhones     []string
	MobilePhone    string
	// User is the index of the colleague behind the entry, or -1.
	User int
}

// Contacts are the entries of a folder: colleagues and outsiders; the last
// one has nothing but a telephone number.
func (d *Directory) Contacts(index int, folder Folder) []Contact {
	count := 4 + int(d.hash("contacts", index*len(folderNames)+folder.Number)%4)
	contacts := make([]Contact, 0, count+1)
	seen := map[int]bool{index: true}
	for n := range count {
		draw := d.hash(fmt.Sprintf("contact %d %d", folder.Number, n), index)
		other := int(draw % uint64(d.users))
		var c Contact
		if (draw>>40)%2 == 0 && !seen[other] && d.Present(other) && !d.Person(other).Guest() {
			seen[other] = true
			c = colleague(d.User(other))
		} else {
			c = d.outsider(draw)
		}
		c.ID, c.FolderID = d.mailboxID("contact", index, folder.Number, n), folder.ID
		contacts = append(contacts, c)
	}
	return append(contacts, Contact{
		ID: d.mailboxID("contact", index, folder.Number, count), FolderID: folder.ID, User: -1,
		DisplayName: "Reception", CompanyName: "Northwind", BusinessPhones: []string{"+1 206 555 0100"},
	})
}

func colleague(u User) Contact {
	return Contact{
		User: u.Index, DisplayName: u.DisplayName, GivenName: u.GivenName, Surname: u.Surname,
		CompanyName: u.CompanyName, JobTitle: u.JobTitle, IMAddresses: []string{"sip:" + u.Address()},
		EmailAddresses: []string{u.Mail}, BusinessPhones: u.BusinessPhones, MobilePhone: u.MobilePhone,
	}
}

// outsider invents a person of another company.
func (d *Directory) outsider(draw uint64) Contact {
	lang, given, family := d.names.at(int(draw >> 8 % uint64(d.names.size())))
	g, f := d.names.given[lang][given], d.names.family[lang][family]
	address := g.address + "." + f.address + "@" + partnerDomains[draw>>32%uint64(len(partnerDomains))]
	c := Contact{
		User: -1, DisplayName: g.display + " " + f.display, GivenName: g.display, Surname: f.display,
		CompanyName: "Fabrikam", EmailAddresses: []string{address},
		HomePhones: []string{fmt.Sprintf("+1 503 555 01%02d", draw%100)},
	}
	if draw>>36%2 == 0 {
		c.IMAddresses = []string{address}
	}
	return c
}

// maxPeople bounds the list of relevant people.
const maxPeople = 30

// People are those relevant to a user, the most relevant first: manager,
// reports, peers, colleagues of the first project and two outsiders.
func (d *Directory) People(index int) []Contact {
	var order []int
	seen := map[int]bool{index: true}
	add := func(other int) {
		if !seen[other] && d.Present(other) && len(order) < maxPeople-2 {
			seen[other] = true
			order = append(order, other)
		}
	}
	if manager, ok := d.Manager(index); ok {
		add(manager)
	}
	for _, report := range d.Reports(index) {
		add(report)
	}
	if manager, ok := d.Manager(index); ok {
		for _, peer := range d.Reports(manager) {
			add(peer)
		}
	}
	for _, member := range d.Members(d.GroupsOf(index, false)[2], false, 0) {
		add(member.User)
	}
	people := make([]Contact, 0, len(order)+2)
	for _, other := range order {
		c := colleague(d.User(other))
		c.ID = d.Person(other).ID()
		people = append(people, c)
	}
	for n := range 2 {
		c := d.outsider(d.hash(fmt.Sprintf("people %d", n), index))
		c.ID = GUID(d.hash("outsider", index)+uint64(n), "person")
		people = append(people, c)
	}
	return people
}

// mailboxID has the look of an Exchange item id.
func (d *Directory) mailboxID(sort string, index, folder, number int) string {
	h := d.hash(fmt.Sprintf("%s %d %d", sort, folder, number), index)
	return "AAMk" + base64.URLEncoding.EncodeToString(fmt.Appendf(nil, "%016x%016x%016x", h, mix(h), mix(mix(h))))
}

// PlaceID is the id of the building a user works in.
func (d *Directory) PlaceID(index int) string {
	return d.objectID(kindPlace, int(d.hash("building", index)%50))
}
