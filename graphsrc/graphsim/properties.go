package graphsim

import (
	"strconv"
	"strings"

	"ucwagate/graphsrc/graphsim/odata"
	"ucwagate/graphsrc/graphsim/people"
)

// property is a property of a user: how to get it and what Graph lets one do
// with it ("user resource type" and "Advanced query capabilities", Microsoft
// Graph reference).
type property struct {
	name string
	get  func(people.Person) any
	// usual properties come without $select; basic ones are shown to apps
	// that may read basic profiles only.
	usual, basic bool
	// operators that work in $filter, and those that need an advanced query.
	operators, advanced string
	list                bool // a collection of strings
	search              bool // may stand in $search
	tokens              bool // $search looks at its words
}

// Operators of properties, as space-separated lists.
const (
	operatorsText     = "eq in startswith ge le"
	operatorsAdvanced = "ne endswith gt lt"
	operatorsAll      = operatorsText + " " + operatorsAdvanced
)

var userProperties = []property{
	{name: "businessPhones", get: func(p people.Person) any { return p.BusinessPhones() }, usual: true, basic: true, list: true, advanced: "eq startswith"},
	{name: "displayName", get: func(p people.Person) any { return p.DisplayName() }, usual: true, basic: true, operators: operatorsText, advanced: operatorsAdvanced, search: true, tokens: true},
	{name: "givenName", get: func(p people.Person) any { return p.GivenName() }, usual: true, basic: true, operators: operatorsText, advanced: operatorsAdvanced, search: true, tokens: true},
	{name: "jobTitle", get: func(p people.Person) any { return orNull(p.JobTitle()) }, usual: true, basic: true, operators: operatorsText, advanced: operatorsAdvanced},
	{name: "mail", get: func(p people.Person) any { return orNull(p.Mail()) }, usual: true, basic: true, operators: operatorsText, advanced: operatorsAdvanced, search: true},
	{name: "mobilePhone", get: func(p people.Person) any { return orNull(p.MobilePhone()) }, usual: true, basic: true, advanced: operatorsAll},
	{name: "officeLocation", get: func(p people.Person) any { return orNull(p.OfficeLocation()) }, usual: true, basic: true, advanced: operatorsAll},
	{name: "preferredLanguage", get: func(p people.Person) any { return p.PreferredLanguage() }, usual: true, basic: true, advanced: operatorsAll},
	{name: "surname", get: func(p people.Person) any { return p.Surname() }, usual: true, basic: true, operators: operatorsText, advanced: operatorsAdvanced, search: true, tokens: true},
	{name: "userPrincipalName", get: func(p people.Person) any { return p.PrincipalName() }, usual: true, basic: true, operators: operatorsText, advanced: operatorsAdvanced, search: true},
	{name: "id", get: func(p people.Person) any { return p.ID() }, usual: true, basic: true, operators: "eq in", advanced: "ne"},
	{name: "accountEnabled", get: func(p people.Person) any { return p.AccountEnabled() }, operators: "eq", advanced: "ne"},
	{name: "city", get: func(p people.Person) any { return p.City() }, operators: operatorsText, advanced: operatorsAdvanced},
	{name: "companyName", get: func(p people.Person) any { return p.CompanyName() }, advanced: operatorsAll},
	{name: "country", get: func(p people.Person) any { return p.Country() }, operators: operatorsText, advanced: operatorsAdvanced},
	{name: "creationType", get: func(p people.Person) any { return orNull(p.CreationType()) }, operators: "eq in", advanced: "ne"},
	{name: "department", get: func(p people.Person) any { return p.Department() }, operators: operatorsText, advanced: operatorsAdvanced},
	{name: "employeeId", get: func(p people.Person) any { return orNull(p.EmployeeID()) }, operators: operatorsText, advanced: operatorsAdvanced},
	{name: "imAddresses", get: func(p people.Person) any { return p.IMAddresses() }, list: true, operators: "eq startswith ge le"},
	{name: "otherMails", get: func(p people.Person) any { return p.OtherMails() }, list: true, operators: "eq in startswith", advanced: "endswith"},
	{name: "proxyAddresses", get: func(p people.Person) any { return p.ProxyAddresses() }, list: true, operators: "eq startswith ge le", advanced: "endswith", search: true},
	{name: "userType", get: func(p people.Person) any { return p.UserType() }, operators: "eq in", advanced: "ne"},
}

// userProperty finds a property by name, in any case.
func userProperty(name string) (property, bool) {
	for _, p := range userProperties {
		if strings.EqualFold(p.name, name) {
			return p, true
		}
	}
	return property{}, false
}

// userObject is a user with the selected properties, or the usual ones.
func userObject(p people.Person, selected []string) object {
	var o object
	if selected == nil {
		for _, property := range userProperties {
			if property.usual {
				o = append(o, member{property.name, listed(property.get(p))})
			}
		}
		return o
	}
	for _, name := range selected {
		if property, ok := userProperty(name); ok && !o.has(property.name) {
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

// userGetter gives $filter and $search the values of a user.
func userGetter(p people.Person) odata.Getter {
	return func(name string) []string {
		property, ok := userProperty(name)
		if !ok {
			return nil
		}
		switch value := property.get(p).(type) {
		case string:
			return []string{value}
		case bool:
			return []string{strconv.FormatBool(value)}
		case []string:
			return value
		}
		return nil
	}
}

// checkSelection refuses properties that do not exist, and those an app with
// basic permission does not see.
func (c *call) checkSelection(selected []string) error {
	basicOnly := c.may([]string{permissionBasic}) && !c.may(readUsers)
	for _, name := range selected {
		p, ok := userProperty(name)
		if !ok {
			return badRequest("Parsing OData Select and Expand failed: Could not find a property named '%s' on type 'microsoft.graph.user'.", name)
		}
		if basicOnly && !p.basic {
			return &graphError{status: 403, code: "Authorization_RequestDenied", message: "Insufficient privileges to complete the operation."}
		}
	}
	return nil
}

// The documented bounds of filters.
const (
	maxIn        = 15
	maxEqualText = 120
)

// parseFilter parses a filter on users and refuses what Graph does not
// support, or supports in advanced queries only.
func parseFilter(text string, advanced bool) (*odata.Filter, error) {
	filter, err := odata.ParseFilter(text)
	if err != nil {
		return nil, badRequest("Invalid filter clause: %v.", err)
	}
	for _, use := range filter.Uses() {
		if err := checkUse(use, advanced); err != nil {
			return nil, err
		}
	}
	return filter, nil
}

func checkUse(use odata.Use, advanced bool) error {
	p, ok := userProperty(use.Property)
	switch {
	case !ok:
		return badRequest("Invalid filter clause: Could not find a property named '%s' on type 'microsoft.graph.user'.", use.Property)
	case p.list != use.Collection:
		return badRequest("Invalid filter clause: '%s' must %sstand in any().", p.name, map[bool]string{false: "not "}[p.list])
	case len(use.Values) > maxIn:
		return badRequest("Too many child clauses specified in search filter expression containing 'OR' operators: %d. Max allowed: %d.", len(use.Values), maxIn)
	}
	for _, v := range use.Values {
		if len([]rune(v.Text)) > maxEqualText {
			return badRequest("Invalid filter clause: a value of '%s' is longer than %d characters.", p.name, maxEqualText)
		}
		if p.name == "accountEnabled" && (v.Quoted || v.Text != "true" && v.Text != "false") {
			return badRequest("Invalid filter clause: '%s' is compared with true or false.", p.name)
		}
		if p.name != "accountEnabled" && !v.Quoted && !v.Null {
			return badRequest("Invalid filter clause: '%s' is compared with a string in single quotes.", p.name)
		}
	}
	plain := hasWord(p.operators, use.Operator) && !use.Negated
	possible := plain || hasWord(p.operators, use.Operator) || hasWord(p.advanced, use.Operator)
	switch {
	case !possible:
		return unsupportedQuery("Unsupported or invalid query filter clause specified for property '%s' of resource 'User'.", p.name)
	case !plain && !advanced:
		return unsupportedQuery("The filter on property '%s' needs an advanced query: the header 'ConsistencyLevel: eventual' and $count=true.", p.name)
	}
	return nil
}

func hasWord(list, word string) bool {
	for w := range strings.FieldsSeq(list) {
		if w == word {
			return true
		}
	}
	return false
}
