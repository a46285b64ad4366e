# make demo   runs the gateway against a simulated tenant
# make test   installs what is missing, checks and tests everything
# make bench  prints the benchmarks, each beside its baseline
# make audit  looks for known vulnerabilities, changed modules and builds that differ

GO       ?= go
PACKAGES := ./...
# Debian packages that the tests need, each with the command that shows it is there.
NEEDED   := gcc:gcc libc6-dev:/usr/include/stdio.h chromium:chromium nginx:nginx haproxy:haproxy \
            nodejs:node python3:python3 curl:curl jq:jq systemd:systemd-analyze prometheus:promtool \
            redis-server:redis-server

.PHONY: demo build test deps check fuzz bench golden image audit vulncheck reproducible sbom clean

demo:
	$(GO) build -o bin/ucwagate ./cmd/ucwagate
	@exec bin/ucwagate demo $(DEMOFLAGS)

build:
	CGO_ENABLED=0 $(GO) build -trimpath -o bin/ucwagate ./cmd/ucwagate

test: deps check
	CGO_ENABLED=1 $(GO) test -race -timeout 20m $(PACKAGES)

# deps installs missing Debian packages where it may, and says what is missing
# where it may not.
deps:
	@missing=""; \
	for need in $(NEEDED); do \
	  package=$${need%%:*}; probe=$${need#*:}; \
	  case $$probe in /*) test -e $$probe;; *) command -v $$probe >/dev/null;; esac || missing="$$missing $$package"; \
	done; \
	test -z "$$missing" && exit 0; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	else \
	  echo "The tests need these Debian packages:$$missing" >&2; exit 1; \
	fi

# check builds, vets, lints and looks at the formatting.
check:
	$(GO) build $(PACKAGES)
	$(GO) vet $(PACKAGES)
	$(GO) tool staticcheck $(PACKAGES)
	@unformatted="$$($(GO) tool gofumpt -l .)"; \
	test -z "$$unformatted" || { echo "not formatted with gofumpt:"; echo "$$unformatted"; exit 1; }
	@$(GO) mod tidy -diff

# fuzz runs every fuzz target for a while; FUZZTIME sets how long each.
FUZZTIME ?= 20s
fuzz:
	@for dir in $$(grep -rl --include='*_test.go' 'func Fuzz' . | xargs -n1 dirname | sort -u); do \
	  for target in $$(grep -ho 'func Fuzz[A-Za-z0-9_]*' $$dir/*_test.go | cut -c6- | sort -u); do \
	    echo "$$dir $$target"; $(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) $$dir || exit 1; \
	  done; \
	done

bench:
	$(GO) test -run '^$$' -bench . -benchmem $(PACKAGES)
	$(GO) test -count=1 -v -run Documented ./graphsrc/scale -full -update
	$(GO) run ./cmd/ucwaload
	$(GO) run ./cmd/ucwaload hostile
	$(GO) run ./cmd/ucwaload footprint

# golden rewrites the golden files; read the difference before you commit it.
golden:
	@for dir in $$(grep -rl --include='*_test.go' '"update"' . | xargs -n1 dirname | sort -u); do \
	  $(GO) test -count=1 $$dir -update || exit 1; \
	done

image:
	docker build -t ucwagate .

# audit is for continuous integration, beside test. The tools' versions are fixed
# here, and go.sum's database checks what is downloaded.
GOVULNCHECK := golang.org/x/vuln/cmd/govulncheck@v1.9.0
CYCLONEDX   := github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0

audit: vulncheck reproducible sbom
	$(GO) mod verify

# vulncheck says which known vulnerabilities the code can reach. It asks
# https://vuln.go.dev; VULNDB names a copy.
VULNDB ?= https://vuln.go.dev
vulncheck:
	$(GO) run $(GOVULNCHECK) -db $(VULNDB) $(PACKAGES)

# reproducible builds what is committed in two folders and compares. The
# revision is left out, because copies have no history.
reproducible:
	@set -e; copies=$$(mktemp -d); trap 'rm -rf "$$copies"' EXIT; \
	for n in one another; do \
	  mkdir "$$copies/$$n"; git archive HEAD | tar -x -C "$$copies/$$n"; \
	  (cd "$$copies/$$n" && CGO_ENABLED=0 $(GO) build -trimpath -buildvcs=false -o ../program-$$n ./cmd/ucwagate); \
	done; \
	cmp "$$copies/program-one" "$$copies/program-another"; sha256sum < "$$copies/program-one"

# sbom lists what is in the program, in CycloneDX's form.
sbom: build
	$(GO) run $(CYCLONEDX) bin -json -std -output bin/ucwagate.cdx.json bin/ucwagate

clean:
	rm -rf bin
