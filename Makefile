# Everything runs from a fresh clone with nothing but Python >= 3.11 and make.
#   make demo              the product, offline, in under a minute
#   make test              every test, with coverage of memory/ and stores/
#   make check             what CI runs: lint, types, layers, tests
#   make test PYTHON=...   the same on another interpreter, in its own environment

PYTHON ?= python3
VENV ?= .venv$(if $(filter-out python3,$(PYTHON)),-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo test test-integration lint format check bench soak clean install

install: $(READY)

# uv is fetched with pip into the environment itself and is pinned by the lock like all else.
$(READY): pyproject.toml uv.lock
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and f"Recollect needs Python 3.11 or newer, but $(PYTHON) is {v[0]}.{v[1]}. Try: make PYTHON=python3.12 $(MAKECMDGOALS)")'
	@echo "setting up $(VENV) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m uv --version >/dev/null 2>&1 || $(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.9"
	@UV_PROJECT_ENVIRONMENT=$(VENV) UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1 UV_COMPILE_BYTECODE=1 $(BIN)/python -m uv sync --quiet --frozen --inexact --all-extras --python $(BIN)/python
	@$(BIN)/python -m compileall -q src
	@touch $@

demo: install
	@$(BIN)/python examples/memory-workflow/demo.py

test: install
	@$(BIN)/python -m coverage erase
	@$(BIN)/python -m pytest -n auto --cov --cov-report= -q
	@$(BIN)/python -m coverage report --include='src/recollect/memory/*,src/recollect/stores/*' --fail-under=85

test-integration: install
	@$(BIN)/python -m tests.servers.programs
	@$(BIN)/python -m pytest -n auto -q tests/integration tests/acceptance tests/servers

lint: install
	@$(BIN)/python -m ruff check .
	@$(BIN)/python -m ruff format --check .
	@$(BIN)/python -m mypy
	@$(BIN)/lint-imports --no-cache

format: install
	@$(BIN)/python -m ruff check --fix .
	@$(BIN)/python -m ruff format .

check: lint test

bench: install
	@$(BIN)/python -m benchmarks

soak: install
	@$(BIN)/python -m pytest -q -s tests/soak

clean:
	rm -rf .venv* .coverage* .mypy_cache .pytest_cache .ruff_cache .hypothesis
