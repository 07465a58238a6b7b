# Two commands on a fresh machine (Python 3.11 or newer, and make):
#   make demo   sets up, then walks from simulated films to a draft report
#   make test   sets up, then runs all tests
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.ready

.PHONY: demo test test-fast bench setup lock lint clean

demo: setup
	$(BIN)/overread demo --out demo

# All tests: style and floors, the suite, the examples in the docstrings, then the long ones.
test: test-fast
	$(BIN)/python -m pytest -q -m slow tests

# Without the long tests: what to run while working.
test-fast: setup lint
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --dist loadfile -m "not slow" tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q --doctest-modules src/overread

bench: setup
	$(BIN)/python -m benchmarks

lint: setup
	$(BIN)/ruff check -q .
	$(BIN)/ruff format -q --check .
	$(BIN)/lint-imports --no-cache

setup: $(STAMP)

# Skipped when nothing has changed: the stamp holds what was installed.
$(STAMP): requirements.lock pyproject.toml
	$(PYTHON) -c "import sys; sys.exit('overread needs Python 3.11 or newer, this is ' + sys.version.split()[0]) if sys.version_info < (3, 11) else None"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@

# For maintainers: resolve the newest versions again (needs uv).
lock:
	uv pip compile pyproject.toml --extra train --extra pacs --extra starts --extra cluster --extra search --extra cloud --group dev --universal --generate-hashes --python-version 3.11 \
	  --no-header --no-annotate --quiet --upgrade -o requirements.lock

clean:
	rm -rf .venv demo build dist
