package graphsim

import (
	"ucwagate/graphsrc/graphsim/people"
)

// Operators of properties, as space-separated lists.
const (
	operatorsText     = "eq in startswith ge le"
	operatorsAdvanced = "ne endswith gt lt"
	operatorsAll      = operatorsText + " " + operatorsAdvanced
)

// users are the properties of a user ("user resource type" and "Advanced query
// capabilities", Microsoft Graph reference).
var users = schema[people.Person]{"user", []property[people.Person]{
	{name: "businessPhones", get: func(p people.Person) any { return p.BusinessPhones() }, usual: true, basic: true, list: true, operators: "eq", advanced: "ge le startswith"},
	{name: "displayName", get: func(p people.Person) any { return p.DisplayName() }, usual: true, basic: true, operators: operatorsText, advanced: operatorsAdvanced, tokens: true},
	{name: "givenName", get: func(p people.Person) any { return p.GivenName() }, usual: true, basic: true, operators: operatorsText, advanced: operatorsAdvanced},
	{name: "jobTitle", get: func(p people.Person) any { return orNull(p.JobTitle()) }, usual: true, basic: true, operators: operatorsText, advanced: operatorsAdvanced},
	{name: "mail", get: func(p people.Person) any { return orNull(p.Mail()) }, usual: true, basic: true, operators: operatorsText, advanced: operatorsAdvanced},
	{name: "mobilePhone", get: func(p people.Person) any { return orNull(p.MobilePhone()) }, usual: true, basic: true, advanced: operatorsAll},
	{name: "officeLocation", get: func(p people.Person) any { return orNull(p.OfficeLocation()) }, usual: true, basic: true, advanced: operatorsAll},
	{name: "preferredLanguage", get: func(p people.Person) any { return p.PreferredLanguage() }, usual: true, basic: true, advanced: operatorsAll},
	{name: "surname", get: func(p people.Person) any { return p.Surname() }, usual: true, basic: true, operators: operatorsText, advanced: operatorsAdvanced},
	{name: "userPrincipalName", get: func(p people.Person) any { return p.PrincipalName() }, usual: true, basic: true, operators: operatorsText, advanced: operatorsAdvanced},
	{name: "id", get: func(p people.Person) any { return p.ID() }, usual: true, basic: true, operators: "eq in", advanced: "ne"},
	{name: "accountEnabled", get: func(p people.Person) any { return p.AccountEnabled() }, boolean: true, operators: "eq", advanced: "ne"},
	{name: "city", get: func(p people.Person) any { return p.City() }, operators: operatorsText, advanced: operatorsAdvanced},
	{name: "companyName", get: func(p people.Person) any { return p.CompanyName() }, advanced: operatorsAll},
	{name: "country", get: func(p people.Person) any { return p.Country() }, operators: operatorsText, advanced: operatorsAdvanced},
	{name: "creationType", get: func(p people.Person) any { return orNull(p.CreationType()) }, operators: "eq in", advanced: "ne"},
	{name: "department", get: func(p people.Person) any { return p.Department() }, operators: operatorsText, advanced: operatorsAdvanced},
	{name: "employeeId", get: func(p people.Person) any { return orNull(p.EmployeeID()) }, operators: operatorsText, advanced: operatorsAdvanced},
	{name: "imAddresses", get: func(p people.Person) any { return p.IMAddresses() }, list: true, operators: "eq startswith ge le"},
	{name: "otherMails", get: func(p people.Person) any { return p.OtherMails() }, list: true, operators: "eq in startswith", advanced: "endswith"},
	{name: "proxyAddresses", get: func(p people.Person) any { return p.ProxyAddresses() }, list: true, search: true, operators: "eq startswith ge le", advanced: "endswith"},
	{name: "userType", get: func(p people.Person) any { return p.UserType() }, operators: "eq in", advanced: "ne"},
}}

// userObject is a user with the selected properties, or the usual ones.
func userObject(p people.Person, selected []string) object {
	var o object
	if selected == nil {
		for _, property := range users.properties {
			if property.usual {
				o = append(o, member{property.name, listed(property.get(p))})
			}
		}
		return o
	}
	for _, name := range selected {
		if property, ok := users.find(name); ok && !o.has(property.name) {
			o = append(o, member{property.name, listed(property.get(p))})
		}
	}
	return o
}

// listed makes an empty collection of an absent one: Graph has no null there.
func listed(value any) any {
	if list, ok := value.([]string); ok && list == nil {
		return []string{}
	}
	return value
}

// checkUserSelection refuses properties that do not exist, and those an app
// with basic permission does not see.
func (c *call) checkUserSelection(selected []string) error {
	if err := users.checkSelection(selected); err != nil {
		return err
	}
	basicOnly := c.may([]string{permissionBasic}) && !c.may(readUsers)
	for _, name := range selected {
		if p, _ := users.find(name); basicOnly && !p.basic {
			return &graphError{status: 403, code: "Authorization_RequestDenied", message: "Insufficient privileges to complete the operation."}
		}
	}
	return nil
}

// groups are the properties of a group ("group resource type", Microsoft Graph
// reference).
var groups = schema[people.Group]{"group", []property[people.Group]{
	{name: "id", get: func(g people.Group) any { return g.ID }, usual: true, operators: "eq in", advanced: "ne"},
	{name: "displayName", get: func(g people.Group) any { return g.DisplayName }, usual: true, operators: operatorsText, advanced: operatorsAdvanced, tokens: true},
	{name: "description", get: func(g people.Group) any { return g.Description }, usual: true, advanced: operatorsAll, tokens: true},
	{name: "mail", get: func(g people.Group) any { return orNull(g.Mail) }, usual: true, operators: operatorsText, advanced: operatorsAdvanced},
	{name: "mailNickname", get: func(g people.Group) any { return g.MailNickname }, usual: true, operators: operatorsText, advanced: operatorsAdvanced},
	{name: "mailEnabled", get: func(g people.Group) any { return g.MailEnabled }, usual: true, boolean: true, operators: "eq", advanced: "ne"},
	{name: "securityEnabled", get: func(g people.Group) any { return g.SecurityEnabled }, usual: true, boolean: true, operators: "eq", advanced: "ne"},
	{name: "groupTypes", get: groupTypes, usual: true, list: true, operators: "eq"},
	{name: "visibility", get: groupVisibility, usual: true},
}}

func groupTypes(g people.Group) any {
	if g.Unified {
		return []string{"Unified"}
	}
	return []string(nil)
}

func groupVisibility(g people.Group) any {
	if g.Unified {
		return "Private"
	}
	return nil
}

// groupObject is a group with its usual properties.
func groupObject(g people.Group) object {
	o := object{{"@odata.type", "#microsoft.graph.group"}}
	for _, property := range groups.properties {
		o = append(o, member{property.name, listed(property.get(g))})
	}
	return o
}
