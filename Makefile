# The two commands that matter: `make demo` runs the main job, `make test` passes every test.
PY := .venv/bin/python
export PATH := $(CURDIR)/.venv/bin:$(PATH)
PACKAGES := perennial_api perennial perennial_gateway perennial_bundle perennial_server perennial_observer perennial_training perennial_localcluster perennial_demo

.PHONY: help bootstrap demo test campaign bench-serving bench-monitoring test-fast lint format crds golden docs verify up down status lock

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

bootstrap: ## Make .venv from the committed locks
	@scripts/bootstrap

demo: bootstrap ## Run the main job: cluster, operator, model, traffic, drift, retraining, promotion
	@$(PY) -m perennial_demo

test: bootstrap ## Run every test, the real cluster's included
	@scripts/test tests/unit tests/property tests/contract tests/integration tests/faults tests/e2e

campaign: bootstrap ## Run in full what other runs sample: death at every write, long outages, ten minutes under fire
	@PERENNIAL_CAMPAIGN=1 scripts/test -o timeout=0 tests/unit/operator tests/property/operator tests/faults

bench-serving: bootstrap ## Measure our model server beside its peers on one core; writes benchmarks/serving.md
	@$(PY) -m benchmarks.serving $(ARGS)

bench-monitoring: bootstrap ## Compare our drift monitor with those of others on streams whose truth is known; writes benchmarks/monitoring.md
	@$(PY) -m benchmarks.monitoring $(ARGS)

test-fast: bootstrap ## Run the tests that need neither cluster nor detectors
	@$(PY) -m pytest -q tests/unit tests/property

lint: bootstrap ## ruff, mypy, import-linter
	@ruff format --check .
	@ruff check .
	@mypy $(foreach p,$(PACKAGES),-p $(p))
	@lint-imports

format: bootstrap ## Rewrite the sources in the house style
	@ruff format .
	@ruff check --fix .

crds: bootstrap ## Regenerate crds/ and the chart's copy from the models in api/
	@$(PY) -m perennial_api.crds --write

golden: bootstrap ## Rewrite the golden outputs of the pure translators and of docs/cli.md
	@GOLDEN=write $(PY) -m pytest -q tests/unit/operator/test_golden.py tests/unit/operator/cli/test_docs.py

docs: bootstrap ## Regenerate the generated pages of docs/, the alert rules and the dashboards
	@$(PY) scripts/docs.py --write
	@$(PY) scripts/alerting.py --write

verify: lint ## Regenerate everything generated and fail on a difference
	@$(PY) -m perennial_api.crds --check
	@$(PY) scripts/docs.py --check
	@$(PY) scripts/alerting.py --check
	@$(PY) scripts/protos.py --check

up: bootstrap ## Bring up the local cluster with Perennial installed
	@$(PY) -m perennial_demo.install

status: bootstrap ## Show the local cluster
	@$(PY) -m perennial_localcluster status

down: bootstrap ## Stop the local cluster and leave the machine as it was
	@$(PY) -m perennial_localcluster down

lock: ## Write locks/ from the pyproject files
	@scripts/lock
