# `make` alone lists what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c

FLAGSHIP := cargo run --quiet --package flagship --
# The files that `flagship` prints and that are checked in.
CRDS := crds/multiclusters.kube-vip.io.yaml
INSTALL := manifests/install.yaml

.PHONY: help demo test check fix bench fuzz simulate

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Show a failover between three real control planes (KEEP=1 leaves them running, REMOVE=1 removes those)
	cargo build --package flagship
	cargo run --package flagship-testing --bin demo -- $(if $(KEEP),--keep) $(if $(REMOVE),--remove)

test: check ## Check everything and run all tests, from a fresh clone
	cargo test --workspace --exclude flagship-testing --exclude flagship-turmoil
	@# By itself, since it needs more of tokio, with which everything else would be built once more.
	cargo test --package flagship-turmoil
	cargo test --package flagship-testing --lib --bins
	cargo test --package flagship-testing --no-run
	$(MAKE) --no-print-directory --jobs=$(or $(JOBS),3) --keep-going --output-sync=target $(E2E)

# The tests on real control planes wait most of the time, so a few files run side by side. The longest begins.
E2E_NAMES := $(sort $(basename $(notdir $(wildcard testing/tests/*.rs))) \
	$(notdir $(patsubst %/main.rs,%,$(wildcard testing/tests/*/main.rs))))
E2E := $(patsubst %,e2e-%,failover $(filter-out failover,$(E2E_NAMES)))
.PHONY: $(E2E)
$(E2E): e2e-%:
	cargo test --package flagship-testing --test $*

check: ## Check format, lints and generated files, changing nothing
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- --deny warnings
	@$(FLAGSHIP) crds | diff --unified $(CRDS) - || { echo "$(CRDS) is out of date: run make fix"; exit 1; }
	@$(FLAGSHIP) install | diff --unified $(INSTALL) - || { echo "$(INSTALL) is out of date: run make fix"; exit 1; }
	@# Building cargo-deny takes minutes, so it is no prerequisite; its advisories come from the network, so they are not
	@# asked for here: `cargo deny check advisories`.
	@if cargo deny --version >/dev/null 2>&1; then cargo deny check --hide-inclusion-graph bans licenses sources; \
	else echo "dependencies were not checked: cargo install --locked cargo-deny"; fi

fix: ## Format, apply lints' suggestions, write the generated files
	cargo fmt --all
	cargo clippy --workspace --all-targets --fix --allow-dirty --allow-staged
	$(FLAGSHIP) crds > $(CRDS).new && mv $(CRDS).new $(CRDS)
	$(FLAGSHIP) install > $(INSTALL).new && mv $(INSTALL).new $(INSTALL)

simulate: ## Simulate YEARS years of faults and losses (minutes each), and groups of up to 1,000 members; OUTPUT=json for programs
	cargo run --release --package flagship-simulation --bin simulate -- \
		--output $(or $(OUTPUT),table) years --years $(or $(YEARS),1)

fuzz: ## Fuzz the wire, RUNS times (needs a nightly compiler and `cargo install --locked cargo-fuzz`)
	cargo +nightly fuzz run --sanitizer none wire -- -runs=$(or $(RUNS),10000000)
	cargo +nightly fuzz run --sanitizer none message -- -runs=$(or $(RUNS),10000000)

bench: ## Measure failover, handover and idle cost; print a table and write JSON
	cargo build --release --package flagship
	cargo run --release --package flagship-testing --bin bench
