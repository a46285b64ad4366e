package msgraph

import (
	"context"
	"slices"
	"strings"

	"github.com/microsoftgraph/msgraph-sdk-go/users"

	"ucwagate/graphsrc"
)

// People implements graphsrc.MailboxReader; entries that are groups or rooms
// are left out.
func (c *Client) People(ctx context.Context, id string, limit int) ([]graphsrc.MailboxContact, error) {
	const op = "get people of a user"
	if err := checkID(op, id); err != nil {
		return nil, err
	}
	return collect(ctx, c, op, limit, func(ctx context.Context, link string, opts options) error {
		builder := c.user(id).People()
		cfg := &users.ItemPeopleRequestBuilderGetRequestConfiguration{Options: opts}
		if link != "" {
			builder = builder.WithUrl(link)
		} else {
			cfg.QueryParameters = &users.ItemPeopleRequestBuilderGetQueryParameters{
				Select: []string{"id", "displayName", "imAddress", "scoredEmailAddresses", "userPrincipalName", "personType"},
				Top:    top(limit),
			}
		}
		_, err := builder.Get(ctx, cfg)
		return err
	}, keepPerson)
}

// ContactFolders implements graphsrc.MailboxReader. The default folder is not
// among them.
func (c *Client) ContactFolders(ctx context.Context, id string, limit int) ([]graphsrc.ContactFolder, error) {
	const op = "get contact folders"
	if err := checkID(op, id); err != nil {
		return nil, err
	}
	return collect(ctx, c, op, limit, func(ctx context.Context, link string, opts options) error {
		builder := c.user(id).ContactFolders()
		cfg := &users.ItemContactFoldersRequestBuilderGetRequestConfiguration{Options: opts}
		if link != "" {
			builder = builder.WithUrl(link)
		} else {
			cfg.QueryParameters = &users.ItemContactFoldersRequestBuilderGetQueryParameters{
				Select: []string{"id", "displayName"}, Top: top(limit),
			}
		}
		_, err := builder.Get(ctx, cfg)
		return err
	}, func(w *wireFolder) (graphsrc.ContactFolder, bool) {
		return graphsrc.ContactFolder{ID: w.ID, DisplayName: w.DisplayName}, w.ID != ""
	})
}

// contactFields are the properties of a contact that are read.
var contactFields = []string{"id", "displayName", "imAddresses", "emailAddresses"}

// Contacts implements graphsrc.MailboxReader.
func (c *Client) Contacts(ctx context.Context, id, folderID string, limit int) ([]graphsrc.MailboxContact, error) {
	const op = "get contacts"
	if err := checkID(op, id); err != nil {
		return nil, err
	}
	if folderID == "" {
		return collect(ctx, c, op, limit, c.defaultContacts(id, limit), keepContact)
	}
	if err := checkID(op, folderID); err != nil {
		return nil, err
	}
	return collect(ctx, c, op, limit, func(ctx context.Context, link string, opts options) error {
		builder := c.user(id).ContactFolders().ByContactFolderId(folderID).Contacts()
		cfg := &users.ItemContactFoldersItemContactsRequestBuilderGetRequestConfiguration{Options: opts}
		if link != "" {
			builder = builder.WithUrl(link)
		} else {
			cfg.QueryParameters = &users.ItemContactFoldersItemContactsRequestBuilderGetQueryParameters{
				Select: contactFields, Top: top(limit),
			}
		}
		_, err := builder.Get(ctx, cfg)
		return err
	}, keepContact)
}

func (c *Client) defaultContacts(id string, limit int) fetch {
	return func(ctx context.Context, link string, opts options) error {
		builder := c.user(id).Contacts()
		cfg := &users.ItemContactsRequestBuilderGetRequestConfiguration{Options: opts}
		if link != "" {
			builder = builder.WithUrl(link)
		} else {
			cfg.QueryParameters = &users.ItemContactsRequestBuilderGetQueryParameters{
				Select: contactFields, Top: top(limit),
			}
		}
		_, err := builder.Get(ctx, cfg)
		return err
	}
}

type wireFolder struct {
	ID          string `json:"id"`
	DisplayName string `json:"displayName"`
}

type wireContact struct {
	DisplayName    string        `json:"displayName"`
	IMAddresses    []string      `json:"imAddresses"`
	EmailAddresses []wireAddress `json:"emailAddresses"`
}

type wireAddress struct {
	Address string `json:"address"`
}

type wirePerson struct {
	DisplayName          string        `json:"displayName"`
	IMAddress            string        `json:"imAddress"`
	ScoredEmailAddresses []wireAddress `json:"scoredEmailAddresses"`
	UserPrincipalName    string        `json:"userPrincipalName"`
	PersonType           struct {
		Class    string `json:"class"`    // "Person", "Group" or "Other"
		Subclass string `json:"subclass"` // for example "OrganizationUser" or "Room"
	} `json:"personType"`
}

func keepContact(w *wireContact) (graphsrc.MailboxContact, bool) {
	var to addresses
	to.add(w.IMAddresses...)
	for _, mail := range w.EmailAddresses {
		to.add(mail.Address)
	}
	return graphsrc.MailboxContact{DisplayName: w.DisplayName, Addresses: to}, w.DisplayName != "" || len(to) > 0
}

func keepPerson(w *wirePerson) (graphsrc.MailboxContact, bool) {
	if class := w.PersonType.Class; class != "" && !strings.EqualFold(class, "Person") ||
		strings.EqualFold(w.PersonType.Subclass, "Room") {
		return graphsrc.MailboxContact{}, false
	}
	var to addresses
	to.add(w.IMAddress)
	for _, mail := range w.ScoredEmailAddresses {
		to.add(mail.Address)
	}
	to.add(w.UserPrincipalName)
	return graphsrc.MailboxContact{DisplayName: w.DisplayName, Addresses: to}, w.DisplayName != "" || len(to) > 0
}

// addresses collects addresses without their schemes, each once, whatever its
// case.
type addresses []string

func (a *addresses) add(list ...string) {
	for _, address := range list {
		address = strings.TrimSpace(address)
		if scheme, rest, ok := strings.Cut(address, ":"); ok && schemes[strings.ToLower(scheme)] {
			address = rest
		}
		known := slices.ContainsFunc(*a, func(s string) bool { return strings.EqualFold(s, address) })
		if strings.Contains(address, "@") && !known {
			*a = append(*a, address)
		}
	}
}

var schemes = map[string]bool{"sip": true, "sips": true, "smtp": true, "mailto": true, "im": true, "xmpp": true, "pres": true}
