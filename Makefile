# make demo   install into .venv, refine the bundled example, show figures before and after
# make test   run the tests          make lint   check style and types
# make docs   build the site into out/site
# make trial  run the reliability trials, half an hour, and write examples/RELIABILITY.md (TRIAL=fuzz: one; SCALE=0.1)
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.installed-docs
PYTHON_FILES := bpr_cli tests examples docs

TRIAL :=
SCALE := 1

.PHONY: demo test test-all trial lint format docs clean

demo: $(STAMP)
	$(BIN)/python examples/demo.py --out out/demo

# One thread a test process: two processes of two threads each would fight over two cores.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow"

test-all: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

trial: $(STAMP)
	$(BIN)/python -m tests.trials $(TRIAL) --scale $(SCALE)

lint: $(STAMP)
	$(BIN)/ruff format --check $(PYTHON_FILES)
	$(BIN)/ruff check $(PYTHON_FILES)
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff format $(PYTHON_FILES)
	$(BIN)/ruff check --fix $(PYTHON_FILES)

# Links and anchors are checked: a broken one ends the build.
docs: $(DOCS_STAMP)
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,tensorboard]'
	touch $(STAMP)

$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $(DOCS_STAMP)

clean:
	rm -rf $(VENV) out build dist
