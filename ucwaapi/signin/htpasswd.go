package signin

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/crypto/bcrypt"
)

// The lengths of a bcrypt hash in a password file, in bytes:
//
//	$2y$10$ salt (22 characters) digest (31 characters)
const (
	bcryptHeadLen = 7
	bcryptBodyLen = 53
	// maxBcryptCost is the highest cost that Apache's htpasswd makes. Each
	// step doubles the time, and 17 takes ten seconds: a higher one is a slip.
	maxBcryptCost = 17
)

// OpenHtpasswd reads the password file at path, as ParseHtpasswd does.
func OpenHtpasswd(path string, defaultDomains ...string) (*Passwords, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("opening the password file: %w", err)
	}
	defer f.Close()
	p, err := ParseHtpasswd(f, defaultDomains...)
	if err != nil {
		return nil, fmt.Errorf("password file %s: %w", path, err)
	}
	return p, nil
}

// ParseHtpasswd reads lines of the form name:hash, as Apache's `htpasswd -B`
// writes them. A name is an address, with or without "sip:", or a bare user
// name, which then belongs to the first of defaultDomains. A hash is bcrypt in
// one of the forms $2a$, $2b$ and $2y$. Blank lines and lines that begin with #
// are skipped. The error lists the problems of all lines by number and repeats
// neither names nor hashes.
func ParseHtpasswd(r io.Reader, defaultDomains ...string) (*Passwords, error) {
	domains, err := parseDomains(defaultDomains)
	if err != nil {
		return nil, err
	}
	accounts := map[string]account{}
	var problems []error
	lines := bufio.NewScanner(r)
	number := 0
	for lines.Scan() {
		number++
		line := strings.TrimSpace(strings.TrimPrefix(lines.Text(), "\ufeff"))
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		address, acc, err := parseLine(line, domains)
		if err == nil {
			acc.line = number
			if first, ok := accounts[address]; ok {
				err = fmt.Errorf("the same account as in line %d", first.line)
			}
		}
		if err != nil {
			problems = append(problems, fmt.Errorf("line %d: %w", number, err))
			continue
		}
		accounts[address] = acc
	}
	if err := lines.Err(); err != nil {
		problems = append(problems, fmt.Errorf("line %d: %w", number+1, err))
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	return newPasswords(accounts, domains), nil
}

func parseDomains(list []string) ([]string, error) {
	domains := make([]string, 0, len(list))
	for _, d := range list {
		domain := strings.TrimPrefix(strings.ToLower(strings.TrimSpace(d)), "@")
		if !validDomain(domain) {
			return nil, fmt.Errorf("default domain %q: not a domain name", d)
		}
		domains = append(domains, domain)
	}
	return domains, nil
}

func parseLine(line string, domains []string) (address string, acc account, err error) {
	// The last colon: a name may have one ("sip:"), a hash has none.
	at := strings.LastIndexByte(line, ':')
	if at < 0 {
		return "", account{}, errors.New("no colon between name and hash")
	}
	name := userName(line[:at])
	if !strings.Contains(name, "@") {
		if len(domains) == 0 {
			return "", account{}, errors.New("a name without a domain, and no default domain is configured")
		}
		name += "@" + domains[0]
	}
	address, err = parseAddress(name)
	if err != nil {
		return "", account{}, fmt.Errorf("the name is %w", err)
	}
	acc.hash = []byte(strings.TrimSpace(line[at+1:]))
	acc.cost, err = bcryptCost(acc.hash)
	return address, acc, err
}

// bcryptCost returns the cost of a well-formed bcrypt hash. x/crypto is less
// strict about the form; a slip in the file shall show when it is read.
func bcryptCost(hash []byte) (int, error) {
	if len(hash) < 4 || hash[0] != '$' || hash[1] != '2' || !strings.ContainsRune("aby", rune(hash[2])) || hash[3] != '$' {
		return 0, errors.New("the hash is not bcrypt ($2a$, $2b$ or $2y$); make it with htpasswd -B")
	}
	if len(hash) != bcryptHeadLen+bcryptBodyLen || hash[bcryptHeadLen-1] != '$' {
		return 0, fmt.Errorf("the bcrypt hash is not %d characters long", bcryptHeadLen+bcryptBodyLen)
	}
	for _, c := range hash[bcryptHeadLen:] {
		if c != '.' && c != '/' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return 0, errors.New("the bcrypt hash has a character that no such hash has")
		}
	}
	cost, err := bcrypt.Cost(hash)
	if err != nil {
		return 0, errors.New("the cost of the bcrypt hash is not legal")
	}
	if cost > maxBcryptCost {
		return 0, fmt.Errorf("the cost of the bcrypt hash is %d, above %d", cost, maxBcryptCost)
	}
	return cost, nil
}
