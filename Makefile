# `make serve` and `make test` need only Python 3.11 or newer; everything else goes into .venv.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
HOST ?= 127.0.0.1
PORT ?= 8000

.PHONY: serve test test-all test-some lint format bench lock clean

serve: $(VENV)/installed
	$(BIN)/lipserve serve --host $(HOST) --port $(PORT)

# Services and children that tests start are not compiled anew each time, whatever the environment says.
test test-all test-some: export PYTHONDONTWRITEBYTECODE :=

# One more than there are processors, since tests of the service mostly wait; each imports torch and collects, so few.
WORKERS ?= $(shell n=$$(nproc); echo $$((n < 4 ? n + 1 : 4)))

test: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 $(BIN)/pytest -n $(WORKERS) --dist worksteal

test-all: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 HYPOTHESIS_PROFILE=random $(BIN)/pytest -n $(WORKERS) --dist worksteal -m "slow or not slow"

# Of the slow tests one in ONE_IN, others with every commit, as far as MINUTES go; the same when a commit runs again.
ONE_IN ?= 4
MINUTES ?= 4

test-some: $(VENV)/installed-dev
	OMP_NUM_THREADS=1 HYPOTHESIS_PROFILE=thorough $(BIN)/python -m pytest -n $(WORKERS) -m slow \
		-p tests.time_box --one-in $(ONE_IN) --minutes $(MINUTES) --turn "$$(git rev-parse HEAD)"

lint: $(VENV)/installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/installed-dev
	$(BIN)/pip install --quiet --no-deps eclipse-nn
	$(BIN)/python -m benchmarks.convolution_norms
	$(BIN)/python -m benchmarks.resnet50
	$(BIN)/python -m benchmarks.latency
	$(BIN)/python -m benchmarks.record seqlip_pairs
	$(BIN)/python -m benchmarks.record exact
	$(BIN)/python -m benchmarks.record lipsdp --peers-to 250
	$(BIN)/python -m benchmarks.record fourier
	$(BIN)/python -m benchmarks.record load
	$(BIN)/python -m benchmarks.faults --write
	$(BIN)/python -m benchmarks.engine --write
	$(BIN)/python -m benchmarks.paper mlp --write
	$(BIN)/python -m benchmarks.paper cnn --write
	$(BIN)/python -m benchmarks.paper alexnet --budget 600 --write

# Versions that were tested together; made anew from pyproject.toml's ranges.
lock: $(VENV)/bin/python
	$(BIN)/pip install --quiet --upgrade pip-tools
	$(BIN)/pip-compile --quiet --strip-extras --no-emit-find-links --no-emit-index-url --output-file requirements.lock pyproject.toml
	$(BIN)/pip-compile --quiet --strip-extras --no-emit-find-links --no-emit-index-url --extra dev --constraint requirements.lock --output-file requirements-dev.lock pyproject.toml

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: $(VENV)/bin/python requirements.lock pyproject.toml setup.py
	$(BIN)/pip install --quiet --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@

$(VENV)/installed-dev: $(VENV)/installed requirements-dev.lock
	$(BIN)/pip install --quiet --requirement requirements-dev.lock
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
