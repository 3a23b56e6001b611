# Two commands for a new user: `make demo` (the main job) and `make test`. Both build .venv from the lock files first.
PYTHON ?= python3
BIN := .venv/bin
# One thread a process: the kernels here are small, and the tests already run on every core.
WORKERS ?= 2

.PHONY: demo test bench check supply docs release lock clean

demo: .venv/.demo
	$(BIN)/canonize demo

test: .venv/.dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS)

# All areas: make bench AREAS="images clouds sets graphs exactness accuracy training". Data: CANONIZE_DATA=FOLDER.
bench: .venv/.dev
	$(BIN)/python benchmarks/bench.py $(AREAS) $(if $(OUT),--out $(OUT)) $(if $(FRESH),--fresh)

check: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python .ci/supply.py

# Licences and versions of all that is locked, and build/sbom.json; no network.
supply: .venv/.dev
	$(BIN)/python .ci/supply.py

# Builds, checks, installs in an empty environment, runs the demonstration there: make release DRAFT=--draft before the date is set.
release: .venv/.dev
	$(BIN)/python .ci/release.py $(DRAFT)

# The site in site/, from the pages and docstrings alone; nothing is fetched.
docs: .venv/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo 'Open site/index.html'

.venv/.python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "canonize needs Python 3.10 or newer; name one: make PYTHON=python3.11 ..."; exit 1; }
	$(PYTHON) -m venv .venv
	@touch $@

.venv/.demo: .venv/.python requirements.lock pyproject.toml
	$(BIN)/python -m pip install --quiet --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

.venv/.dev: .venv/.python requirements-dev.lock pyproject.toml
	$(BIN)/python -m pip install --quiet --requirement requirements-dev.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	@touch $@

# Needs uv on the path or in .venv.
lock:
	echo torch==2.13.0 > .venv/pins.txt
	uv pip compile --quiet --universal --python-version 3.10 --no-annotate --constraint .venv/pins.txt \
		--custom-compile-command "make lock" --extra demo pyproject.toml --output-file requirements.lock
	uv pip compile --quiet --universal --python-version 3.10 --no-annotate --constraint .venv/pins.txt \
		--custom-compile-command "make lock" --extra dev pyproject.toml --output-file requirements-dev.lock

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis canonize-report site build
