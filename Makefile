# Set-up is part of each target: nothing but Python 3.11+, pip and make is needed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

.PHONY: demo test check format bench clean

$(READY): requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $(READY)

demo: $(READY)  ## the main job: a width-depth-batch study, its table and figures
	$(BIN)/batchscope run quickstart --out runs/quickstart
	$(BIN)/batchscope report runs/quickstart --figures runs/quickstart/figures

# One process per core, each with one thread: the tests are many and small.
test: $(READY)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) runs build dist *.egg-info src/*.egg-info
