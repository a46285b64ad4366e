package graphsim

import (
	"context"
	"math/rand/v2"
	"sync"
	"time"

	"ucwagate/graphsrc/clock"
	"ucwagate/graphsrc/graphsim/people"
)

// state is a number in the state table.
type state uint8

const wordOutOfOffice = "OutOfOffice"

// The states people pass through. The pairs are those Graph documents.
const (
	offline state = iota
	available
	availableIdle
	busy
	inACall
	inAConference
	inAMeeting
	busyIdle
	doNotDisturb
	presenting
	focusing
	urgentOnly
	beRightBack
	away
	awayInactive
	outOfOfficeState
	availableOutOfOffice
	offWork
	unknown
	stateCount
)

// step is a way out of a state, taken with a probability proportional to its
// weight.
type step struct {
	to     state
	weight int
}

// states is the workday: what each state is called and where it leads.
var states = struct {
	word [stateCount]words
	next [stateCount][]step
	// first is how a day begins.
	first []step
}{
	word: [stateCount]words{
		offline:              {"Offline", "Offline"},
		available:            {"Available", "Available"},
		availableIdle:        {"AvailableIdle", "Inactive"},
		busy:                 {"Busy", "Busy"},
		inACall:              {"Busy", "InACall"},
		inAConference:        {"Busy", "InAConferenceCall"},
		inAMeeting:           {"Busy", "InAMeeting"},
		busyIdle:             {"BusyIdle", "Inactive"},
		doNotDisturb:         {"DoNotDisturb", "DoNotDisturb"},
		presenting:           {"DoNotDisturb", "Presenting"},
		focusing:             {"DoNotDisturb", "Focusing"},
		urgentOnly:           {"DoNotDisturb", "UrgentInterruptionsOnly"},
		beRightBack:          {"BeRightBack", "BeRightBack"},
		away:                 {"Away", "Away"},
		awayInactive:         {"Away", "Inactive"},
		outOfOfficeState:     {wordOutOfOffice, wordOutOfOffice},
		availableOutOfOffice: {"Available", wordOutOfOffice},
		offWork:              {"Offline", "OffWork"},
		unknown:              {"PresenceUnknown", "PresenceUnknown"},
	},
	next: [stateCount][]step{
		offline: {{available, 12}, {away, 2}, {outOfOfficeState, 1}, {offWork, 1}},
		available: {
			{inAMeeting, 6},
			{inACall, 5},
			{busy, 4},
			{availableIdle, 4},
			{beRightBack, 3},
			{away, 3},
			{doNotDisturb, 2},
			{focusing, 2},
			{inAConference, 2},
			{urgentOnly, 1},
			{offline, 1},
		},
		availableIdle:        {{available, 5}, {awayInactive, 4}},
		busy:                 {{available, 6}, {inACall, 3}, {busyIdle, 2}, {inAMeeting, 2}},
		inACall:              {{available, 8}, {busy, 2}, {inAConference, 1}},
		inAConference:        {{available, 6}, {presenting, 2}, {busy, 2}},
		inAMeeting:           {{available, 6}, {presenting, 4}, {inAConference, 2}, {busyIdle, 1}},
		busyIdle:             {{busy, 3}, {available, 3}, {away, 2}},
		doNotDisturb:         {{available, 6}, {busy, 2}},
		presenting:           {{inAMeeting, 5}, {available, 4}},
		focusing:             {{available, 6}, {inAMeeting, 2}},
		urgentOnly:           {{available, 4}, {busy, 1}},
		beRightBack:          {{available, 8}, {away, 2}},
		away:                 {{available, 7}, {inACall, 1}, {offline, 2}},
		awayInactive:         {{available, 6}, {away, 2}, {offline, 2}},
		outOfOfficeState:     {{availableOutOfOffice, 3}, {offline, 3}},
		availableOutOfOffice: {{outOfOfficeState, 3}, {available, 2}},
		offWork:              {{offline, 2}, {available, 3}},
	},
	first: []step{
		{available, 34},
		{inAMeeting, 12},
		{away, 9},
		{offline, 9},
		{inACall, 6},
		{busy, 6},
		{availableIdle, 4},
		{doNotDisturb, 4},
		{beRightBack, 4},
		{presenting, 3},
		{awayInactive, 2},
		{outOfOfficeState, 2},
		{inAConference, 2},
		{focusing, 1},
		{busyIdle, 1},
		{availableOutOfOffice, 1},
		{offWork, 1},
		{urgentOnly, 1},
	},
}

// choose picks a step by a random number.
func choose(steps []step, random uint64) state {
	total := 0
	for _, s := range steps {
		total += s.weight
	}
	left := int(random % uint64(total))
	for _, s := range steps {
		if left -= s.weight; left < 0 {
			return s.to
		}
	}
	return steps[0].to
}

// draw is a random number for a purpose and a user.
func draw(seed uint64, purpose string, index int) uint64 {
	h := uint64(0xcbf29ce484222325)
	for i := range len(purpose) {
		h = (h ^ uint64(purpose[i])) * 0x100000001b3 // FNV-1a
	}
	return rand.NewPCG(seed^h, uint64(index)).Uint64()
}

// firstState is how a user's day begins. Of guests nothing is known, as of
// everyone without a mailbox in the tenant.
func firstState(seed uint64, index int, guest bool) state {
	if guest {
		return unknown
	}
	return choose(states.first, draw(seed, "day", index))
}

// The speed of the workday at pace 1.
const (
	tick = time.Second
	// movesPerPerson is the share of people who change in a tick.
	movesPerPerson = 0.01
	// fewestMoves keeps small tenants lively.
	fewestMoves = 0.5
	// circleEvery makes one of the people around the organizer, who are those
	// a demonstration shows, change every other tick.
	circleEvery = 2
)

// workday moves people.
type workday struct {
	presences *presences
	dir       *people.Directory
	clock     clock.Clock
	circle    []int
	// Moves per tick, of anyone and of the circle.
	perTick, circlePerTick float64

	mu      sync.Mutex
	random  *rand.Rand
	owed    float64 // moves due, the fraction included
	ofOwn   float64 // moves due within the circle
	running bool
	timer   clock.Timer
	unwatch func() bool
}

func newWorkday(p *presences, dir *people.Directory, cfg Config) *workday {
	return &workday{
		presences: p, dir: dir, clock: cfg.Clock, circle: circleOf(dir),
		perTick:       cfg.Pace * max(fewestMoves, movesPerPerson*float64(dir.Len())),
		circlePerTick: cfg.Pace / circleEvery,
		random:        rand.New(rand.NewPCG(cfg.Seed, 0x3077da1)),
	}
}

// circleOf lists the organizer's manager, peers and reports.
func circleOf(dir *people.Directory) []int {
	me := dir.Organizer()
	circle := append([]int{me}, dir.Reports(me)...)
	if manager, ok := dir.Manager(me); ok {
		circle = append(append(circle, manager), dir.Reports(manager)...)
	}
	return circle
}

// step moves as many people as are due in one tick.
func (d *workday) step() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.owed += d.perTick
	d.ofOwn += d.circlePerTick
	p := d.presences
	p.mu.Lock()
	defer p.mu.Unlock()
	for ; d.owed >= 1; d.owed-- {
		d.move(d.random.IntN(d.dir.Len()))
	}
	for ; d.ofOwn >= 1; d.ofOwn-- {
		d.move(d.circle[d.random.IntN(len(d.circle))])
	}
}

// move takes a person to the next state. It runs with both locks held and
// draws in any case, so that setting someone does not change what others do.
func (d *workday) move(index int) {
	p := d.presences
	number := d.random.Uint64()
	steps := states.next[p.states[index]]
	o := p.overlays[index]
	if len(steps) == 0 || o != nil && o.pinned != nil {
		return
	}
	p.states[index] = choose(steps, number)
	if o == nil {
		p.touch(index)
		return
	}
	p.refresh(index, o, p.clock.Now())
}

// start steps every tick until ctx ends or stop is called.
func (d *workday) start(ctx context.Context) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running || ctx.Err() != nil {
		return
	}
	d.running = true
	d.timer = d.clock.AfterFunc(tick, d.run)
	d.unwatch = context.AfterFunc(ctx, d.stop)
}

// run is one tick; it arms the next one unless the workday has ended.
func (d *workday) run() {
	d.step()
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.running {
		d.timer = d.clock.AfterFunc(tick, d.run)
	}
}

func (d *workday) stop() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if !d.running {
		return
	}
	d.running = false
	d.timer.Stop()
	d.unwatch()
}
