# Everything runs in .venv, which is made on the first call and again when the pins change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PINS := $(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
CORE := $(VENV)/installed-core-$(PINS)
DEV := $(VENV)/installed-dev-$(PINS)
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
LINT := $(BIN)/ruff check --quiet src tests scripts && $(BIN)/ruff format --check --quiet src tests scripts && $(BIN)/mypy --no-error-summary
# one thread: the models of the tests are small, and threads that wait for each other cost more than they give
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-all test-faults clean

demo: $(CORE)  ## train, measure and report on embedded real data
	$(BIN)/mlfund train task=binary

test: $(DEV)  ## what has to pass before every commit
	$(LINT)
	$(BIN)/python -m pytest -n 2 -m "not slow"

test-all: $(DEV)  ## the above, and what takes minutes
	$(PIP_INSTALL) -e ".[dev,data,optim,references,torchrec]"
	$(PIP_INSTALL) --no-deps torchrec==1.8.0
	$(LINT)
	$(BIN)/python -m pytest -n 2

# options: FAULTS="--seed 1 --count 500 --cases lean,plain --every 1"
test-faults: $(DEV)  ## kills runs at every operation on a file and at random moments, and compares them when resumed
	PYTHONPATH=src $(BIN)/python -m tests.faults $(FAULTS)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(CORE): | $(VENV)/bin/python
	$(PIP_INSTALL) -e .
	touch $@

$(DEV): | $(VENV)/bin/python
	$(PIP_INSTALL) -e ".[dev,data]"
	touch $@ $(CORE)

clean:
	rm -rf $(VENV) build dist runs multirun src/*.egg-info
