# Everything runs in .venv, which is made on the first call and again when the pins change.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PINS := $(shell cat pyproject.toml constraints.txt | cksum | cut -d' ' -f1)
CORE := $(VENV)/installed-core-$(PINS)
DEV := $(VENV)/installed-dev-$(PINS)
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
LINT := $(BIN)/ruff check --quiet src tests scripts && $(BIN)/ruff format --check --quiet src tests scripts && $(BIN)/mypy --no-error-summary
SLURM := slurm-wlm slurmdbd munge mariadb-server
# one thread: the models of the tests are small, and threads that wait for each other cost more than they give
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-all test-faults test-cluster clean

demo: $(CORE)  ## train, measure and report on embedded real data
	$(BIN)/mlfund train task=binary

test: $(DEV)  ## what has to pass before every commit
	$(LINT)
	$(BIN)/python -m pytest -n 2 -m "not slow and not cluster"

test-all: $(DEV)  ## the above, and what takes minutes
	$(PIP_INSTALL) -e ".[dev,data,optim,references,torchrec]"
	$(PIP_INSTALL) --no-deps torchrec==1.8.0
	$(LINT)
	$(BIN)/python -m pytest -n 2

# options: FAULTS="--seed 1 --count 500 --cases lean,plain --every 1"
test-faults: $(DEV)  ## kills runs at every operation on a file and at random moments, and compares them when resumed
	PYTHONPATH=src $(BIN)/python -m tests.faults $(FAULTS)

# as root on Debian or Ubuntu: a Slurm of two nodes with accounting is installed and, for the tests, started
test-cluster: $(DEV)  ## requeued jobs, lost ranks, arrays and submitit on a real Slurm; takes minutes
	dpkg -s $(SLURM) > /dev/null 2>&1 || { apt-get update -qq && \
		DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(SLURM); }
	$(PIP_INSTALL) -e ".[dev,data,sweep]"
	$(BIN)/python -m pytest -m "cluster or slow" tests/cluster

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
