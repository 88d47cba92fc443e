# Needs Python 3.11 or newer and nothing else: `make setup` installs the rest into .venv.
BIN := .venv/bin
READY := .venv/ready
# How many files of tests run at once: most of the time they wait for processes and for clocks.
TEST_PROCESSES ?= 2
# A complete .venv keeps its Python until another one is named.
PYTHON ?= $(or $(and $(wildcard .venv/requirements.lock),$(wildcard $(BIN)/python)),python3)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test chart-test check chaos model differential conformance linearizability simulation fuzz-rpc bench bench-peers bench-store fmt lock images crd proto docs dashboards chromium official official-clients fuzz-bridge postgres prometheus monitoring-test e2e e2e-short dev-cluster clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## create .venv with everything (another Python: PYTHON=/path/to/python3)

$(READY): requirements.lock pyproject.toml tools/setup.sh
	@tools/setup.sh $(PYTHON)

demo: $(READY) ## run an order through every service while its worker is killed
	@$(BIN)/holdfast demo first-order || [ $$? -eq 141 ] # 141: as in `make demo | head`

test: check prometheus postgres chromium official-clients ## check, then every test
	@$(BIN)/pytest --numprocesses $(TEST_PROCESSES) --dist loadfile

check: $(READY) ## everything that needs no test run: format, lint, types, imports, drift
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/buf lint
	$(BIN)/python tools/gen_proto.py --check
	$(BIN)/python tools/gen_docs.py --check
	$(BIN)/python -m tools.gen_dashboards --check
	$(BIN)/python tools/gen_crd.py --check
	$(BIN)/python -m tools.gen_chart_docs --check
	$(BIN)/python tools/gen_locks.py --check

official: $(READY) official-clients ## users of official clients of the protocol, against `holdfast dev`
	@$(BIN)/pytest tests/official

fuzz-bridge: $(READY) ## malformed requests to the bridge (SECONDS=600 SEED=…)
	@$(if $(SECONDS),FUZZ_SECONDS='$(SECONDS)') $(if $(SEED),FUZZ_SEED='$(SEED)') $(BIN)/pytest -s tests/fuzz/bridge

chart-test: $(READY) ## only the tests of the Helm charts, with each helm on PATH (helm, helm3)
	@$(BIN)/pytest tests/chart

monitoring-test: $(READY) prometheus ## only the tests of dashboards and alerts, with a real Prometheus
	@$(BIN)/pytest tests/integration/monitoring

e2e: $(READY) ## the end-to-end tests on a cluster: that of E2E_KUBECONFIG, or one made by kind
	@E2E_REQUIRED=1 $(BIN)/pytest tests/e2e

e2e-short: $(READY) ## of these install, helm test, an order and a job, scaling, PostgreSQL with an upgrade
	@E2E_REQUIRED=1 $(BIN)/pytest tests/e2e/test_[1238]_*.py tests/e2e/test_9_postgresql.py

dev-cluster: $(READY) ## as `skaffold dev`, without Skaffold (elsewhere: REGISTRY=… NAMESPACE=… KEEP=1)
	@$(BIN)/python -m tools.dev_cluster $(if $(REGISTRY),--registry '$(REGISTRY)') \
	  $(if $(NAMESPACE),--namespace '$(NAMESPACE)') $(if $(KEEP),--keep)

prometheus:
	@tools/prometheus.sh

postgres:
	@tools/postgres.sh

chromium:
	@tools/chromium.sh

official-clients:
	@tools/official.sh

chaos: $(READY) postgres ## kill processes of three stores' system for ten minutes (SECONDS=600 SEED=… STORES=3)
	@$(BIN)/python -m tests.chaos $(if $(SECONDS),--seconds '$(SECONDS)') $(if $(SEED),--seed '$(SEED)') \
	  $(if $(STORES),--stores '$(STORES)') $(if $(KEEP),--keep '$(KEEP)')

model: $(READY) ## the naive model against the worked traces, and the product against its mutants
	@$(BIN)/pytest tests/conformance/test_traces.py tests/differential/test_mutants.py

differential: $(READY) postgres ## random operations on every store and the model (SECONDS=60 SEED=… BACKENDS=core,…)
	@$(BIN)/python -m tests.differential $(if $(SECONDS),--seconds '$(SECONDS)') $(if $(SEED),--seed '$(SEED)') \
	  $(if $(BACKENDS),--backends '$(BACKENDS)') $(if $(PROFILE),--profile '$(PROFILE)') $(if $(WILD),--wild)

conformance: $(READY) postgres ## one suite over the model, the rules, each storage and each protocol
	@$(BIN)/pytest tests/conformance

linearizability: $(READY) postgres ## racing clients and killed stores, every answer explained (SECONDS=60 SEED=… KEEP=folder)
	@$(BIN)/python -m tests.linearizability $(if $(SECONDS),--seconds '$(SECONDS)') $(if $(SEED),--seed '$(SEED)') \
	  $(if $(KEEP),--keep '$(KEEP)')

simulation: $(READY) ## stores on virtual time with everything going wrong (SECONDS=60 SEED=…)
	@$(BIN)/python -m tests.simulation $(if $(SECONDS),--seconds '$(SECONDS)') $(if $(SEED),--seed '$(SEED)')

fuzz-rpc: $(READY) ## malformed bytes at every gRPC door of a store (SECONDS=600 SEED=…)
	@$(if $(SECONDS),FUZZ_SECONDS='$(SECONDS)') $(if $(SEED),FUZZ_SEED='$(SEED)') $(BIN)/pytest -s tests/fuzz/rpc

bench: $(READY) ## measure Holdfast beside the limits of this machine
	@$(BIN)/python -m tests.bench

bench-peers: $(READY) ## the same beside other systems, which come into .cache (needs npm)
	@$(BIN)/python -m tests.bench.peers

bench-store: $(READY) ## measure the store alone, on each kind of storage
	@$(BIN)/python -m tests.bench.store

fmt: $(READY) ## format the code and mend what the linter can mend
	$(BIN)/ruff check --fix-only
	$(BIN)/ruff format
	$(BIN)/buf format --write --path proto/holdfast

lock: $(READY) ## resolve requirements.lock and locks/ again (newest versions: UPGRADE=--upgrade)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --extra dev --generate-hashes \
	  --no-annotate --custom-compile-command "make lock" $(UPGRADE) --output-file requirements.lock pyproject.toml
	$(BIN)/python tools/gen_locks.py

images: ## build the images with docker, podman or buildah (more flags: BUILD_FLAGS="…")
	@tools/images.sh $(BUILD_FLAGS)

proto: $(READY) ## generate sdk/holdfast/v1 from proto/
	$(BIN)/python tools/gen_proto.py

crd: $(READY) ## generate the CRD WorkerGroup and its reference page
	$(BIN)/python tools/gen_crd.py

dashboards: $(READY) ## generate the chart's Grafana dashboards
	$(BIN)/python -m tools.gen_dashboards

docs: $(READY) ## generate the reference pages of settings and metrics, and of the chart's values
	$(BIN)/python tools/gen_docs.py
	$(BIN)/python -m tools.gen_chart_docs

clean: ## remove .venv, caches and build outputs
	rm -rf .venv .cache .holdfast .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
