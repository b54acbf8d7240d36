# A fresh machine needs Python 3.11 and make. Everything else goes into .venv.

VENV := .venv
PYTHON := $(VENV)/bin/python
UV := $(VENV)/bin/uv
SYNC := $(UV) pip sync --quiet --python $(PYTHON) --compile-bytecode
COMPILE := $(UV) pip compile --quiet --python $(PYTHON) --python-version 3.11 \
	--no-header --no-annotate --no-emit-index-url --no-emit-find-links pyproject.toml
WORKERS ?= 3
# Else each of the many processes that a lab and its tests start would compile the project anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := run
.DELETE_ON_ERROR:
.PHONY: run test lint bench pictures torture requirements clean

run: $(VENV)/.installed
	@$(PYTHON) manage.py up

test: $(VENV)/.installed-dev
	$(PYTHON) -m pytest -n $(WORKERS)
	NEURASCALE_TEST_DATABASE=postgresql $(PYTHON) -m pytest -n $(WORKERS) --database-only
	@echo "The tests pass, and those that use a database on SQLite and on PostgreSQL."

lint: $(VENV)/.installed-dev
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	@home=$$(mktemp -d) && trap 'rm -rf "$$home"' EXIT && export NEURASCALE_HOME="$$home" && set -x && \
	$(PYTHON) manage.py check && \
	$(PYTHON) manage.py makemigrations --check --dry-run && \
	DEBUG=0 $(PYTHON) manage.py check --deploy --fail-level WARNING

bench: $(VENV)/.installed-dev
	$(PYTHON) -m benchmarks.start
	$(PYTHON) -m benchmarks.latency
	$(PYTHON) -m benchmarks.fanout
	$(PYTHON) -m benchmarks.store
	$(PYTHON) -m benchmarks.audit
	$(PYTHON) -m benchmarks.http
	$(PYTHON) -m benchmarks.scope

pictures: $(VENV)/.installed-dev
	$(PYTHON) docs/images/make.py

torture: $(VENV)/.installed-dev
	$(PYTHON) -m tests.torture --kills 300

# What `run` needs is part of what tests need; a change of the first asks for the second anew.
$(VENV)/.installed: requirements.txt | $(UV)
	$(SYNC) requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed | $(UV)
	$(SYNC) requirements-dev.txt
	@touch $@

$(UV):
	python3 -m venv $(VENV)
	$(PYTHON) -m pip install --quiet --disable-pip-version-check "uv<1"

requirements: | $(UV)
	$(COMPILE) -o requirements.txt
	$(COMPILE) --extra dev --constraint requirements.txt -o requirements-dev.txt

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
