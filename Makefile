# Two commands: `make demo` runs the main job offline on a CPU, `make test` runs everything CI runs. `make help` lists all.
VENV ?= .venv
BIN = $(VENV)/bin
# tests and micro models are so small that threads get in each other's way
export OMP_NUM_THREADS ?= 1

.PHONY: help demo test install dev lint types contracts unit wheel leaderboard report docs tree fuzz nightly

help:  ## this list
	@sed -nE 's/^([a-z]+):.*  ## (.*)/  \1 \2/p' $(MAKEFILE_LIST) | awk '{name = $$1; sub(/^ *[a-z]+ /, ""); printf "  %-12s %s\n", name, $$0}'

demo: install  ## the main job offline on a CPU: micro models, every question, one table
	$(BIN)/ohd-bench run --encoder micro --encoder micro-ohd --lvlm micro-llava --data micro --results runs/demo
	$(BIN)/ohd-bench leaderboard --results runs/demo --out runs/demo/leaderboard.md

# not part of the tests: MINUTES of broken inputs at every front door, and how each of them ended (docs/reliability.md)
MINUTES ?= 30
fuzz: dev  ## MINUTES of broken inputs; not part of test
	$(BIN)/python tests/fuzz --minutes $(MINUTES)

# not part of the tests: ROUNDS kills of drivers, workers and whole groups, 1 to 4 workers, drawn by OHD_BENCH_SEED
ROUNDS ?= 50
nightly: dev  ## ROUNDS of kills (50) against one undisturbed run, and other examples of every property; not part of test
	OHD_BENCH_KILL_ROUNDS=$(ROUNDS) $(BIN)/pytest tests/e2e/test_kill_rounds.py
	OHD_BENCH_EXAMPLES=nightly $(BIN)/pytest -n 2 -k "not kill_rounds"

test: dev lint types contracts unit wheel leaderboard report docs  ## everything CI runs

install: $(VENV)/installed  ## a virtual environment with ohd-bench in it

$(VENV)/installed: pyproject.toml constraints.txt
	python3 -m venv $(VENV)
	$(BIN)/pip install --quiet --editable '.[models,parquet]' --constraint constraints.txt
	touch $@

dev: $(VENV)/dev-installed  ## the same with what tests need

$(VENV)/dev-installed: $(VENV)/installed
	$(BIN)/pip install --quiet --editable '.[models,parquet,dev]' --constraint constraints.txt
	touch $@

lint:  ## ruff, check and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:  ## mypy --strict
	$(BIN)/mypy

contracts:  ## which room may import which (import-linter)
	$(BIN)/lint-imports

unit:  ## the tests
	$(BIN)/pytest -n 2

wheel:  ## build the wheel, install it alone, run it
	PYTHON=$(BIN)/python .ci/wheel

leaderboard:  ## is leaderboard.md what results/ gives, to the digit?
	$(BIN)/ohd-bench leaderboard --check

report:  ## the report of the micro runs
	$(BIN)/ohd-bench report micro+micro-llava@ micro-ohd+micro-llava@ --out runs/report.html

docs: install  ## the documentation as a site in runs/site; a link that leads nowhere ends it
	$(BIN)/pip install --quiet --editable '.[docs]' --constraint constraints.txt
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --config-file .ci/site/mkdocs.yml

tree: dev  ## is docs/tree.md what the files say?
	$(BIN)/pytest tests/harness/test_tree.py
