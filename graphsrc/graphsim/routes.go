package graphsim

import (
	"net/http"
	"slices"
)

// The permissions that open a resource, after the permission tables of the
// Microsoft Graph reference. A write permission includes reading.
var (
	readPresence   = []string{"Presence.Read.All", "Presence.ReadWrite.All"}
	writePresence  = []string{"Presence.ReadWrite.All"}
	readOwn        = []string{"Presence.Read", "Presence.ReadWrite"}
	writeOwn       = []string{"Presence.ReadWrite"}
	readUsers      = []string{"User.Read.All", "User.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"}
	readUsersBasic = append([]string{permissionBasic}, readUsers...)
	readSelf       = []string{"User.Read"}
	readDirectory  = []string{"Directory.Read.All", "Directory.ReadWrite.All"}
	readGroups     = []string{"Group.Read.All", "Group.ReadWrite.All", "GroupMember.Read.All", "Directory.Read.All", "Directory.ReadWrite.All"}
	readMembers    = append([]string{"GroupMember.ReadBasic.All"}, readGroups...)
	readPeople     = []string{"People.Read.All"}
	readContacts   = []string{"Contacts.Read", "Contacts.ReadWrite"}
	readPhotos     = append([]string{"ProfilePhoto.Read.All"}, readUsers...)
	readTenant     = []string{"Organization.Read.All", "Organization.ReadWrite.All", "Directory.Read.All", "Directory.ReadWrite.All"}
)

// permissionBasic shows only the basic properties of users.
const permissionBasic = "User.ReadBasic.All"

// routes is all of Graph there is. Of two routes that match, the first wins.
func (t *Tenant) routes() []*route {
	all := slices.Concat(t.presenceRoutes(), t.directoryRoutes(), t.subscriptionRoutes())
	setUnits(all)
	return all
}

func (t *Tenant) presenceRoutes() []*route {
	read := func(method, path string, serve func(*call) (reply, error)) *route {
		return &route{
			method: method, path: path, presence: true, serve: serve,
			app: readPresence, delegated: readPresence, self: readOwn,
		}
	}
	write := func(action string, serve func(*call) (reply, error)) *route {
		return &route{
			method: http.MethodPost, path: "/users/{id}/presence/" + action, presence: true, serve: serve,
			app: writePresence, delegated: writePresence, self: writeOwn,
		}
	}
	return []*route{
		read(http.MethodPost, "/communications/getPresencesByUserId", t.getPresences),
		read(http.MethodGet, "/users/{id}/presence", t.getPresence),
		read(http.MethodGet, "/communications/presences/{id}", t.getPresenceWrapped),
		write("setPresence", t.setPresence),
		write("clearPresence", t.clearPresence),
		write("setUserPreferredPresence", t.setPreferred),
		write("clearUserPreferredPresence", t.clearPreferred),
		write("setStatusMessage", t.setStatusMessage),
	}
}

func (t *Tenant) directoryRoutes() []*route {
	get := func(path string, app, self []string, serve func(*call) (reply, error)) *route {
		return &route{method: http.MethodGet, path: path, app: app, delegated: app, self: self, serve: serve}
	}
	return []*route{
		get("/users", readUsersBasic, nil, t.listUsers),
		get("/users/delta", readUsers, nil, t.deltaUsers),
		get("/users/$count", readUsers, nil, t.countUsers),
		get("/users/{id}", readUsersBasic, readSelf, t.getUser),
		get("/users/{id}/manager", readUsers, nil, t.getManager),
		get("/users/{id}/directReports", readUsers, readSelf, t.listReports),
		get("/users/{id}/memberOf", readDirectory, readSelf, t.listMemberOf),
		get("/users/{id}/memberOf/microsoft.graph.group", readDirectory, readSelf, t.listMemberOfGroups),
		get("/users/{id}/transitiveMemberOf", readUsers, readSelf, t.listTransitiveMemberOf),
		get("/users/{id}/photo", readPhotos, readSelf, t.getPhotoInfo),
		get("/users/{id}/photo/$value", readPhotos, readSelf, t.getPhoto),
		get("/users/{id}/photos", readPhotos, readSelf, t.listPhotos),
		get("/users/{id}/photos/{size}", readPhotos, readSelf, t.getPhotoInfo),
		get("/users/{id}/photos/{size}/$value", readPhotos, readSelf, t.getPhoto),
		get("/users/{id}/people", readPeople, []string{"People.Read"}, t.listPeople),
		get("/users/{id}/contactFolders", readContacts, readContacts, t.listFolders),
		get("/users/{id}/contactFolders/{folder}/contacts", readContacts, readContacts, t.listContacts),
		get("/users/{id}/contacts", readContacts, readContacts, t.listContacts),
		get("/groups", readGroups, nil, t.listGroups),
		get("/groups/{id}", readGroups, nil, t.getGroup),
		get("/groups/{id}/members", readMembers, nil, t.listMembers),
		get("/groups/{id}/members/microsoft.graph.user", readMembers, nil, t.listMemberUsers),
		get("/groups/{id}/transitiveMembers", readMembers, nil, t.listTransitiveMembers),
		get("/groups/{id}/transitiveMembers/microsoft.graph.user", readMembers, nil, t.listTransitiveMemberUsers),
		get("/organization", readTenant, nil, t.listOrganization),
	}
}
