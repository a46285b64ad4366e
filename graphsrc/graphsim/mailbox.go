package graphsim

import (
	"net/http"
	"strings"

	"ucwagate/graphsrc/graphsim/people"
)

// mailboxPage is the usual page of Outlook lists.
const mailboxPage = 10

// listPeople serves GET /users/{id}/people.
func (t *Tenant) listPeople(c *call) (reply, error) {
	index, err := t.mailbox(c)
	if err != nil {
		return reply{}, err
	}
	var all []object
	found := t.dir.People(index)
	for i, p := range found {
		subclass, principal := "OrganizationUser", any(nil)
		if p.User < 0 {
			subclass = "PersonalContact"
		} else {
			principal = t.dir.Person(p.User).PrincipalName()
		}
		var addresses []object
		for _, address := range p.EmailAddresses {
			addresses = append(addresses, object{{"address", address}, {"relevanceScore", float64(len(found) - i)}, {"selectionLikelihood", "notSpecified"}})
		}
		var im any
		if len(p.IMAddresses) > 0 {
			im = p.IMAddresses[0]
		}
		all = append(all, object{
			{"id", p.ID},
			{"displayName", p.DisplayName},
			{"givenName", orNull(p.GivenName)},
			{"surname", orNull(p.Surname)},
			{"jobTitle", orNull(p.JobTitle)},
			{"companyName", orNull(p.CompanyName)},
			{"userPrincipalName", principal},
			{"imAddress", im},
			{"scoredEmailAddresses", addresses},
			{"personType", object{{"class", "Person"}, {"subclass", subclass}}},
		})
	}
	return c.list("users('"+c.args[0]+"')/people", mailboxPage, true, slice(all))
}

// mailbox finds the user a path names; guests have no mailbox here.
func (t *Tenant) mailbox(c *call) (int, error) {
	index, err := t.user(c.args[0])
	if err != nil {
		return 0, err
	}
	if t.dir.Person(index).Guest() {
		return 0, &graphError{
			status: http.StatusNotFound, code: "MailboxNotEnabledForRESTAPI",
			message: "The mailbox is either inactive, soft-deleted, or is hosted on-premise.",
		}
	}
	return index, nil
}

// listFolders serves GET /users/{id}/contactFolders.
func (t *Tenant) listFolders(c *call) (reply, error) {
	index, err := t.mailbox(c)
	if err != nil {
		return reply{}, err
	}
	var all []object
	for _, f := range t.dir.Folders(index) {
		all = append(all, object{{"id", f.ID}, {"displayName", f.DisplayName}, {"parentFolderId", "contacts"}})
	}
	return c.list("users('"+c.args[0]+"')/contactFolders", mailboxPage, true, slice(all))
}

// listContacts serves the contacts of a folder, or of the default folder
// where the path names none.
func (t *Tenant) listContacts(c *call) (reply, error) {
	index, err := t.mailbox(c)
	if err != nil {
		return reply{}, err
	}
	folder := people.Folder{Number: people.DefaultFolder, ID: "contacts"}
	if len(c.args) > 1 && !strings.EqualFold(c.args[1], folder.ID) {
		var ok bool
		if folder, ok = t.dir.FolderByID(index, c.args[1]); !ok {
			return reply{}, &graphError{
				status: http.StatusNotFound, code: "ErrorItemNotFound",
				message: "The specified object was not found in the store.",
			}
		}
	}
	var all []object
	for _, entry := range t.dir.Contacts(index, folder) {
		all = append(all, contactObject(entry))
	}
	return c.list("users('"+c.args[0]+"')/contacts", mailboxPage, true, slice(all))
}

func contactObject(entry people.Contact) object {
	addresses := []object{}
	for _, address := range entry.EmailAddresses {
		addresses = append(addresses, object{{"name", entry.DisplayName}, {"address", address}})
	}
	return object{
		{"id", entry.ID},
		{"parentFolderId", entry.FolderID},
		{"displayName", entry.DisplayName},
		{"givenName", orNull(entry.GivenName)},
		{"surname", orNull(entry.Surname)},
		{"companyName", orNull(entry.CompanyName)},
		{"jobTitle", orNull(entry.JobTitle)},
		{"imAddresses", listed(entry.IMAddresses)},
		{"emailAddresses", addresses},
		{"businessPhones", listed(entry.BusinessPhones)},
		{"homePhones", listed(entry.HomePhones)},
		{"mobilePhone", orNull(entry.MobilePhone)},
	}
}
