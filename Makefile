GO ?= go

# How often make crash kills a mix.
CRASH_KILLS ?= 200

# How many hostile connections make hostile makes. It needs as many open files.
HOSTILE ?= 10000

FUZZTIME ?= 30s

.PHONY: build test check bench crash hostile fuzz docs deb clean

build:
	$(GO) build -o bin/ ./cmd/mixminion ./cmd/mixminiond

test:
	$(GO) test ./...

check:
	.ci/run

# Compare two runs with benchstat.
bench:
	$(GO) test -run '^$$' -bench . -benchmem -count=6 ./... | tee bench.out

crash:
	$(GO) test -count=1 -timeout=1h -run Crash ./internal/store
	$(GO) test -count=1 -timeout=1h -run Crash ./mix -kills=$(CRASH_KILLS)

# A real mixminiond under attack; go test ./... does the same with 1,000 connections.
hostile:
	$(GO) test -count=1 -timeout=2h -v ./internal/testnet/hostile -hostile=$(HOSTILE)

# One target for longer: make fuzz PACKAGE=./packet TARGET=FuzzUnwrap
fuzz:
	$(GO) test -run '^$$' -fuzz '^$(TARGET)$$' -fuzztime $(FUZZTIME) -fuzzminimizetime 1s $(PACKAGE)

# The manual pages and docs/commands.md, from the help of the programs, and docs/settings.md, from the table of settings.
docs:
	$(GO) run ./internal/gendocs

# Debian packages of both programs, in bin/.
deb:
	contrib/deb/build.sh bin

clean:
	rm -rf bin bench.out
