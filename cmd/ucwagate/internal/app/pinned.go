package app

import (
	"bufio"
	"fmt"
	"os"
	"slices"
	"strings"

	"ucwagate/graphsrc"
)

// pinnedContacts are the addresses pinned for each owner, and under "*" for all.
type pinnedContacts map[string][]string

func (p pinnedContacts) of(owner string) []string {
	return slices.Concat(p[owner], p["*"])
}

// readPinned reads an operator's file of pinned contacts. A line is either
// "owner: address, address, …" for one user, or "*: address, …" for everybody;
// blank lines and lines that begin with # are passed over.
func readPinned(path string) (pinnedContacts, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("reading pinned contacts: %w", err)
	}
	defer f.Close()
	pinned := make(pinnedContacts)
	scanner := bufio.NewScanner(f)
	for n := 1; scanner.Scan(); n++ {
		line := strings.TrimSpace(scanner.Text())
		if line == "" || line[0] == '#' {
			continue
		}
		owner, list, ok := strings.Cut(line, ":")
		if !ok {
			return nil, fmt.Errorf("%s:%d: a line has the form owner: address, address", path, n)
		}
		if owner = strings.TrimSpace(owner); owner != "*" {
			if owner, err = graphsrc.ParseAddress(owner); err != nil {
				return nil, fmt.Errorf("%s:%d: the owner is not an address", path, n)
			}
		}
		for item := range strings.SplitSeq(list, ",") {
			address, err := graphsrc.ParseAddress(item)
			if err != nil {
				return nil, fmt.Errorf("%s:%d: %q is not an address", path, n, strings.TrimSpace(item))
			}
			pinned[owner] = append(pinned[owner], address)
		}
	}
	if err := scanner.Err(); err != nil {
		return nil, fmt.Errorf("reading pinned contacts: %w", err)
	}
	return pinned, nil
}
