# The recipes of this project. `make` lists them.

XTASK := cargo run --quiet --locked --package xtask --

# What `make test` does, in this order; each is a target of its own below.
STEPS := tools fmt clippy tidy deny units doctests instructions conformance faults web crowds

# How long each target of `make fuzz` runs.
FUZZ_SECONDS := 60

# How long each scenario of `make load` sends.
LOAD_SECONDS := 60

# What `make bench` is to do: --quick, --only ROW.
BENCH :=

# How long the trials of `make soak` take: soak is under an hour, long is as long as it takes.
SCALE := soak

# How many lives the simulation lives in a soak.
SOAK_SEEDS := 20000

help:
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1\t/p' Makefile | expand -t 13

run: ## Build the server and start it; data in ./data
	cargo build --release --locked --bin tertulia
	target/release/tertulia serve --data ./data

dev: ## The same, built fast and not optimised
	cargo run --locked --bin tertulia -- serve --data ./data

check: fmt clippy ## Format and lints, in seconds

test: ## Everything; installs what is missing first
	@$(XTASK) steps $(STEPS)

load: ## Four crowds against a server of their own, a minute each
	cargo build --release --locked --bin tertulia --bin tertulia-load
	for crowd in one-room many-rooms slow-client reconnect; do \
		target/release/tertulia-load $$crowd --seconds $(LOAD_SECONDS) || exit 1; \
	done

bench: ## Beside its peers and the limits of the machine, in one run; about twenty minutes
	@$(XTASK) peers
	cargo build --release --locked --bin tertulia --bin tertulia-load
	target/release/tertulia-load bench $(BENCH)

bench-quick: ## The same in minutes, for daily use
	@$(MAKE) --no-print-directory bench BENCH=--quick

soak: tools conformance ## Every trial in its long form, under an hour; SCALE=long for more
	cargo build --release --locked --bin tertulia
	cargo build --locked --bin tertulia-proof
	@# Built beside the others, so that no one runs it by mistake.
	CARGO_BUILD_BUILD_DIR=$${CARGO_BUILD_BUILD_DIR:-$(CURDIR)/target} cargo build --locked --bin tertulia \
		--features tertulia-server/planted-faults --target-dir target/planted
	@$(XTASK) fuzz $(FUZZ_SECONDS) --report target/soak/fuzz.json
	SIM_SEEDS=$(SOAK_SEEDS) SIM_REPORT=$(CURDIR)/target/soak/simulation.json \
		cargo nextest run --locked -p tertulia-rooms --no-capture the_ring_holds
	target/debug/tertulia-proof --scale $(SCALE) --json target/soak/report.json --html target/soak/report.html \
		$(foreach part,conformance fuzz simulation,--add target/soak/$(part).json)

publish: ## Write the figures of the last soak into docs/reliability.md and README.md
	@$(XTASK) publish

publish-bench: ## Write the figures of the last bench into docs/performance.md
	@$(XTASK) publish-bench

fuzz: ## Look for bytes that break what has to hold for any, a minute each
	@$(XTASK) fuzz $(FUZZ_SECONDS)

gen: ## Write the pages that the program itself knows best
	@$(XTASK) gen

tools: ## Install what the tests need and is missing
	@$(XTASK) tools
	@$(MAKE) --no-print-directory node_modules/.package-lock.json

fmt: ## Is everything formatted
	cargo fmt --all --check

clippy: ## Lints; a warning is an error
	cargo clippy --locked --workspace --all-targets --keep-going -- -D warnings

tidy: ## The rules of the house
	@$(XTASK) tidy

deny: ## Licences, sources and known faults of the dependencies
	@$(XTASK) deny

units: ## The tests in Rust, golden vectors and stories among them
	cargo nextest run --locked --workspace

doctests: ## The examples in the documentation
	cargo test --locked --workspace --doc

instructions: ## What the hot paths cost, counted by valgrind; no more than was kept
	@$(XTASK) instructions

conformance: ## Others judge the WebSocket: the Autobahn cases, and none may change
	CARGO_BUILD_BUILD_DIR=$${CARGO_BUILD_BUILD_DIR:-$(CURDIR)/target} cargo build --locked --bin tertulia \
		--features tertulia-server/conformance --target-dir target/conformance
	@mkdir -p target/soak
	@$(XTASK) conformance --report target/soak/conformance.json

faults: ## Servers that are wrong on purpose; simulation and stories have to notice
	cargo nextest run --locked -p tertulia-rooms --features planted-faults --test simulation planted
	cargo nextest run --locked --workspace --features tertulia-server/planted-faults --test stories planted::

web: node_modules/.package-lock.json ## The page and its client, in a browser
	cargo build --locked --bin tertulia
	cd crates/server/assets/tests && node --test transcripts.test.mjs client.test.mjs model.test.mjs
	cd crates/server/assets/tests && node --test page.test.mjs
	cd crates/server/assets/tests && node real-server.mjs node --test page.test.mjs
	cd crates/server/assets/tests && node --test restart.test.mjs

crowds: ## The scenarios of `make load`, a few seconds each
	cargo build --locked --bin tertulia --bin tertulia-load
	for crowd in one-room many-rooms slow-client reconnect; do \
		target/debug/tertulia-load $$crowd --seconds 6 || exit 1; \
	done

clean: ## Forget what was built; ./data stays
	cargo clean
	rm -rf node_modules

node_modules/.package-lock.json: package-lock.json
	npm ci
	@touch $@

.PHONY: help run dev check test load bench bench-quick soak publish publish-bench fuzz gen tools fmt clippy tidy deny units doctests instructions conformance faults web crowds clean
