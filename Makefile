# Two commands matter: `make demo` and `make test`. Both set everything up first.

VENV ?= .venv
# A directory of real text for tests and `make real`; see docs/guide.md. Tests that want it skip
# with a reason where it is not there.
DATA ?= ../shared/data
DEMO ?= demo
# The language of `make real`: czech or ukrainian.
NEW ?= czech
REAL ?= real$(if $(filter-out czech,$(NEW)),-$(NEW))
WHEELS ?= dist
TEST_PROCESSES ?= 2
PYTHON ?= $(shell command -v python3.11 || command -v python3.12 || command -v python3.13 || \
  command -v python3.14 || command -v python3)
# Without a GPU, `TORCH_BACKEND=cpu` downloads a tenth: torch without CUDA, from its own index.
# Any name that uv's option --torch-backend takes.
TORCH_BACKEND ?=
UV_VERSION := 0.13.9
EXTRAS := lid,cld2,mining,nmt,export,serve,eval,learned,ray,s3,dev
# An absolute path, so that recipes find `tongues` wherever they run.
BIN := $(abspath $(VENV))/bin
UV := $(shell uv --version >/dev/null 2>&1 && echo uv || echo "$(BIN)/uv")

.PHONY: setup demo real test test-slow check check-versions format wheel clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt Makefile lid/engine/kernel.cpp lid/engine/trainer.cpp lid/engine/ngrams.h lid/engine/vectors.h eval/metrics/kernel.cpp mining/search/kernel.cpp mining/sentences/kernel.cpp
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' || { \
	  echo "Python 3.11 to 3.14 is needed; PYTHON=$(PYTHON) is another. Set PYTHON=..." >&2; exit 1; }
	@test -x "$(BIN)/python" || "$(PYTHON)" -m venv "$(VENV)" || { rm -rf "$(VENV)"; \
	  echo "$(PYTHON) cannot create environments. On Debian and Ubuntu: apt-get install python3-venv" >&2; exit 1; }
	@if ! "$(UV)" --version >/dev/null 2>&1; then \
	  echo "uv is missing: installing it into $(VENV) with pip"; \
	  "$(BIN)/python" -m pip install --quiet uv==$(UV_VERSION); fi
	@"$(UV)" pip install --quiet --python "$(BIN)/python" --constraint constraints.txt \
	  $(if $(TORCH_BACKEND),--torch-backend "$(TORCH_BACKEND)") --editable ".[$(EXTRAS)]"
	@test -f "lid/engine/_kernel$$("$(BIN)/python" -c \
	  'import sysconfig; print(sysconfig.get_config_var("EXT_SUFFIX"))')" || \
	  echo "No C++ compiler was found: language identification runs at under a third of its speed," \
	    "cleaning at half, scoring and exact search are slower too; results are the same."
	@touch $@

demo: setup
	PATH="$(BIN):$$PATH" recipes/demo/run.sh "$(DEMO)"

real: setup
	PATH="$(BIN):$$PATH" DATA="$(DATA)" recipes/real/run.sh "$(REAL)" "$(NEW)"

# Two processes; tests/conftest.py says which tests stay together.
PYTEST = TONGUES_DATA="$${TONGUES_DATA:-$(abspath $(DATA))}" "$(BIN)/python" -m pytest -q \
  -n $(TEST_PROCESSES) --dist loadgroup --no-loadscope-reorder

test: setup
	$(PYTEST)

# Whole recipes, kills, clusters, training in several processes, fuzzing: CPU minutes each.
test-slow: setup
	$(PYTEST) -m "slow and not gpu and not network"

check: setup
	"$(BIN)/ruff" check .
	"$(BIN)/ruff" format --check .
	"$(BIN)/mypy"
	"$(BIN)/lint-imports"
	"$(BIN)/python" -m pytest -q tests/test_house.py

# The oldest and newest Python, torch and transformers, each in an environment of its own.
check-versions: setup
	UV="$(UV)" tests/check_versions.sh

# A wheel for this machine's Python; it installs without uv and without a compiler.
wheel: setup
	"$(UV)" build --quiet --wheel --python "$(BIN)/python" --out-dir "$(WHEELS)" .

format: setup
	"$(BIN)/ruff" format .
	"$(BIN)/ruff" check --fix .

clean:
	rm -rf "$(DEMO)" "$(REAL)" real-ukrainian "$(WHEELS)" build .mypy_cache .ruff_cache .pytest_cache
