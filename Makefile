# The few commands a person runs are the ones CI runs. Each is quick when nothing changed.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test test-slow check docs bench clean
.DEFAULT_GOAL := demo

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 10) <= sys.version_info < (3, 14) else f"kinema needs Python 3.10 to 3.13; this is {sys.version.split()[0]}. Next: make PYTHON=python3.11 $(MAKECMDGOALS)")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev,docs]'
	@touch $@

demo: $(STAMP)
	$(BIN)/kinema demo

# A file's tests stay together, because they share what its fixtures made.
test: $(STAMP)
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python tests/wheel.py

docs: $(STAMP)
	$(BIN)/python docs/build.py

bench: $(STAMP)
	for program in benchmarks/*.py; do $(BIN)/python $$program || exit 1; done

clean:
	rm -rf $(VENV) .cache build dist site
