# Every target works on a clean clone: it sets up what it needs first.

PY := .venv/bin/python
# Python only looks for the project's packages in the repository itself.
export PYTHONPATH := $(CURDIR)
LOCK := .venv/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-strip-extras --no-emit-index-url --no-header

.PHONY: help setup check test demo run golden bench chaos model infra-check monitoring-check package audit requirements locked clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-18s%s\n", $$1, $$2}' Makefile

setup: .venv/installed ## a virtual environment with the locked dependencies, in .venv

.venv/installed: requirements-dev.txt
	@python="$$(deploy/local/find-python)" && { test -x $(PY) || "$$python" -m venv .venv; }
	@echo "installing the locked dependencies into .venv"
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@

check: setup ## linters, types, import layers, lock files, audit
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	@mkdir -p .local/check && cp requirements*.txt .local/check/
	@$(MAKE) --no-print-directory locked INTO=.local/check/ >/dev/null
	@for file in requirements*.txt; do \
		cmp -s $$file .local/check/$$file || { echo "$$file is not in step with what it is made from: make requirements" >&2; exit 1; }; \
	done
	@$(PY) -m deploy.release audit

test: setup ## every test but those of a real cluster, with coverage; ARGS go to pytest
	@$(PY) -m tests $(ARGS)

demo: setup ## a prewarm on a simulated cluster of 20 nodes, from start to finish
	@$(PY) -m deploy.local demo

run: setup ## the whole service on this machine, until Ctrl-C; IPS_KUBECONFIG=FILE for a cluster of your own
	@$(PY) -m deploy.local run

golden: setup ## replay what a real API server answered against the simulated cluster
	$(PY) -m tests.golden.replay

bench: setup ## measure the figures the product is held to, against a bare client in the same run
	@$(PY) -m tests.bench

model: setup ## the product in memory under random interleavings, crashes and outages; ARGS=--planted plants bugs
	@$(PY) -m tests.model $(ARGS)

chaos: setup ## faults of every kind on the real stack, then every promise checked; IPS_CHAOS_SEED=N repeats a run
	@$(PY) -m tests.chaos

infra-check: setup ## Terraform's own checks of infra/, offline, and what it would make against the code; needs terraform
	@$(PY) -m tests.infra

monitoring-check: setup ## alert rules and their tests, and every query against the metrics that the code exports
	@$(PY) -m deploy.monitoring

package: setup ## what is uploaded to Cloud Run functions, in dist, with its bill of materials
	@$(PY) -m deploy.release package $(ARGS)

audit: setup ## known vulnerabilities of the locked packages; IPS_AUDIT=required where one has to be made
	@$(PY) -m deploy.release audit

requirements: setup locked ## lock the dependencies

locked: setup
	$(LOCK) pyproject.toml -o $(INTO)requirements.txt >/dev/null
	$(LOCK) pyproject.toml --extra dev -o $(INTO)requirements-dev.txt >/dev/null
	$(LOCK) tests/infra/requirements.in -o $(INTO)requirements-infra.txt >/dev/null
	$(LOCK) deploy/release/requirements.in -o $(INTO)requirements-release.txt >/dev/null

clean: ## remove everything that the other targets made
	rm -rf .venv .local dist .coverage .coverage.* .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
