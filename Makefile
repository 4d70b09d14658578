# `make demo` and `make test` need Python 3.11 or later and nothing else.
PYTHON ?= python3
VENV ?= .venv
BREAK ?=
ARGS ?=
MINUTES ?= 5
CHECKS ?= 5000

.PHONY: demo test lint format docs bench busy fuzz soak lock clean

demo: $(VENV)/demo
	$(VENV)/bin/probed demo $(foreach name,$(BREAK),--break $(name)) $(ARGS)

test: lint
	$(VENV)/bin/pytest $(ARGS)

lint: $(VENV)/dev
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

# The pages of docs/ that are written from the classes.
docs: $(VENV)/dev
	$(VENV)/bin/python -m probed.manual docs

# Needs Debian's nginx and prometheus-blackbox-exporter; says so where it lacks them.
bench: $(VENV)/dev
	$(VENV)/bin/python -m benchmarks $(ARGS)

# The tests that look at the time, beside eight processes that want all of the processor.
busy: $(VENV)/dev
	$(VENV)/bin/python -m benchmarks.busy --loops 8 -- $(VENV)/bin/pytest -m timing $(ARGS)

fuzz: $(VENV)/dev
	$(VENV)/bin/python -m benchmarks.fuzz --minutes $(MINUTES)

soak: $(VENV)/dev
	$(VENV)/bin/python -m benchmarks.soak --minutes $(MINUTES) --checks $(CHECKS)

# The versions that CI installs: those of this environment, which have passed the tests.
lock: $(VENV)/dev
	$(VENV)/bin/python -m pip freeze --exclude-editable > .ci/constraints.txt

format: $(VENV)/dev
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/demo: pyproject.toml $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[demo]'
	touch $@

$(VENV)/dev: pyproject.toml $(VENV)/bin/python
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -e '.[demo,dev]'
	touch $@

clean:
	rm -rf $(VENV) dist .mypy_cache .pytest_cache .ruff_cache
