# Two commands: `make demo` runs the main job offline on a CPU, `make test` runs everything CI runs.
VENV ?= .venv
BIN = $(VENV)/bin
# tests and micro models are so small that threads get in each other's way
export OMP_NUM_THREADS ?= 1

.PHONY: demo fuzz test install dev lint types contracts unit wheel leaderboard report

demo: install
	$(BIN)/ohd-bench run --encoder micro --encoder micro-ohd --lvlm micro-llava --data micro --results runs/demo
	$(BIN)/ohd-bench leaderboard --results runs/demo --out runs/demo/leaderboard.md

# not part of the tests: MINUTES of broken inputs at every front door, and how each of them ended (docs/reliability.md)
MINUTES ?= 30
fuzz: dev
	$(BIN)/python tests/fuzz --minutes $(MINUTES)

test: dev lint types contracts unit wheel leaderboard report

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	python3 -m venv $(VENV)
	$(BIN)/pip install --quiet --editable . --constraint constraints.txt
	touch $@

dev: $(VENV)/dev-installed

$(VENV)/dev-installed: $(VENV)/installed
	$(BIN)/pip install --quiet --editable '.[dev]' --constraint constraints.txt
	touch $@

lint:
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types:
	$(BIN)/mypy

contracts:
	$(BIN)/lint-imports

unit:
	$(BIN)/pytest -n 2

wheel:
	PYTHON=$(BIN)/python .ci/wheel

leaderboard:
	$(BIN)/ohd-bench leaderboard --check

report:
	$(BIN)/ohd-bench report micro+micro-llava@ micro-ohd+micro-llava@ --out runs/report.html
