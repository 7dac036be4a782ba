# make test   what a change must pass, under ten minutes     make soak   what takes longer
# make demo   the main job in one command                    make bench  against Kamailio + rtpengine
.DEFAULT_GOAL := build
SHELL := /bin/bash

VERSION  ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
GOLANGCI := github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
GOVULN   := golang.org/x/vuln/cmd/govulncheck@v1.9.0
CYCLONEDX := github.com/CycloneDX/cyclonedx-gomod/cmd/cyclonedx-gomod@v1.10.0
FUZZTIME ?= 1m
FOR      ?= 1h
SEED     ?=
BENCH    ?=

# need installs Debian packages when a command is missing: $(call need,command,packages). Only root can, others are told.
define need
	@command -v $(1) >/dev/null 2>&1 || { \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	    echo "installing $(2), because $(1) is missing"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(2) </dev/null; \
	  else echo "$(1) is missing: install the Debian package(s) $(2) (as root: apt-get install $(2))" >&2; exit 1; fi; }
endef

# want does the same for what only some tests need, given as command:package; they skip, and say so, where it cannot be had.
define want
	@missing() { for w in $(1); do command -v "$${w%%:*}" >/dev/null 2>&1 || echo "$${w#*:}"; done; }; \
	packages=$$(missing); \
	if [ -n "$$packages" ] && [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then \
	  echo "installing" $$packages "for the tests that need them"; \
	  get() { DEBIAN_FRONTEND=noninteractive apt-get -o Acquire::Retries=0 -o Acquire::http::Timeout=20 "$$@" </dev/null; }; \
	  get update -qq || true; \
	  get install -y -qq --no-install-recommends $$packages || for p in $$packages; do get install -y -qq --no-install-recommends $$p || true; done; \
	  packages=$$(missing); \
	fi; \
	[ -z "$$packages" ] || echo "not here, so the tests that need it skip:" $$packages
endef

.PHONY: build test race soak simulate bench fuzz vuln sbom lint demo announcements image clean

build: ## the static, stripped binary
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=$(VERSION)" -o bin/nines ./cmd/nines

test: ## vet and every test; as root it installs the far ends that are missing, without them their tests skip
	$(call want,sipp:sip-tester promtool:prometheus kamailio:kamailio baresip:baresip-core linphone-daemon:linphone-cli sipsak:sipsak svmap:sipvicious chromium:chromium)
	@[ "$$(id -u)" != 0 ] || ! command -v apt-get >/dev/null 2>&1 || test/asterisk/unpack bin/asterisk || echo "Asterisk could not be fetched: its test skips"
	go vet ./...
	go vet -tags soak ./...
	go test -timeout 9m $$(go list ./... | grep -v -e /test/acceptance -e /test/browser)
	go test -timeout 8m ./test/acceptance # alone: it looks at the clock
	go test -timeout 5m ./test/browser # alone: it looks at the clock too, and at axe-core where npm can fetch it

race: ## the rooms' tests again with the race detector, which needs a C compiler; nights are played for 3 s and again where one failed once
	$(call need,gcc,gcc libc6-dev)
	CGO_ENABLED=1 go test -race -short -timeout 30m $$(go list ./... | grep -v /test/)

soak: race ## what takes longer than ten minutes
	$(call need,sipp,sip-tester)
	go test -count=1 -timeout 30m -run '^(TestTalkingCallIsNeverDropped|TestPromisesHoldInEveryHistory)$$' ./call -rapid.checks=100000
	go test -count=1 -tags soak -timeout 45m ./test/acceptance
	go test -count=1 -tags soak -timeout 50m -run Shift ./test/browser # eight hours of a page's updates

simulate: ## nights in memory: FOR=1h goes on that long, SEED=n replays one with the ladder of what failed
	go test -count=1 -v -timeout 0 -run 'TestNight$$' ./internal/town/night -for=$(FOR) -seed=$(SEED)

bench: ## the comparison with Kamailio + rtpengine, its ceiling over UDP, TCP and TLS: BENCH="-rate 300 -for 20s"
	$(call need,sipp,sip-tester)
	$(call need,kamailio,kamailio)
	$(call need,rtpengine,rtpengine-daemon)
	@ls /usr/lib/*/kamailio/modules/tls.so >/dev/null 2>&1 || [ "$$(id -u)" != 0 ] || apt-get install -y -qq --no-install-recommends kamailio-tls-modules </dev/null
	CGO_ENABLED=0 go build -trimpath -ldflags "-s -w" -o bin/nines ./cmd/nines
	go run ./test/bench -nines bin/nines $(BENCH)

fuzz: ## every fuzz target of every package, FUZZTIME each
	@set -e; \
	for dir in $$(grep -rl --include='*_test.go' '^func Fuzz' . | xargs -r -n1 dirname | sort -u); do \
	  for target in $$(go test -list '^Fuzz' "$$dir" | grep '^Fuzz'); do \
	    echo "== $$dir $$target, $(FUZZTIME)"; \
	    go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 200x "$$dir"; \
	  done; \
	done

vuln: ## known faults in what we are built from; skipped where the database cannot be reached
	@if curl -fsS -m 15 -o /dev/null https://vuln.go.dev/index/db.json 2>/dev/null; then go run $(GOVULN) ./...; \
	else echo "skipped: the database vuln.go.dev cannot be reached from here"; fi

sbom: build ## what the binary is made of, as CycloneDX: dist/nines.cdx.json
	@mkdir -p dist
	go run $(CYCLONEDX) bin -json -output dist/nines.cdx.json bin/nines

lint: ## golangci-lint with the linters of .golangci.yml
	go run $(GOLANGCI) run ./...

demo: ## a carrier, four rooms and nines on loopback; k kills the primary, r restores it, q quits
	go run ./cmd/nines demo

announcements: ## the built-in recordings of the texts that changed, spoken by espeak-ng
	$(call need,espeak-ng,espeak-ng)
	go run ./media/voice/record

image: ## the container image
	docker build --build-arg VERSION=$(VERSION) -t nines .

clean:
	rm -rf bin dist test/out
