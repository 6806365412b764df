# `make help` lists what there is.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

export DAGSTER_HOME ?= $(CURDIR)
export ALPHA_STORAGE ?= $(CURDIR)/storage
export ALPHA_DAGSTER_DIR ?= $(ALPHA_STORAGE)/_dagster

.venv/.installed: pyproject.toml constraints.txt
	@echo "setup: packages of constraints.txt go into .venv with $(PYTHON), some minutes"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

# Dagster reads .env from the folder it starts in, so that plain `dagster dev` finds its home, and
# puts it over the environment: so each value is the environment's, where that has one.
.env:
	@printf '%s="$${%s:-%s}"\n' \
	  DAGSTER_HOME DAGSTER_HOME '$(CURDIR)' \
	  ALPHA_STORAGE ALPHA_STORAGE '$(CURDIR)/storage' \
	  ALPHA_DAGSTER_DIR ALPHA_DAGSTER_DIR '$(CURDIR)/storage/_dagster' > $@

.PHONY: help setup demo ui test pytest lint format proofs docs coverage bench clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: .venv/.installed .env  ## make .venv from the pinned versions, and .env
	@# An earlier version wrote values that won over the environment.
	@sed -i.old -E 's|^(DAGSTER_HOME\|ALPHA_STORAGE\|ALPHA_DAGSTER_DIR)=([^"$$].*)$$|\1="$${\1:-\2}"|' .env && rm -f .env.old

demo: setup  ## the whole pipeline on the simulated market, through Dagster, to a tear sheet
	@$(BIN)/alpha-assets demo

ui: setup  ## open the Dagster web UI on http://127.0.0.1:3000
	$(BIN)/python -W ignore -m alpha_assets.defs.launch dev -w $(CURDIR)/workspace.yaml -h 127.0.0.1 -p 3000

lint: setup  ## formatter, linter, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Side by side, since most of lint is one process of mypy's: both run to their end, both must pass.
test: setup  ## everything that must hold: lint and all tests
	@$(MAKE) --no-print-directory -j2 lint pytest

# Every core has a worker of its own: threads of a library would wait for each other, busily.
# Files are given out in the order that tests/conftest.py puts them in, not by how many tests they
# hold: those with few and long tests would come last, and one worker would end alone.
pytest proofs: export OMP_NUM_THREADS ?= 1
# Compiled tests are kept beside them, as Python does unless it is told not to: to prepare the
# assertions of all tests anew takes a worker some 10 seconds.
pytest proofs: export PYTHONDONTWRITEBYTECODE :=
pytest proofs: SIDE_BY_SIDE := -n auto --dist loadfile --no-loadscope-reorder

pytest: setup
	$(BIN)/python -m pytest -m 'not slow' $(SIDE_BY_SIDE)

proofs: setup  ## the slow proofs, minutes each
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e .[dev,proofs]
	$(BIN)/python -m pytest -m slow $(SIDE_BY_SIDE)

docs: setup  ## write docs/FEATURES.md, RECIPES.md, MARKETS.md and JQUANTS.md from the code
	$(BIN)/python -W ignore -m alpha_assets.features.document docs/FEATURES.md
	$(BIN)/python -W ignore -m alpha_assets.config.document docs
	$(BIN)/python -W ignore -m alpha_assets.sources.jquants.document docs/JQUANTS.md

coverage: setup  ## measure what is filled on the simulated market, minutes; then make docs
	$(BIN)/python -W ignore -m alpha_assets.pipeline.coverage_table docs/coverage_sim.csv
	$(MAKE) docs

bench: setup  ## ours beside peers, which get .venv-bench, and the goals; an hour and more
	$(BIN)/python -W ignore -m benchmarks.goals $(BENCH)

format: setup  ## format and fix what can be fixed by a machine
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:  ## remove .venv and caches; storage stays
	rm -rf .venv .venv-bench .mypy_cache .ruff_cache .pytest_cache .hypothesis
