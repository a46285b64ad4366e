package main

// audience are the clients that watch a certain person: from, from+1, … n of
// them. People are numbered too.
type audience struct {
	person  int
	from, n int
}

// plan says who watches whom: three certain people are watched by one client,
// by a tenth of them and by nine tenths, everyone else by about equally many.
type plan struct {
	clients, people, watch int
	audiences              [3]audience
}

func newPlan(clients, people, watch int) plan {
	tenth := clients / 10
	return plan{clients, people, watch, [3]audience{
		{person: 0, from: 0, n: 1},
		{person: 1, from: 0, n: tenth},
		{person: 2, from: clients - 9*tenth, n: 9 * tenth},
	}}
}

// watchedBy returns the numbers of the people whom a client watches, all
// different.
func (p plan) watchedBy(client int) []int {
	var who []int
	for _, a := range p.audiences {
		if client >= a.from && client < a.from+a.n {
			who = append(who, a.person)
		}
	}
	others := p.people - len(p.audiences)
	for k := 0; len(who) < p.watch; k++ {
		who = append(who, len(p.audiences)+(client*(p.watch-1)+k)%others)
	}
	return who
}

// watched returns how many people somebody watches.
func (p plan) watched() int {
	seen := make(map[int]bool)
	for client := range p.clients {
		for _, person := range p.watchedBy(client) {
			seen[person] = true
		}
	}
	return len(seen)
}
