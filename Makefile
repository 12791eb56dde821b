# Environment, demo and tests. `make help` lists the targets.

PYTHON ?= python3
JOBS ?= 2
DEMO_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed.stamp
TRITON := $(VENV)/triton
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

# One thread for each of the JOBS parallel test processes.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1

.PHONY: help env demo notebook test test-robustness test-triton lint bench clean
.DEFAULT_GOAL := help

help:
	@echo "make env          create the Python environment in $(VENV) (the other targets do it if necessary)"
	@echo "make demo         the whole pipeline on two synthetic people (DEMO_ARGS='--quick' make demo)"
	@echo "make notebook     open the notebooks in JupyterLab (installs it once)"
	@echo "make test         all tests, $(JOBS) at a time (JOBS=4 make test)"
	@echo "make test-robustness  kills, full disks, hostile files and viewer attacks at length (up to 30 minutes)"
	@echo "make test-triton  tests of the GPU kernels; without a GPU in Triton's interpreter (1 GB of disk)"
	@echo "make lint         formatting, linter, import contracts"
	@echo "make bench        benchmarks of rendering and training steps"
	@echo "make clean        remove caches (not $(VENV), not experiments/)"
	@echo "PYTHON=python3.11 make env    with another Python (3.10 to 3.12)"

env: $(INSTALLED)

# Created again when the lock file changes. torch is installed first and alone, so that pip can choose a CPU build.
# The lock file is complete, hence --no-deps (see requirements.lock).
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' || { \
		echo "error: $(PYTHON) is not Python 3.10 to 3.12; choose one: PYTHON=python3.11 make env"; exit 2; }
	@echo "creating the environment in $(VENV): takes a few minutes, once"
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --no-compile torch==2.13.0
	$(PIP) install --quiet --no-compile --no-deps -r requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: env
	$(BIN)/python -m nha demo $(DEMO_ARGS)

notebook: $(VENV)/notebook.stamp
	$(BIN)/jupyter lab jupyter_notebooks

$(VENV)/notebook.stamp: requirements-notebook.lock $(INSTALLED)
	$(PIP) install --quiet --no-compile --no-deps -r requirements-notebook.lock
	@touch $@

test: env
	$(ONE_THREAD) $(BIN)/python -m pytest -q -n $(JOBS)

test-robustness: env
	$(ONE_THREAD) $(BIN)/python -m pytest -q -n $(JOBS) -m robustness

# torch for CUDA depends on Triton. Otherwise Triton is installed into a separate folder, and its interpreter runs the
# kernels.
test-triton: env
	@if $(BIN)/python -c 'import triton' 2>/dev/null; then \
		$(ONE_THREAD) $(BIN)/python -m pytest -q -m triton; \
	else \
		test -d $(TRITON) || { echo "installing Triton in $(TRITON): 1 GB, once"; \
			$(PIP) install --quiet --no-deps --target $(TRITON).part triton==3.9.0 && mv $(TRITON).part $(TRITON); } || exit 1; \
		TRITON_INTERPRET=1 PYTHONPATH=$(TRITON) $(ONE_THREAD) $(BIN)/python -m pytest -q -m triton; \
	fi

lint: env
	$(BIN)/ruff format --check --quiet .
	$(BIN)/ruff check --quiet .
	$(BIN)/lint-imports --no-logo --no-cache

bench: env
	@for script in benchmarks/bench.py benchmarks/raster_bench.py; do echo "== $$script"; $(BIN)/python "$$script" || exit 1; done

clean:
	rm -rf .pytest_cache .ruff_cache .import_linter_cache build *.egg-info
	find . -path ./$(VENV) -prune -o -name __pycache__ -type d -exec rm -rf {} +
