package graphsim

import (
	"iter"
	"slices"
	"strings"
)

// entries yields the objects of a list from a position on, each with the
// position after it.
type entries func(from int) iter.Seq2[int, object]

// list serves a page of a list with the options that all lists take.
func (c *call) list(context string, usual int, skip bool, all entries) (reply, error) {
	allowed := []string{"$select", "$top", "$skiptoken", "$count"}
	if skip {
		allowed = append(allowed, "$skip")
	}
	o, err := c.queryOptions(allowed...)
	if err != nil {
		return reply{}, err
	}
	top, err := o.top(usual, largestPage)
	if err != nil {
		return reply{}, err
	}
	position, err := o.position()
	if err != nil {
		return reply{}, err
	}
	page := listPage{context: c.base + "/$metadata#" + context}
	for after, entry := range all(position) {
		if len(page.values) == top {
			page.next = c.nextLink(o, position)
			break
		}
		page.values = append(page.values, entry.pick(o.selected()))
		position = after
	}
	if c.eventual() && strings.EqualFold(o.values.Get("$count"), "true") {
		page.count = new(int)
		for range all(0) {
			*page.count++
		}
	}
	return page.reply(), nil
}

// slice makes entries of a list that is small enough to have.
func slice(all []object) entries {
	return func(from int) iter.Seq2[int, object] {
		return func(yield func(int, object) bool) {
			for i := min(from, len(all)); i < len(all); i++ {
				if !yield(i+1, all[i]) {
					return
				}
			}
		}
	}
}

// getManager serves GET /users/{id}/manager.
func (t *Tenant) getManager(c *call) (reply, error) {
	o, err := c.queryOptions("$select")
	if err != nil {
		return reply{}, err
	}
	index, err := t.user(c.args[0])
	if err != nil {
		return reply{}, err
	}
	manager, ok := t.dir.Manager(index)
	if !ok {
		return reply{}, resourceNotFound("manager")
	}
	return c.oneUser(t.dir, manager, o.selected(), "$metadata#directoryObjects/$entity")
}

// userSelection is what of $select users have: in lists of directory objects
// a property of groups may be selected as well.
func (c *call) userSelection() ([]string, error) {
	o, err := c.queryOptions("$select", "$top", "$skiptoken", "$count")
	if err != nil || o.selected() == nil {
		return nil, err
	}
	return slices.DeleteFunc(o.selected(), func(name string) bool {
		_, ok := users.find(name)
		return !ok
	}), nil
}

// directoryUser is a user in a list of directory objects.
func (t *Tenant) directoryUser(index int, selected []string) object {
	return append(object{{"@odata.type", "#microsoft.graph.user"}}, userObject(t.dir.Person(index), selected)...)
}

// listReports serves GET /users/{id}/directReports.
func (t *Tenant) listReports(c *call) (reply, error) {
	index, err := t.user(c.args[0])
	if err != nil {
		return reply{}, err
	}
	selected, err := c.userSelection()
	if err != nil {
		return reply{}, err
	}
	var reports []object
	for _, report := range t.dir.Reports(index) {
		reports = append(reports, t.directoryUser(report, selected))
	}
	return c.list("directoryObjects", defaultPage, false, slice(reports))
}

func (t *Tenant) listMemberOf(c *call) (reply, error) {
	return t.memberOf(c, false, true)
}

func (t *Tenant) listMemberOfGroups(c *call) (reply, error) {
	return t.memberOf(c, false, false)
}

func (t *Tenant) listTransitiveMemberOf(c *call) (reply, error) {
	return t.memberOf(c, true, true)
}

// memberOf lists a user's groups, and the directory role if there is one.
func (t *Tenant) memberOf(c *call, transitive, roles bool) (reply, error) {
	index, err := t.user(c.args[0])
	if err != nil {
		return reply{}, err
	}
	var groups []object
	if role, ok := t.dir.RoleOf(index); ok && roles {
		groups = append(groups, object{
			{"@odata.type", "#microsoft.graph.directoryRole"},
			{"id", role.ID},
			{"displayName", role.DisplayName},
			{"description", role.DisplayName},
		})
	}
	for _, number := range t.dir.GroupsOf(index, transitive) {
		groups = append(groups, groupObject(t.dir.Group(number)))
	}
	return c.list("directoryObjects", defaultPage, false, slice(groups))
}

// listGroups serves GET /groups.
func (t *Tenant) listGroups(c *call) (reply, error) {
	q, err := groups.parse(c)
	if err != nil {
		return reply{}, err
	}
	walk := func(from int, yield func(int) bool) {
		for number := from; number < t.dir.Groups(); number++ {
			if q.matches(groups.getter(t.dir.Group(number))) && !yield(number) {
				return
			}
		}
	}
	return q.list(c, "groups", walk, func(number int) object {
		return groupObject(t.dir.Group(number))[1:].pick(q.selected) // of one type, which is not named
	}), nil
}

// getGroup serves GET /groups/{id}.
func (t *Tenant) getGroup(c *call) (reply, error) {
	o, err := c.queryOptions("$select")
	if err != nil {
		return reply{}, err
	}
	if err := groups.checkSelection(o.selected()); err != nil {
		return reply{}, err
	}
	g, ok := t.dir.GroupByID(c.args[0])
	if !ok {
		return reply{}, resourceNotFound(c.args[0])
	}
	head := object{{"@odata.context", c.base + "/$metadata#groups/$entity"}}
	return jsonReply(append(head, groupObject(g)[1:].pick(o.selected())...).append(nil)), nil
}

func (t *Tenant) listMembers(c *call) (reply, error) {
	return t.members(c, false, false)
}

func (t *Tenant) listMemberUsers(c *call) (reply, error) {
	return t.members(c, false, true)
}

func (t *Tenant) listTransitiveMembers(c *call) (reply, error) {
	return t.members(c, true, false)
}

func (t *Tenant) listTransitiveMemberUsers(c *call) (reply, error) {
	return t.members(c, true, true)
}

// members lists a group, of which everyone may be a member: the list is made
// page by page.
func (t *Tenant) members(c *call, transitive, usersOnly bool) (reply, error) {
	g, ok := t.dir.GroupByID(c.args[0])
	if !ok {
		return reply{}, resourceNotFound(c.args[0])
	}
	selected, err := c.userSelection()
	if err != nil {
		return reply{}, err
	}
	all := func(from int) iter.Seq2[int, object] {
		return func(yield func(int, object) bool) {
			for after, m := range t.dir.Members(g.Number, transitive, from) {
				if m.IsGroup && usersOnly {
					continue
				}
				entry := groupObject(t.dir.Group(m.Group))
				if !m.IsGroup {
					entry = t.directoryUser(m.User, selected)
				}
				if !yield(after, entry) {
					return
				}
			}
		}
	}
	return c.list("directoryObjects", defaultPage, false, all)
}

// listOrganization serves GET /organization.
func (t *Tenant) listOrganization(c *call) (reply, error) {
	tenant := object{
		{"id", t.cfg.TenantID},
		{"displayName", t.dir.Person(0).CompanyName()},
		{"tenantType", "AAD"},
		{"verifiedDomains", []object{
			{{"name", t.cfg.Domain}, {"isDefault", true}, {"isInitial", true}, {"type", "Managed"}, {"capabilities", "Email, OfficeCommunicationsOnline"}},
			{{"name", "mail." + t.cfg.Domain}, {"isDefault", false}, {"isInitial", false}, {"type", "Managed"}, {"capabilities", "Email"}},
		}},
	}
	return c.list("organization", defaultPage, false, slice([]object{tenant}))
}
