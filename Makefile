# Needs Python 3.11 or newer and nothing else: `make setup` installs the rest into .venv.
BIN := .venv/bin
READY := .venv/ready
# A complete .venv keeps its Python until another one is named.
PYTHON ?= $(or $(and $(wildcard .venv/requirements.lock),$(wildcard $(BIN)/python)),python3)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test check bench fmt lock proto docs clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## create .venv with everything (another Python: PYTHON=/path/to/python3)

$(READY): requirements.lock pyproject.toml tools/setup.sh
	@tools/setup.sh $(PYTHON)

demo: $(READY) ## run an order through every service while its worker is killed
	@$(BIN)/holdfast demo first-order

test: check ## check, then every test
	@$(BIN)/pytest

check: $(READY) ## everything that needs no test run: format, lint, types, imports, drift
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/python tools/gen_proto.py --check
	$(BIN)/python tools/gen_docs.py --check

bench: $(READY) ## measure Holdfast beside the limits of this machine
	@$(BIN)/python -m tests.bench

fmt: $(READY) ## format the code and mend what the linter can mend
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format
	$(BIN)/buf format --write --path proto/holdfast

lock: $(READY) ## resolve requirements.lock again (newest versions: UPGRADE=--upgrade)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --generate-hashes \
	  --no-annotate --custom-compile-command "make lock" $(UPGRADE) --output-file requirements.lock pyproject.toml

proto: $(READY) ## generate sdk/holdfast/v1 from proto/
	$(BIN)/python tools/gen_proto.py

docs: $(READY) ## generate the reference pages of settings and metrics
	$(BIN)/python tools/gen_docs.py

clean: ## remove .venv, caches and build outputs
	rm -rf .venv .cache .holdfast .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
