GO ?= go

# The crash test kills the store and the mix at random instants; CRASH_KILLS
# says how often.
CRASH_KILLS ?= 200
CRASH_PACKAGES ?= ./internal/store/... ./mix/...
CRASH_ARGS ?= -args -kills=$(CRASH_KILLS)

FUZZTIME ?= 30s

.PHONY: build test check bench crash fuzz clean

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
	$(GO) test -count=1 -timeout=1h -run Crash $(CRASH_PACKAGES) $(CRASH_ARGS)

# One target for longer: make fuzz PACKAGE=./packet TARGET=FuzzUnwrap
fuzz:
	$(GO) test -run '^$$' -fuzz '^$(TARGET)$$' -fuzztime $(FUZZTIME) $(PACKAGE)

clean:
	rm -rf bin bench.out
