# Needs Python 3.11 or newer (with venv), a Rust toolchain and make; pip and cargo fetch the rest.
# A target's own comment is its line in `make help`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest
# Neighbours stay with one worker, which makes what they share once; who has nothing left takes from the other's end.
WORKERS := --quiet --numprocesses 2 --dist worksteal

RUST := Cargo.toml Cargo.lock $(shell find rust -name '*.rs' -o -name Cargo.toml)
PYTHON_CODE := python tests benches scripts docs
FUZZ_TARGETS := $(basename $(notdir $(wildcard fuzz/targets/*.rs)))
SECONDS ?= 10

# One interpreter for every build step, so that none undoes another's work.
export PYO3_PYTHON := $(abspath $(BIN)/python)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Tests run commands by the thousand: each starts a third sooner if Python may keep what it compiled.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help build release demo tour test deep quick check check-python engines fuzz bench bench-ci instructions peers constraints dist docs deny clean

help: # List the commands
	@sed -n 's/^\([a-z-]*\):[^#]*# \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

demo: release # Make a route of 10,000 devices, verify and decide it in one call, show the result
	@$(BIN)/itron-core demo

tour: build # Walk one device from ready to secure to Network Mode, by commands alone
	@sh scripts/tour.sh $(BIN)

test: check # Run everything: the checks, the Rust tests, the Python tests, and those of kernels on each set of kernels
	$(call beside,scripts/test_services.sh,cargo test --workspace --locked --quiet)
	ITRON_CORE_KERNELS=portable $(PYTEST) $(WORKERS) -m kernels
	ITRON_CORE_KERNELS=auto $(PYTEST) $(WORKERS)

deep: build # Run the Python tests, the randomized ones several times as long; before a release
	ITRON_CORE_CASES=30000 ITRON_CORE_KILLS=200 ITRON_CORE_MACHINE=120 ITRON_CORE_RACED_IDS=20000 ITRON_CORE_RESTORES=100 \
		$(PYTEST) $(WORKERS)

quick: check # Run the checks, the Rust tests of crates that changed, and the Python tests that are not slow
	scripts/changed_crates.sh | xargs -r cargo test --locked --quiet
	$(PYTEST) $(WORKERS) -m 'not slow and not postgres and not hsm'

check: build # Format, lint, types, and the stub against the built module
	cargo fmt --all --check
	$(call beside,cargo clippy --workspace --all-targets --locked --quiet -- -D warnings,$(MAKE) --no-print-directory check-python)

check-python:
	$(BIN)/ruff check --quiet $(PYTHON_CODE)
	$(BIN)/ruff format --quiet --check $(PYTHON_CODE)
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache > $(VENV)/imports.log || { cat $(VENV)/imports.log >&2; exit 1; }
	$(BIN)/stubtest itron_core._rust --mypy-config-file pyproject.toml

# Two commands at once, of which one has long parts that use one core, or wait: fails when either does.
beside = $(1) & first=$$!; $(2); second=$$?; wait $$first && exit $$second

# 650 MB that nothing else here needs: pinned as all packages are, but in a file of its own.
$(VENV)/.engines: $(VENV)/.installed constraints-engines.txt
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement constraints-engines.txt
	@touch $@

engines: build $(VENV)/.engines # Install Spark and Daft, and test all engines: Spark on a small cluster (needs Java 17)
	@command -v java >/dev/null || { echo 'Spark needs Java 17' >&2; exit 1; }
	$(PYTEST) --quiet tests/integrations tests/test_frames_docs.py

fuzz: # Fuzz every target for SECONDS (10) each, from its seeds; the first crash ends it
	@command -v cargo-fuzz >/dev/null || cargo install --locked --quiet cargo-fuzz
	RUSTC_BOOTSTRAP=1 cargo fuzz build
	@for target in $(FUZZ_TARGETS); do \
		mkdir -p fuzz/corpus/$$target && echo "fuzz: $$target" && \
		RUSTC_BOOTSTRAP=1 cargo fuzz run $$target fuzz/corpus/$$target fuzz/seeds/$$target -- \
			-max_total_time=$(SECONDS) -timeout=20 -verbosity=0 -print_final_stats=1 || exit 1; \
	done

bench: release # Measure everything beside its peers; writes benches/results/
	$(BIN)/python benches/run.py full

peers: $(VENV)/.installed # Measure the kernels beside Rust's libraries; writes benches/results/rust-peers.json
	$(BIN)/python benches/run.py peers

bench-ci: release instructions # Measure in two minutes; fails when a ratio to pyca fell, or instructions rose
	$(BIN)/python benches/run.py ci

instructions: $(VENV)/.installed # Count the portable path's instructions (valgrind); fails when they rose
	$(BIN)/python benches/instructions.py check

build: $(VENV)/.built-dev # Build the extension for work on it (Cargo's profile dev), if its sources changed

release: $(VENV)/.built-release # Build the extension as it is shipped and measured (Cargo's profile release)

# One extension lies in the package: what one profile builds, the other must build anew.
$(VENV)/.built-%: $(VENV)/.installed pyproject.toml $(RUST)
	@echo 'Building the extension, profile $*'
	@rm -f $(VENV)/.built-*
	@VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/maturin develop --profile $* --quiet > $(VENV)/build.log 2>&1 || { \
		cat $(VENV)/build.log >&2; exit 1; }
	@touch $@

$(VENV)/.installed: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'itron_core needs Python 3.11 or newer; name one: make PYTHON=python3.13' >&2; exit 1; }
	@command -v cargo >/dev/null || { echo 'itron_core needs a Rust toolchain (rustup.rs)' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@echo 'Installing the packages of constraints.txt, and compiling crates beside it (about a minute and a half)'
	@$(call beside,$(CRATES),$(BIN)/python -m pip install --quiet --no-compile --no-deps --require-hashes --requirement constraints.txt)
	@touch $@

# What maturin will find compiled; of a release only the crates, as the link of all takes longest and is maturin's.
CRATES = true
$(VENV)/.built-dev: CRATES = cargo build --locked --quiet --package itron-core-py
$(VENV)/.built-release: CRATES = cargo rustc --locked --quiet --release --package itron-core-py --lib --crate-type rlib

constraints: # Renew constraints.txt from the newest versions that fit, with the hash of every file; then those of tools and engines
	rm -rf build/fresh && $(PYTHON) -m venv build/fresh
	build/fresh/bin/python -m pip install --quiet uv
	$(PYTHON) scripts/requirements.py > build/fresh/packages.txt
	$(PYTHON) scripts/requirements.py --tools > build/fresh/tools.txt
	$(PYTHON) scripts/requirements.py --engines > build/fresh/engines.txt
	$(call pinned,constraints.txt,build/fresh/packages.txt,)
	$(call pinned,constraints-tools.txt,build/fresh/tools.txt,--constraint constraints.txt)
	$(call pinned,constraints-engines.txt,build/fresh/engines.txt,--constraint constraints.txt)

# FILE, requirements, options: the header of the file, then every package with its hashes.
define pinned
	build/fresh/bin/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 \
		--no-annotate --no-header $(3) $(2) --output-file build/fresh/hashes.txt
	{ sed -n '/^#/p' $(1); cat build/fresh/hashes.txt; } > build/fresh/new.txt
	mv build/fresh/new.txt $(1)
endef

# Tools and engines are pinned beside the packages that both need: neither changes what the tests run with.
$(VENV)/.tools: $(VENV)/.installed constraints-tools.txt
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes --requirement constraints-tools.txt
	@touch $@

dist: $(VENV)/.tools # Build wheel and sdist from the last commit, twice, compare and check them; into dist/
	$(BIN)/python scripts/dist.py

docs: build $(VENV)/.tools # Build the docs site into build/docs; a warning or a dead link is an error
	$(BIN)/python -m sphinx --quiet --fail-on-warning --keep-going -b html docs build/docs
	$(PYTEST) --quiet tests/test_docs_site.py
	@echo 'Open build/docs/index.html'

deny: # Check the crates: known weaknesses, licences, origins (cargo deny, where it is installed)
	@if command -v cargo-deny >/dev/null; then cargo deny --locked check; \
	else echo 'cargo-deny is not installed, nothing was checked: cargo install --locked cargo-deny'; fi

clean: # Remove everything that was built
	rm -rf $(VENV) build dist target .mypy_cache .ruff_cache .pytest_cache .hypothesis .benchmarks
	rm -f python/itron_core/_rust*.so
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
