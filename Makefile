# Two commands: `make demo` and `make test`. Both set up .venv on a fresh machine.
PYTHON ?= python3
VENV   ?= .venv
BIN     = $(VENV)/bin
# one thread a process, processes side by side: oversubscribed torch is many times slower
export OMP_NUM_THREADS ?= 1
WORKERS ?= $(shell env -u OMP_NUM_THREADS nproc)

.PHONY: install demo test test-all lint bench clean

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet "torch==$$(sed -n 's/^torch==//p' constraints.txt)"
	$(BIN)/pip install --quiet -c constraints.txt -e ".[all,dev]"
	touch $@

demo: install
	$(BIN)/atomflow campaign run workflows/bulk/quickstart.yaml -o runs/quickstart
	$(BIN)/atomflow report runs/quickstart

test: install
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

test-all: install
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m "not gpu"

lint: install
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: install
	$(BIN)/python workflows/benchmarks/md_step.py
	$(BIN)/python workflows/benchmarks/msd.py

clean:
	rm -rf runs build dist *.egg-info
