# SaM: `make run` starts it, `make test` tests it. Everything else is below; `make help` lists it.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

# where the recipes of the bundled experts are (first the one that others start from), and the training corpora
RECIPES ?= assets/recipes/encyclopedia.toml $(filter-out %/encyclopedia.toml,$(sort $(wildcard assets/recipes/*.toml)))
DATA    ?=
# passed on: make run ARGS="--port 8000", make test PYTEST_ARGS="tests/unit -k merge"
ARGS        ?=
SHOTS       ?= build/screenshots
PYTEST_ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1
export GRADIO_ANALYTICS_ENABLED := False

.DEFAULT_GOAL := help
.PHONY: help venv prepare run test lint types format readme strings experts screenshots clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(STAMP) ## make the virtual environment in .venv, nothing else

# torch first: it is the largest by far, and a failure there should show at once. Some packages come as source
# only: --use-pep517 builds them in isolation, also with the older pip that Python brings along.
$(STAMP): pyproject.toml setup.py constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "SaM needs Python 3.11 or newer, and '$(PYTHON)' is not. Name one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear $(VENV) || { \
	  echo "No virtual environment could be made. On Debian or Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet -c constraints.txt torch
	$(BIN)/python -m pip install --quiet -c constraints.txt --use-pep517 -e '.[test]'
	@touch $@

prepare: venv ## convert the embedded base model (once, about a minute and a half)
	@$(BIN)/sam-ui prepare

run: prepare ## start SaM and print its address
	@exec $(BIN)/sam-ui serve $(ARGS)

test: venv lint types ## all checks, then all tests
	@$(BIN)/sam-ui prepare
	@if $(BIN)/python -m tests.chromium --install >/dev/null; then select=; else select='not browser'; fi; \
	  HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -q -m "$$select" $(PYTEST_ARGS)

lint: venv ## style, format and allowed imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: venv ## static types (strict for experts/ and db/)
	$(BIN)/mypy

format: venv ## put the code into the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

readme: venv ## rewrite the generated tables of README and docs
	$(BIN)/python -m tests.readme_tables
	$(BIN)/python -m tests.docs_tables
	$(BIN)/python -m tests.pool_tables
	$(BIN)/python -m tests.docs_pool
	$(BIN)/python -m tests.docs_formats

strings: venv ## gather the texts of the interface for translators; make strings NEW=de begins a translation
	$(BIN)/python -m tests.catalogue $(NEW)

experts: venv ## train the bundled experts again: make experts DATA=<folder with the corpora>
	@test -n '$(DATA)' || { echo "Say where the training corpora are: make experts DATA=<folder>" >&2; exit 1; }
	@test -n '$(RECIPES)' || { echo "There is no recipe in assets/recipes/." >&2; exit 1; }
	@for recipe in $(RECIPES); do \
	  echo "== $$recipe"; $(BIN)/sam-ui experts train "$$recipe" --data '$(DATA)' --out assets/experts --resume || exit 1; done

screenshots: venv ## pictures of every screen: make screenshots SHOTS=<folder>
	HF_HUB_OFFLINE=1 $(BIN)/python -m tests.ui.screenshots '$(SHOTS)'

clean: ## remove caches and build products, keep .venv
	rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .gradio
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean ## also remove .venv
	rm -rf $(VENV)
