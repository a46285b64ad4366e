package contactfile

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/rogpeppe/go-internal/lockedfile"
	"go.yaml.in/yaml/v3"
)

// CreateGroup makes an empty group of owner with a new id. A name that another
// group of owner has, in any letter case, is ErrExists: a client that repeats
// a request it thinks lost makes no second group.
func (f *File) CreateGroup(owner, name string) (Group, error) {
	var g Group
	err := f.change(owner, "creating a group", func(e *entry) error {
		clean, err := e.freeName(name, -1)
		if err != nil {
			return err
		}
		if err := f.roomForGroup(e); err != nil {
			return err
		}
		g = Group{ID: "g-" + strings.ToLower(rand.Text()), Name: clean}
		groups := child(e.section, keyGroups, yaml.SequenceNode)
		groups.Content = append(groups.Content, fields(keyID, g.ID, keyName, g.Name))
		return nil
	})
	if err != nil {
		return Group{}, err
	}
	return g, nil
}

// RenameGroup gives a group of owner's own another name; a name that another
// group has is ErrExists. The groups that everybody has are ErrNotFound. A group
// whose name is not was any more is ErrChanged.
func (f *File) RenameGroup(owner, id, was, name string) (Group, error) {
	var g Group
	err := f.change(owner, "renaming a group", func(e *entry) error {
		i, err := e.groupIndex(id)
		if err != nil {
			return err
		}
		if e.Groups[i].Name != was {
			return ErrChanged
		}
		clean, err := e.freeName(name, i)
		if err != nil {
			return err
		}
		g = e.Groups[i].clone()
		if g.Name != clean {
			g.Name = clean
			set(e.groupNode(i), keyName, clean)
		}
		return nil
	})
	if err != nil {
		return Group{}, err
	}
	return g, nil
}

// DeleteGroup deletes a group of owner's own. Members that are in no other
// group leave the contact list with it; they do not move to the default group.
// The groups that everybody has are ErrNotFound.
func (f *File) DeleteGroup(owner, id string) error {
	return f.change(owner, "deleting a group", func(e *entry) error {
		i, err := e.groupIndex(id)
		if err != nil {
			return err
		}
		gone := e.groupNode(i)
		remove(e.section, keyGroups, func(n *yaml.Node) bool { return n == gone })
		return nil
	})
}

// AddMember puts a contact into a group: Pinned, Default, or one of owner's
// own by its id, in any letter case. A contact may be in several groups and
// counts once. It is ErrExists if the contact is in that group already,
// ErrTooManyContacts if it would be one too many, ErrNotFound without the group.
func (f *File) AddMember(owner, groupID, contact string) error {
	return f.change(owner, "adding a contact", f.addMember(groupID, contact))
}

// RemoveMember takes a contact out of one group, named as in AddMember. It is
// ErrNotFound if there is no such group or the contact is not in it.
func (f *File) RemoveMember(owner, groupID, contact string) error {
	return f.change(owner, "removing a contact from a group", func(e *entry) error {
		clean, err := address("address", contact)
		if err != nil {
			return err
		}
		members, section, key, err := e.members(groupID)
		if err != nil {
			return err
		}
		if !slices.Contains(members, clean) {
			return fmt.Errorf("%s: %w", clean, ErrNotFound)
		}
		remove(section, key, is(clean))
		return nil
	})
}

// RemoveContact takes a contact out of all groups; it is ErrNotFound if the
// contact is in none.
func (f *File) RemoveContact(owner, contact string) error {
	return f.change(owner, "removing a contact", func(e *entry) error {
		clean, err := address("address", contact)
		if err != nil {
			return err
		}
		if !e.contacts()[clean] {
			return fmt.Errorf("%s: %w", clean, ErrNotFound)
		}
		remove(e.section, keyPinned, is(clean))
		remove(e.section, keyOthers, is(clean))
		for i := range e.Groups {
			remove(e.groupNode(i), keyMembers, is(clean))
		}
		return nil
	})
}

// AddDistribution puts a distribution group on the list. It is ErrExists if it
// is there already, under whatever name, and ErrTooManyGroups if it would be
// one too many.
func (f *File) AddDistribution(owner, group, name string) error {
	return f.change(owner, "adding a distribution group", func(e *entry) error {
		clean, err := address("address", group)
		if err != nil {
			return err
		}
		if name, err = cleanName(name); err != nil {
			return err
		}
		if slices.ContainsFunc(e.Distribution, func(d Distribution) bool { return d.Address == clean }) {
			return fmt.Errorf("%s: %w", clean, ErrExists)
		}
		if err := f.roomForGroup(e); err != nil {
			return err
		}
		list := child(e.section, keyDistribution, yaml.SequenceNode)
		list.Content = append(list.Content, fields(keyAddress, clean, keyName, name))
		return nil
	})
}

// RemoveDistribution takes a distribution group off the list; it is
// ErrNotFound if it is not there.
func (f *File) RemoveDistribution(owner, group string) error {
	return f.change(owner, "removing a distribution group", func(e *entry) error {
		clean, err := address("address", group)
		if err != nil {
			return err
		}
		if !slices.ContainsFunc(e.Distribution, func(d Distribution) bool { return d.Address == clean }) {
			return fmt.Errorf("%s: %w", clean, ErrNotFound)
		}
		matches := is(clean)
		remove(e.section, keyDistribution, func(n *yaml.Node) bool { return matches(find(n, keyAddress)) })
		return nil
	})
}

func (f *File) addMember(groupID, contact string) func(*entry) error {
	return func(e *entry) error {
		clean, err := address("address", contact)
		if err != nil {
			return err
		}
		members, section, key, err := e.members(groupID)
		if err != nil {
			return err
		}
		if slices.Contains(members, clean) {
			return fmt.Errorf("%s: %w", clean, ErrExists)
		}
		if all := e.contacts(); !all[clean] && len(all) >= f.maxContacts {
			return fmt.Errorf("%w: %d are allowed", ErrTooManyContacts, f.maxContacts)
		}
		list := child(section, key, yaml.SequenceNode)
		list.Content = append(list.Content, textNode(clean))
		return nil
	}
}

// freeName returns a clean name that no group but the one at index own has.
func (e *entry) freeName(name string, own int) (string, error) {
	clean, err := cleanName(name)
	if err != nil {
		return "", err
	}
	for i, g := range e.Groups {
		if i != own && strings.EqualFold(g.Name, clean) {
			return "", fmt.Errorf("group %q: %w", clean, ErrExists)
		}
	}
	return clean, nil
}

func (f *File) roomForGroup(e *entry) error {
	if len(e.Groups)+len(e.Distribution) >= f.maxGroups {
		return fmt.Errorf("%w: %d are allowed", ErrTooManyGroups, f.maxGroups)
	}
	return nil
}

// change applies one change to what the file holds at this moment.
func (f *File) change(owner, doing string, change func(*entry) error) error {
	if !f.writable {
		return fmt.Errorf("%s: %w", doing, ErrReadOnly)
	}
	owner, err := address("owner", owner)
	if err == nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		err = f.rewrite(owner, change)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", doing, err)
	}
	return nil
}

func (f *File) rewrite(owner string, change func(*entry) error) error {
	path, err := target(f.path)
	if err != nil {
		return err
	}
	unlock, err := lockedfile.MutexAt(path + ".lock").Lock()
	if err != nil {
		return fmt.Errorf("locking the contact lists: %w", err)
	}
	defer unlock()

	text, info, err := read(path)
	missing := errors.Is(err, fs.ErrNotExist)
	if err != nil && !(missing && f.seen == nil) {
		// A file that was there and is gone may be on a volume that is gone:
		// a new one in its place would hide everybody's lists.
		return fmt.Errorf("reading contact lists: %w", err)
	}
	d, lists, err := parse(path, text)
	if !missing {
		f.saw(text, info)
		f.took(lists, err)
	}
	if err != nil {
		return err
	}
	text, lists, err = d.edit(path, lists, owner, change)
	if err != nil || text == nil {
		return err
	}
	info, err = f.replace(path, text, info)
	if err != nil {
		return fmt.Errorf("writing contact lists: %w", err)
	}
	f.saw(text, info)
	f.took(lists, nil)
	return nil
}
