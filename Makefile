# Two commands matter: `make demo` and `make test`. Both set everything up first.

VENV ?= .venv
# A directory of real text for tests and `make real`; see docs/guide.md. Tests that want it skip
# with a reason where it is not there.
DATA ?= ../shared/data
DEMO ?= demo
REAL ?= real
TEST_PROCESSES ?= 2
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3)
UV_VERSION := 0.13.9
EXTRAS := lid,mining,nmt,export,eval,ray,dev
# An absolute path, so that recipes find `tongues` wherever they run.
BIN := $(abspath $(VENV))/bin

.PHONY: setup demo real test test-fast check format clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt Makefile lid/engine/kernel.cpp eval/metrics/kernel.cpp mining/search/kernel.cpp
	@ldconfig -p 2>/dev/null | grep -q 'libsndfile\.so\.1' || { \
	  echo "The system library libsndfile1 is missing (fairseq2 needs it). Install it with:" >&2; \
	  echo "  sudo apt-get install -y libsndfile1" >&2; exit 1; }
	@command -v c++ >/dev/null || { \
	  echo "A C++ compiler is missing (fastText is built from source). Install it with:" >&2; \
	  echo "  sudo apt-get install -y g++" >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' || { \
	  echo "Python 3.11 or 3.12 is needed; PYTHON=$(PYTHON) is another. Set PYTHON=..." >&2; exit 1; }
	@test -x "$(BIN)/python" || "$(PYTHON)" -m venv "$(VENV)"
	@if ! uv --version >/dev/null 2>&1 && ! test -x "$(BIN)/uv"; then \
	  echo "uv is missing: installing it into $(VENV) with pip"; \
	  "$(BIN)/python" -m pip install --quiet uv==$(UV_VERSION); fi
	@uv=uv; uv --version >/dev/null 2>&1 || uv="$(BIN)/uv"; \
	"$$uv" pip install --quiet --python "$(BIN)/python" \
	  --constraint constraints.txt --editable ".[$(EXTRAS)]"
	@touch $@

demo: setup
	PATH="$(BIN):$$PATH" recipes/demo/run.sh "$(DEMO)"

real: setup
	PATH="$(BIN):$$PATH" DATA="$(DATA)" recipes/real/run.sh "$(REAL)"

# Two processes; tests/conftest.py says which tests stay together.
test: setup
	TONGUES_DATA="$${TONGUES_DATA:-$(abspath $(DATA))}" "$(BIN)/python" -m pytest -q \
	  -m "not gpu and not network" -n $(TEST_PROCESSES) --dist loadgroup --no-loadscope-reorder

test-fast: setup
	TONGUES_DATA="$${TONGUES_DATA:-$(abspath $(DATA))}" "$(BIN)/python" -m pytest -q

check: setup
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/mypy"
	"$(BIN)/lint-imports"
	"$(BIN)/python" -m pytest -q tests/test_house.py

format: setup
	"$(BIN)/ruff" format .
	"$(BIN)/ruff" check --fix .

clean:
	rm -rf "$(DEMO)" "$(REAL)" build .mypy_cache .ruff_cache .pytest_cache
