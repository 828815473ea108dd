# `make env` makes the environment, `make demo` runs the digits, `make test` runs every check.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.ONESHELL:
.PHONY: help env demo test lint types imports cover format lock clean

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stillhouse-installed
PACKAGES := flows generators filters students data
SUITABLE := import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))

help: ## say what can be made
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

env: $(STAMP) ## make .venv from requirements.lock; does nothing when it is current

# The stamp is written last and taken away first, so that it stands only on an environment that is whole.
# Without one, whatever lies in .venv is replaced.
$(STAMP): requirements.lock pyproject.toml
	@python=
	for candidate in $${PYTHON:-python3.11 python3 python3.12 python3.13 python3.14}; do
	    if "$$candidate" -c '$(SUITABLE)' >/dev/null 2>&1; then python=$$candidate; break; fi
	done
	if [ -z "$$python" ]; then
	    echo "Stillhouse needs Python 3.11 or newer with the venv module, and found none; install one, or name it: make env PYTHON=/path/to/python3.11" >&2
	    exit 1
	fi
	if [ ! -e $@ ]; then "$$python" -m venv --clear $(VENV); fi
	rm -f $@
	echo "Installing requirements.lock into $(VENV) (a few minutes and several gigabytes the first time)."
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	$(BIN)/python -m pip check
	touch $@

demo: env ## train, filter and distil on the embedded digits
	$(BIN)/stillhouse run configs/digits.yaml

test: lint types imports cover ## run every check and every test

lint: env ## check format, style and docstrings
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: env ## check types
	$(BIN)/mypy

imports: env ## check which package imports which
	$(BIN)/lint-imports

cover: env ## run the tests and measure what they cover
	$(BIN)/pytest --cov

format: env ## put the code into its format and mend what can be mended
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# The packages that build the project are in the lock, so that installing the project needs no isolated build.
lock: ## resolve requirements.lock anew, keeping pins that fit (UPGRADE=1: keep none)
	@folder=$$(mktemp -d); trap 'rm -rf "$$folder"' EXIT
	$${PYTHON:-python3.11} -m venv "$$folder/venv"
	"$$folder/venv/bin/python" .ci/lock.py $(if $(UPGRADE),,--constraint requirements.lock) >"$$folder/lock"
	cp "$$folder/lock" requirements.lock

clean: ## remove the environment and every cache; the store stays
	rm -rf $(VENV) build dist *.egg-info .coverage .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find $(PACKAGES) tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
