# Every target works as the first and only command on a machine with make and rustup's cargo: `deps` comes first.
#   make check   what CI runs first: formatting, lints, documentation, layering, the files of config/
#   make test    every test
#   make demo    the sample payment API, with and without outboard before it (DEMO_ARGS="--for 20s")
#   make bench   the measurements of benches/ (BENCH_ARGS)
#   make conformance   the public suite for HTTP caches (CONFORMANCE_ARGS="--id freshness-max-age")
#   make torture   charges under fire for TORTURE_SECONDS, and the proof that it can fail (OUTBOARD_TORTURE_SEED repeats a run)
#   make fuzz    each fuzz target for FUZZ_SECONDS
#   make image   the container image, named IMAGE

SHELL := /bin/sh
CARGO ?= cargo
IMAGE ?= outboard:latest
FUZZ_SECONDS ?= 60
TORTURE_SECONDS ?= 600
DEMO_ARGS ?=
BENCH_ARGS ?=
CONFORMANCE_ARGS ?=
TEST_ARGS ?=
# rustup's cargo is not on the path of every shell.
export PATH := $(PATH):$(HOME)/.cargo/bin

.DEFAULT_GOAL := help
.PHONY: help check fmt clippy doc layering configs test demo bench conformance torture fuzz image deps node

help:
	@sed -n '2,/^$$/s/^# *//p' Makefile

check: fmt clippy doc layering configs

fmt: deps
	$(CARGO) fmt --check

clippy: deps
	$(CARGO) clippy --locked --all-targets -- -D warnings

doc: deps
	RUSTDOCFLAGS="-D warnings" $(CARGO) doc --locked --no-deps

layering: deps
	$(CARGO) test --locked --quiet --test layering

configs: deps
	$(CARGO) build --locked --quiet --bin outboard
	@for file in config/*.yaml; do \
		echo "outboard check --no-files $$file"; \
		$(CARGO) run --locked --quiet --bin outboard -- check --no-files "$$file" || exit 1; \
	done

test: deps
	$(CARGO) test --locked $(TEST_ARGS)

demo: deps
	$(CARGO) run --locked --release --bin outboard -- demo $(DEMO_ARGS)

bench: deps
	benches/run.sh $(BENCH_ARGS)

# The debug build, which `make check` has made already: the suite asks what the cache does, not how fast.
conformance: deps tests/conformance/node_modules/.package-lock.json
	$(CARGO) build --locked --quiet --bin outboard
	node tests/conformance/run.mjs $(CONFORMANCE_ARGS)

tests/conformance/node_modules/.package-lock.json: tests/conformance/package.json tests/conformance/package-lock.json | node
	cd tests/conformance && npm ci --silent
	@touch $@

# The second build leaves out what the first is tested for; it has a folder of its own, lest somebody runs it.
torture: deps
	OUTBOARD_TORTURE_SECONDS=$(TORTURE_SECONDS) $(CARGO) test --locked --test torture -- --nocapture --test-threads=1
	CARGO_TARGET_DIR=target/unsafe-no-sync $(CARGO) test --locked --features unsafe-no-sync --test torture \
		without_the_sync -- --nocapture

# libFuzzer needs a nightly compiler; the rest of the project does not.
fuzz: deps
	@set -e; \
	if ! rustup toolchain list 2>/dev/null | grep -q '^nightly'; then \
		echo "fuzz: skipped, there is no nightly toolchain (rustup toolchain install nightly --profile minimal)"; \
		exit 0; \
	fi; \
	$(CARGO) fuzz --version >/dev/null 2>&1 || $(CARGO) install --locked cargo-fuzz; \
	for target in $$($(CARGO) +nightly fuzz list); do \
		echo "fuzz: $$target for $(FUZZ_SECONDS) s"; \
		$(CARGO) +nightly fuzz run "$$target" -- -max_total_time=$(FUZZ_SECONDS) -timeout=10; \
	done

image:
	@set -e; \
	for engine in docker podman; do \
		if command -v $$engine >/dev/null 2>&1 && $$engine info >/dev/null 2>&1; then \
			revision=$$(git rev-parse HEAD 2>/dev/null || echo unknown); \
			$$engine build --build-arg REVISION=$$revision --tag $(IMAGE) .; \
			$$engine image inspect --format '{{.Size}}' $(IMAGE) \
				| awk '{ printf "image: $(IMAGE), %.1f MB\n", $$1 / 1e6 }'; \
			exit 0; \
		fi; \
	done; \
	echo "image: not built, neither docker nor podman answers here (installed, and its service running?)" >&2; \
	exit 1

# Ends a recipe: installs the Debian packages named in $$missing.
define install_missing
	[ -n "$$missing" ] || exit 0; \
	if ! command -v apt-get >/dev/null 2>&1; then \
		echo "$@: missing, and no apt-get to install it with:$$missing" >&2; exit 1; \
	fi; \
	if [ "$$(id -u)" = 0 ]; then root=; \
	elif command -v sudo >/dev/null 2>&1; then root=sudo; \
	else echo "$@: missing, and neither root nor sudo to install it: apt-get install$$missing" >&2; exit 1; fi; \
	echo "$@: installing$$missing"; \
	$$root apt-get update -qq; \
	$$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing
endef

# pingora builds zlib-ng, which takes cmake and a C compiler; other dependencies are C and C++ too. The rehearsal of pods makes
# networks.
deps:
	@set -e; \
	command -v $(CARGO) >/dev/null 2>&1 || { \
		echo "deps: no cargo: install Rust with rustup, see https://rustup.rs" >&2; exit 1; }; \
	missing=; \
	command -v cmake >/dev/null 2>&1 || missing="$$missing cmake"; \
	command -v cc >/dev/null 2>&1 || missing="$$missing gcc libc6-dev"; \
	command -v c++ >/dev/null 2>&1 || missing="$$missing g++"; \
	command -v ip >/dev/null 2>&1 || missing="$$missing iproute2"; \
	command -v redis-server >/dev/null 2>&1 || missing="$$missing redis-server"; \
	$(install_missing)

# What the suite for HTTP caches runs on: node 18 or later, as Debian 12 has it.
node:
	@set -e; \
	missing=; \
	command -v node >/dev/null 2>&1 || missing="$$missing nodejs"; \
	command -v npm >/dev/null 2>&1 || missing="$$missing npm"; \
	$(install_missing)
