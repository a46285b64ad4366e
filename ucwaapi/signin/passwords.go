package signin

import (
	"context"
	"crypto/rand"
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// maxPassword is the most bytes of a password that bcrypt looks at. A longer
// one is wrong, lest its tail be ignored.
const maxPassword = 72

// maxUserName bounds what a client may send as its user name, in bytes: an
// address with a scheme or a Windows domain before it.
const maxUserName = 2 * maxAddress

// Passwords is a PasswordSource of the accounts of a password file as it was
// when it was read; Htpasswd follows the file. Safe for use by several
// goroutines.
type Passwords struct {
	accounts map[string]account // by address
	domains  []string           // of bare user names
	// decoys has a hash that nothing matches for each cost up to the highest
	// in the file; see pad.
	decoys  [maxBcryptCost + 1][]byte
	maxCost int
}

type account struct {
	hash []byte
	cost int
	line int // in the file
}

var _ PasswordSource = (*Passwords)(nil)

func newPasswords(accounts map[string]account, domains []string) *Passwords {
	p := &Passwords{accounts: accounts, domains: domains, maxCost: bcrypt.MinCost}
	if len(accounts) == 0 {
		p.maxCost = bcrypt.DefaultCost
	}
	for _, a := range accounts {
		p.maxCost = max(p.maxCost, a.cost)
	}
	for cost := bcrypt.MinCost; cost <= p.maxCost; cost++ {
		p.decoys[cost] = decoy(cost)
	}
	return p
}

// decoy returns a hash of the given cost with a random salt and a random
// digest. Making a real one would cost as much time as checking it.
func decoy(cost int) []byte {
	const alphabet = "./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
	hash := fmt.Appendf(nil, "$2b$%02d$", cost)
	var random [bcryptBodyLen]byte
	rand.Read(random[:])
	for _, b := range random {
		hash = append(hash, alphabet[b&63])
	}
	return hash
}

// Len returns the number of accounts.
func (p *Passwords) Len() int { return len(p.accounts) }

// Check reports whether password is that of user, and who that is. The user
// name may be an address, with or without "sip:", a bare user name, or
// DOMAIN\user, in any letter case. A bare name stands for the first of the
// default domains in which such an account exists; so does the part behind a
// backslash.
//
// A check takes the same time whether or not there is such a user. It is slow
// by design, so callers bound how many run at a time.
func (p *Passwords) Check(user, password string) (Identity, bool) {
	id, err := p.check(user, password)
	return id, err == nil
}

// CheckPassword implements PasswordSource by Check. It does not end early when
// ctx does: a check that can be cut short tells something by its time.
func (p *Passwords) CheckPassword(_ context.Context, user, password string) (Identity, error) {
	return p.check(user, password)
}

// Concurrency implements PasswordSource: half the processors stay with those
// who are signed in.
func (p *Passwords) Concurrency() int { return max(1, runtime.GOMAXPROCS(0)/2) }

func (p *Passwords) check(user, password string) (Identity, error) {
	address := p.Account(user)
	acc, known := p.accounts[address]
	if !known {
		acc = account{hash: p.decoys[p.maxCost], cost: p.maxCost}
	}
	secret := []byte(password)
	legal := len(secret) > 0 && len(secret) <= maxPassword
	if !legal {
		secret = []byte{0}
	}
	matches := bcrypt.CompareHashAndPassword(acc.hash, secret) == nil
	p.pad(acc.cost, secret)
	switch {
	case !known:
		return Identity{}, ErrUnknownUser
	case !legal || !matches:
		return Identity{}, ErrWrongPassword
	}
	return Identity{Address: address, Method: MethodPassword}, nil
}

// pad makes a check at a low cost last as long as one at the highest: the work
// is 2^cost, and 2^cost + (2^cost + 2^(cost+1) + … + 2^(max-1)) = 2^max.
func (p *Passwords) pad(cost int, secret []byte) {
	for c := cost; c < p.maxCost; c++ {
		_ = bcrypt.CompareHashAndPassword(p.decoys[c], secret)
	}
}

// Account returns the one name under which attempts for user are counted, so
// that every spelling counts as the same: the address of the account where
// there is one, else what the address would be.
func (p *Passwords) Account(user string) string {
	name := userName(cut(user, maxUserName))
	if strings.Contains(name, "@") || len(p.domains) == 0 {
		return name
	}
	for _, d := range p.domains {
		if _, ok := p.accounts[name+"@"+d]; ok {
			return name + "@" + d
		}
	}
	return name + "@" + p.domains[0]
}

// userName strips a user name of its scheme or Windows domain and makes it
// lower case.
func userName(s string) string {
	s = trimScheme(strings.ToLower(strings.TrimSpace(s)))
	return s[strings.LastIndexByte(s, '\\')+1:]
}
