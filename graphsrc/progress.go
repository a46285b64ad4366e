package graphsrc

import (
	"log/slog"
	"time"

	"ucwagate/graphsrc/clock"
)

const (
	// A line tells of the progress of a full reading after so many users, or
	// after so much time, whichever comes first.
	progressUsers = 20_000
	progressTime  = 10 * time.Second
)

// progress follows a reading of the whole directory in the log.
type progress struct {
	clk clock.Clock
	log *slog.Logger

	begun  time.Time // zero before the first page
	before int       // users that were there then
	pages  int
	told   int // users
	toldAt time.Time
}

func (p *progress) restart() { *p = progress{clk: p.clk, log: p.log} }

// page counts a page that has been applied to x.
func (p *progress) page(x *index) {
	now := p.clk.Now()
	users, _ := x.size()
	if p.begun.IsZero() {
		p.begun, p.before = now, users
		p.told, p.toldAt = users, now
	}
	p.pages++
	if users-p.told < progressUsers && now.Sub(p.toldAt) < progressTime {
		return
	}
	p.told, p.toldAt = users, now
	p.log.Info("reading the directory", "users", users, "pages", p.pages, "users_per_second", p.rate(users, now))
}

// done tells of the end.
func (p *progress) done(x *index) {
	now := p.clk.Now()
	users, _ := x.size()
	if p.begun.IsZero() {
		p.begun = now
	}
	p.log.Info("the directory is synchronized", "users", users, "pages", p.pages+1,
		"took", now.Sub(p.begun).Round(time.Millisecond), "users_per_second", p.rate(users, now))
	p.restart()
}

// rate is how many users came per second since the first page.
func (p *progress) rate(users int, now time.Time) int {
	took := now.Sub(p.begun).Seconds()
	if took <= 0 {
		return 0
	}
	return int(float64(users-p.before) / took)
}
