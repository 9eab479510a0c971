# SPDX-License-Identifier: Apache-2.0
#
# The verbs of this repository. CI runs these and nothing else, so what passes here passes there.
# A verb checks what it needs before it starts, and says how to get what is missing.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.NOTPARALLEL:

# Where scripts/install-cargo-deny.sh puts it.
export PATH := $(CURDIR)/target/cargo-tools/bin:$(PATH)

need := @scripts/need.sh

.PHONY: help
help: ## List the verbs
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## Show Wharf at work on this machine, without a cluster
	$(need) cargo cc
	cargo build --bin wharf --example quickstart
	cargo run --quiet --example quickstart

.PHONY: build
build: ## Build everything, for development
	$(need) cargo cc
	cargo build --workspace --all-targets

.PHONY: test
test: ## Run all tests, on real servers; ends with how many ran
	$(need) cargo cc go openssl flock
	tests/tools/build.sh
	scripts/cargo-test.sh --workspace

.PHONY: test-unit
test-unit: ## Run the tests that stand beside the code; no servers, no Go
	$(need) cargo cc
	scripts/cargo-test.sh --workspace --lib --bins

.PHONY: e2e
e2e: ## Run the end-to-end tests alone
	$(need) cargo cc go openssl flock
	tests/tools/build.sh
	scripts/suite.sh e2e

# The test belongs to a package of its own, whose dependencies nothing else needs, so that cargo does not build wharf
# for it; the tests of wharf do, in the form that `make test` has built.
.PHONY: interop
interop: ## Run wharf against other clients on real registries; ends with the matrix
	$(need) cargo cc go flock python3 tar
	tests/tools/interop.sh
	cargo test --workspace --no-run --test it
	scripts/cargo-test.sh --workspace --test interop -- --nocapture

.PHONY: test-root
test-root: ## Run the tests that need root, ptrace or namespaces
	$(need) cargo cc root unshare ip
	scripts/suite.sh root

.PHONY: lint
lint: ## Check format, clippy, documentation, dependencies and shell scripts
	$(need) cargo cc cargo-deny
	cargo fmt --all --check
	cargo clippy --workspace --all-targets --locked -- -D warnings
	cargo clippy --workspace --test interop --test root --locked -- -D warnings
	@$(MAKE) docs deny
	scripts/shell-lint.sh

.PHONY: fmt
fmt: ## Format the code
	$(need) cargo
	cargo fmt --all

.PHONY: docs
docs: ## Build the documentation of the crates; a warning is an error
	$(need) cargo cc
	RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps

.PHONY: deny
deny: ## Check dependencies: sources, licences, bans, known vulnerabilities
	$(need) cargo cargo-deny
	scripts/deny.sh

.PHONY: crds
crds: ## Write crds/ again from the types
	$(need) cargo cc
	scripts/crds.sh

.PHONY: bench
bench: ## Measure, and print the numbers with the machine and the versions
	$(need) cargo cc go openssl flock
	tests/tools/build.sh
	scripts/bench.sh

.PHONY: tools
tools: ## Build the real servers of the tests, once
	$(need) go flock
	tests/tools/build.sh

.PHONY: release
release: ## Build the wharf binary for use: target/release/wharf
	$(need) cargo cc
	cargo build --release --locked

.PHONY: nightly
nightly: lint test interop test-root bench release ## Everything, also what does not fit into the gate

.PHONY: clean
clean: ## Remove what cargo built; the servers in target/tools stay
	$(need) cargo
	cargo clean --profile dev
	cargo clean --profile release
