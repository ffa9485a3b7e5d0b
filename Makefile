# Set-up is part of each target: nothing but Python 3.11+, pip and make is needed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
TOOLS  := $(VENV)/.tools
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.PHONY: demo test check format docs reproduce clean

$(READY): requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) -r requirements.txt
	$(INSTALL) --no-deps -e .
	@touch $(READY)

$(TOOLS): $(READY) requirements-dev.txt
	$(INSTALL) -r requirements-dev.txt
	@touch $(TOOLS)

demo: $(READY)  ## the main job: a width-depth-batch study, its answer, its page and figures
	@$(BIN)/batchscope run quickstart --out runs/quickstart --report

# One process per core, each with one thread: the tests are many and small.
test: $(TOOLS)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto

check: $(TOOLS)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(TOOLS)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(TOOLS)  ## the site, into site/; a warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

reproduce: $(READY)  ## the runs of REPRODUCTION.md, resumed where they stand, and the page; hours
	$(BIN)/batchscope plan chen2018/figure2
	$(BIN)/batchscope run chen2018/figure2 --out results/figure2
	$(BIN)/batchscope plan chen2018/figure2-mnist
	$(BIN)/batchscope run chen2018/figure2-mnist --out results/figure2-mnist
	$(BIN)/batchscope run yin2018/lemma1 --out results/lemma1
	$(BIN)/python -m reproduction.conjecture
	$(BIN)/python -m reproduction.page

clean:
	rm -rf $(VENV) runs build dist *.egg-info src/*.egg-info
