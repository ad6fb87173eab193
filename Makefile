# make demo   install into .venv, refine the bundled example, show figures before and after
# make test   run the tests          make lint   check style and types
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: demo test test-all lint format clean

demo: $(STAMP)
	$(BIN)/python examples/demo.py --out out/demo

# One thread a test process: two processes of two threads each would fight over two cores.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-all: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(STAMP)
	$(BIN)/ruff format --check bpr_cli tests examples models
	$(BIN)/ruff check bpr_cli tests examples models
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff format bpr_cli tests examples models
	$(BIN)/ruff check --fix bpr_cli tests examples models

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,tensorboard]'
	touch $(STAMP)

clean:
	rm -rf $(VENV) out build dist
