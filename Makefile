PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-slow coverage docs tables bench mini dist matrix lint-files lint types check format clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  \1|/' | column -t -s '|'

setup: $(READY) ## Create the virtual environment and install everything

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	# uv does in two minutes what takes pip six; where it can't be had, or reaches no index, pip does it.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv && \
	UV_HTTP_RETRIES=1 $(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode -e '.[dev]' || \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@

demo: $(READY) ## Show what NumCLIP adds to a CLIP that knows no numbers: a table and a picture; 2 to 4 minutes
	$(BIN)/python scripts/demo.py

# One thread for each worker: two workers with two threads each would compete for two cores.
# worksteal: a worker gets neighbouring tests, which share the fixtures of a file, and then helps the slower ones.
FAST_TESTS := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist worksteal -m 'not slow'

test: $(READY) ## Run all tests except the slow ones
	$(FAST_TESTS)

# A target of its own: Python 3.11 traces every call, which triples the time of the command line.
coverage: $(READY) ## Run the same tests again; they must cover 90 % of src
	$(FAST_TESTS) --cov --cov-report=term-missing:skip-covered

test-slow: $(READY) ## Run the tests that take minutes
	$(BIN)/python -m pytest -m slow

docs: $(READY) ## Build the site into site/, strictly and without a network; open site/index.html
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet

tables: $(READY) ## Write the tables of methods and datasets in README.md and docs/methods
	$(BIN)/python scripts/write_tables.py

bench: $(READY) ## Measure what is beside the image tower, and write docs/performance.md; an hour
	$(BIN)/python scripts/bench.py --write docs/performance.md

mini: $(READY) ## Pre-train the embedded CLIP again on one thread, about 20 minutes
	$(BIN)/python scripts/pretrain_mini.py

RELEASE := $(VENV)/.release

$(RELEASE): $(READY)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -e '.[release]'
	@touch $@

dist: $(RELEASE) ## Build wheel and source distribution into dist/, check them, try them in an empty environment
	rm -rf build dist
	$(BIN)/python -m build --installer uv
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	$(BIN)/python scripts/packages.py dist

# ROWS=lowest-3.11 for one row; `scripts/matrix.py --list` names them.
matrix: $(RELEASE) ## Test the wheel on the lowest and highest versions of what it needs, on each Python that is here; an hour
	$(BIN)/python scripts/matrix.py $(if $(ROWS),--rows $(ROWS))

lint-files: $(RELEASE) ## Check Dockerfiles and workflows
	$(BIN)/hadolint Dockerfile Dockerfile.cuda
	$(BIN)/zizmor --offline --quiet .github

lint: $(READY) ## Check style
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(READY) ## Check types
	$(BIN)/mypy

check: lint types coverage ## Run everything that must pass: style, types, tests and coverage

format: $(READY) ## Fix style as far as a machine can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean: ## Remove the environment and caches; keep the runs
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .coverage* htmlcov build dist src/*.egg-info
