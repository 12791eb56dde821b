# Neural head avatars: environment, demo, tests. `make help` lists the targets.

PYTHON ?= python3
JOBS ?= 2
DEMO_ARGS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed.stamp
TRITON := $(VENV)/triton
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input

# One thread for each test process: JOBS of them run beside each other.
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 NUMBA_NUM_THREADS=1

.PHONY: help env demo notebook test test-triton lint bench clean
.DEFAULT_GOAL := help

help:
	@echo "make env          make the Python environment in $(VENV) (every other target does it where needed)"
	@echo "make demo         two synthetic people: dataset, tracking, avatars, one moved by the other"
	@echo "make notebook     opens the notebooks in JupyterLab (which it installs, once)"
	@echo "make test         all tests, $(JOBS) at a time (JOBS=4 make test)"
	@echo "make test-triton  the GPU kernels, without a GPU in Triton's interpreter (takes 1 GB of disk)"
	@echo "make lint         formatting, mistakes, and which package may import which"
	@echo "make bench        how long the slow parts take on this machine"
	@echo "make clean        remove caches (not $(VENV), not experiments/)"
	@echo "PYTHON=python3.11 make env    with another Python (3.10 to 3.12)"

env: $(INSTALLED)

# Made again when the lock file changes. torch goes first and alone: where a CPU build is offered pip takes
# that. The lock is complete, hence --no-deps (why: see requirements.lock).
$(INSTALLED): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' || { \
		echo "error: $(PYTHON) is not Python 3.10 to 3.12; choose one: PYTHON=python3.11 make env"; exit 2; }
	@echo "making the environment in $(VENV): a few minutes, once"
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --quiet --no-compile torch==2.13.0
	$(PIP) install --quiet --no-compile --no-deps -r requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: env
	$(BIN)/nha demo $(DEMO_ARGS)

notebook: $(VENV)/notebook.stamp
	$(BIN)/jupyter lab jupyter_notebooks

$(VENV)/notebook.stamp: requirements-notebook.lock $(INSTALLED)
	$(PIP) install --quiet --no-compile --no-deps -r requirements-notebook.lock
	@touch $@

test: env
	$(ONE_THREAD) $(BIN)/python -m pytest -q -n $(JOBS)

# A torch for CUDA has brought Triton along. Elsewhere it goes into a folder of its own, where no other run finds
# it, and its interpreter runs the kernels.
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
