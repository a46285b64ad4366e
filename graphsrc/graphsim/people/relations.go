package people

import (
	"fmt"
	"iter"
	"strconv"
)

// The shape of the organization.
const (
	reportsPerManager = 7
	teamSize          = 12
	// peoplePerProject sets the number of projects; everyone is in three.
	peoplePerProject   = 10
	projectsPerUser    = 3
	smallestProjectSet = 4
	// administratorEvery makes every fiftieth user hold a directory role, so
	// that readers of memberOf meet entries that are no groups.
	administratorEvery = 50
)

// Manager is the parent in the management tree; the root has none.
func (d *Directory) Manager(index int) (int, bool) {
	if index == 0 {
		return 0, false
	}
	manager := (index - 1) / reportsPerManager
	return manager, d.Present(manager)
}

// Reports are the children in the management tree.
func (d *Directory) Reports(index int) []int {
	var reports []int
	for child := reportsPerManager*index + 1; child <= reportsPerManager*(index+1); child++ {
		if d.Present(child) {
			reports = append(reports, child)
		}
	}
	return reports
}

func teamOf(index int) int { return index / teamSize }

func (d *Directory) teams() int { return (d.users + teamSize - 1) / teamSize }

func (d *Directory) projects() int { return max(smallestProjectSet, d.users/peoplePerProject) }

// projectShifts are different modulo every possible number of projects, so
// the three projects of a user are different ones.
func (d *Directory) projectShifts() [projectsPerUser]int {
	return [projectsPerUser]int{0, 1, 1 + d.projects()/2}
}

// Group is a group of the directory.
type Group struct {
	Number          int
	ID              string
	DisplayName     string
	Description     string
	Mail            string // empty for security groups
	MailNickname    string
	Unified         bool // a Microsoft 365 group
	MailEnabled     bool
	SecurityEnabled bool
}

// Groups are numbered: everyone; one security group per department, which
// holds teams; teams; projects. Every fourth project is a plain mail-enabled
// distribution list, the other groups with people are Microsoft 365 groups.
func (d *Directory) Groups() int { return 1 + len(departments) + d.teams() + d.projects() }

// GroupByID finds a group by object id.
func (d *Directory) GroupByID(id string) (Group, bool) {
	number, ok := d.indexOf(kindGroup, id)
	if !ok || number >= d.Groups() {
		return Group{}, false
	}
	return d.Group(number), true
}

// Group is the group of that number, in [0, Groups).
func (d *Directory) Group(number int) Group {
	g := Group{Number: number, ID: d.objectID(kindGroup, number), Unified: true, MailEnabled: true}
	switch sort, n := d.groupSort(number); sort {
	case everyone:
		g.DisplayName, g.MailNickname = "All Company", "all"
	case department:
		g.DisplayName, g.MailNickname = "Department "+departments[n], "department-"+strconv.Itoa(n+1)
		g.Unified, g.MailEnabled, g.SecurityEnabled = false, false, true
	case team:
		g.DisplayName = fmt.Sprintf("%s Team %d", departments[n%len(departments)], n/len(departments)+1)
		g.MailNickname = "team-" + strconv.Itoa(n+1)
	case project:
		word := projectNames[(n+int(d.seed%uint64(len(projectNames))))%len(projectNames)]
		g.DisplayName = "Project " + word
		if round := n / len(projectNames); round > 0 {
			g.DisplayName += " " + strconv.Itoa(round+1)
		}
		g.MailNickname = "project-" + strconv.Itoa(n+1)
		g.Unified = n%4 != 3
	}
	g.Description = g.DisplayName
	if g.MailEnabled {
		g.Mail = g.MailNickname + "@" + d.domain
	}
	return g
}

type groupSort int

const (
	everyone groupSort = iota
	department
	team
	project
)

func (d *Directory) groupSort(number int) (groupSort, int) {
	switch firstTeam := 1 + len(departments); {
	case number == 0:
		return everyone, 0
	case number < firstTeam:
		return department, number - 1
	case number < firstTeam+d.teams():
		return team, number - firstTeam
	default:
		return project, number - firstTeam - d.teams()
	}
}

// GroupsOf returns the numbers of the groups a user is a direct member of;
// with transitive set, also of those that hold such a group.
func (d *Directory) GroupsOf(index int, transitive bool) []int {
	firstTeam := 1 + len(departments)
	groups := []int{0, firstTeam + teamOf(index)}
	for _, shift := range d.projectShifts() {
		groups = append(groups, firstTeam+d.teams()+(index+shift)%d.projects())
	}
	if transitive {
		groups = append(groups, 1+teamOf(index)%len(departments))
	}
	return groups
}

// Role is a directory role.
type Role struct{ ID, DisplayName string }

// RoleOf is the directory role a user holds, if any.
func (d *Directory) RoleOf(index int) (Role, bool) {
	if index%administratorEvery != 1 {
		return Role{}, false
	}
	return Role{ID: d.objectID(kindRole, 0), DisplayName: "Global Reader"}, true
}

// Member is a member of a group: a user, or a group inside it.
type Member struct {
	User    int
	Group   int
	IsGroup bool
}

// Members yields the members of a group from a position on, each with the
// position after it, at which a later call resumes. Positions without a
// member are passed over.
func (d *Directory) Members(number int, transitive bool, from int) iter.Seq2[int, Member] {
	positions, at := d.memberTable(number, transitive)
	return func(yield func(int, Member) bool) {
		for position := max(from, 0); position < positions; position++ {
			member := at(position)
			if !member.IsGroup && !d.Present(member.User) {
				continue
			}
			if !yield(position+1, member) {
				return
			}
		}
	}
}

// memberTable describes a group's members as a function over positions.
func (d *Directory) memberTable(number int, transitive bool) (positions int, at func(int) Member) {
	firstTeam := 1 + len(departments)
	switch sort, n := d.groupSort(number); sort {
	case everyone:
		return d.users, func(k int) Member { return Member{User: k} }
	case department:
		teams := (d.teams() - n + len(departments) - 1) / len(departments)
		teamAt := func(k int) int { return n + k*len(departments) }
		if !transitive {
			return teams, func(k int) Member { return Member{IsGroup: true, Group: firstTeam + teamAt(k)} }
		}
		// Each team takes a position for itself and one for every seat.
		return teams * (1 + teamSize), func(k int) Member {
			t, seat := teamAt(k/(1+teamSize)), k%(1+teamSize)
			if seat == 0 {
				return Member{IsGroup: true, Group: firstTeam + t}
			}
			return Member{User: t*teamSize + seat - 1}
		}
	case team:
		return teamSize, func(k int) Member { return Member{User: n*teamSize + k} }
	default:
		// The members by one shift form an arithmetic progression; the
		// progressions of different shifts have no member in common.
		shifts, projects := d.projectShifts(), d.projects()
		return projectsPerUser * (d.users/projects + 1), func(k int) Member {
			first := ((n-shifts[k%projectsPerUser])%projects + projects) % projects
			return Member{User: first + k/projectsPerUser*projects}
		}
	}
}
