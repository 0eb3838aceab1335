# `make` lists what there is. ARGS="..." goes to the program behind a target.
ARGS ?=
.DEFAULT_GOAL := help
.PHONY: help setup build demo test check bench bench-peers replay replay-slice replay-transfer model cases openapi torture clean

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install what is missing (Debian packages, the replay's Python environment)
	@scripts/setup.sh test

build: ## The server, as it is shipped (target/release/adal)
	@cargo build --release --locked --bin adal

demo: ## Set up, build, and run a shop with keys and commands to paste; STORE=cql: on a real Cassandra
	@scripts/demo.sh $(ARGS)

test: ## All tests; the last line is "N passed, N failed"
	@scripts/test.sh $(ARGS)

check: ## Format, documents, lints, licences and sources, rustdoc
	@scripts/check.sh

bench: ## The benchmarks, each against a limit measured in the same run
	@scripts/bench.sh $(ARGS)

bench-peers: ## The same carts priced by Adal, Vendure and Medusa, side by side (needs Node and PostgreSQL)
	@scripts/bench-peers.sh $(ARGS)

replay: ## A real grocer's year and its coupons through the server, compared with a second calculation
	@scripts/replay.sh $(ARGS)

replay-slice: ## The same for 20 households (part of `make test`)
	@scripts/replay-slice.sh $(ARGS)

replay-transfer: ## The year on SQLite, carried to a real Cassandra and back, compared there (ARGS=--slice: 20 households)
	@scripts/replay-transfer.sh $(ARGS)

model: ## The whole searches: a hold over several promos, owners of an entity (minutes); `make test` does a part of them
	@cargo test --locked --release -p adal-domain --test model -- --include-ignored
	@cargo test --locked --release -p adal-store --test model -- --include-ignored

cases: ## The properties of offers on 100,000 made-up carts each, against a second engine (minutes; PROPTEST_CASES=n for others)
	@PROPTEST_CASES=$${PROPTEST_CASES:-100000} cargo test --locked --release -p adal-domain --test offers

torture: ## kill -9, full disks, databases that die: counts what is lost (STORE=cql; ARGS="--count 20 --only kill")
	@scripts/torture.sh $(ARGS)

openapi: ## Write docs/reference/openapi.json and the other golden files anew
	@ADAL_UPDATE=1 cargo test --locked -p adal --test it golden

clean: ## Remove what was built and downloaded into this folder (never data/)
	cargo clean
	rm -rf .cache
