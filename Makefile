# Two commands for a fresh machine with Python, git and make: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# A file's tests share its servers, so a file stays in one process; the order of the files is that of tests/conftest.py.
ALL_CORES := --numprocesses auto --dist loadfile --no-loadscope-reorder
STAMP := $(VENV)/.installed-from-lock

.PHONY: setup demo test test-all fuzz lint docs bench bench-all lock clean

setup: $(STAMP)

# The lock is the only source of versions; the project itself is installed without resolving anything.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or later is needed; say which: make PYTHON=python3.12"; exit 2; }
	@test -x $(BIN)/python || { echo "Making $(VENV) from requirements.lock (a few minutes the first time)"; $(PYTHON) -m venv $(VENV); }
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@if command -v npm >/dev/null; then for tool in azurite axe; do npm ci --prefix tests/support/$$tool --silent --no-audit --no-fund || echo "$$tool could not be installed: its tests are skipped"; done; fi
	@touch $@

demo: setup
	@$(BIN)/registry-audit demo --dir .demo --flow

test: setup
	@$(BIN)/python -m pytest -m "not slow" $(ALL_CORES)

test-all: setup
	@$(BIN)/python -m pytest -m "not slow" $(ALL_CORES)
	@$(BIN)/python -m pytest -m slow $(ALL_CORES)

# Half an hour or more of hostile input; FUZZ_FACTOR=1000 takes hours. What fails is kept in .fuzz and tried first next time.
fuzz: setup
	@FUZZ_FACTOR=$${FUZZ_FACTOR:-50} $(BIN)/python -m pytest tests/fuzz --timeout=0

# Servers of older MLflows, and the wheel beside the ends of its range: 10 to 40 minutes. `test-all` runs it too.
test-matrix: setup
	@$(BIN)/python -m pytest -m slow tests/integration/test_old_servers.py tests/integration/test_presigned_only.py \
		tests/integration/test_server_setups.py tests/packaging/test_client_range.py

lint: setup
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

# The documentation site, in site/. A broken link fails the build.
docs: setup
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "open site/index.html"

# Some 30 minutes; `bench-all` adds 10,000 and 100,000 versions, an hour more.
bench: setup
	@$(BIN)/python -m benchmarks.run

bench-all: setup
	@$(BIN)/python -m benchmarks.run --all

# Universal: every platform and Python from 3.11 on; names packages and hashes, and no host.
lock: setup
	@$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --python-version 3.11 \
		--all-extras --group dev pyproject.toml --output-file requirements.lock

clean:
	rm -rf $(VENV) .demo build dist site
