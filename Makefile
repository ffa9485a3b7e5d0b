# Set-up is part of each target: nothing but Python 3.11+, pip and make is needed.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready
TOOLS  := $(VENV)/.tools
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --dist loadgroup

.PHONY: demo test test-system check format docs package reproduce reproduce-smoke clean

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

# One process per core, each with one thread: the tests are many and small. Groups: what shares a Ray cluster stays together.
test: $(TOOLS)
	$(PYTEST)

test-system: $(TOOLS)  ## commands and workers in processes of their own: kills, shards, clusters, notebooks, the site
	$(PYTEST) -m "system and not slow and not gpu"

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

package: $(TOOLS)  ## wheel and sdist, and the quickstart run from the wheel in an environment of its own
	rm -rf build dist
	$(BIN)/python -m build --quiet
	$(PYTHON) -m venv build/empty
	build/empty/bin/python -m pip install --quiet --disable-pip-version-check --constraint requirements.txt dist/*.whl
	cd build && empty/bin/batchscope run quickstart --out quickstart --report
	@ls -l dist

reproduce: $(READY)  ## the runs of REPRODUCTION.md, resumed where they stand, their figures and the page; hours
	$(BIN)/python -m reproduction.run

reproduce-smoke: $(READY)  ## the same path on 200 examples, in under a minute
	$(BIN)/python -m reproduction.run --smoke

clean:
	rm -rf $(VENV) runs build dist *.egg-info src/*.egg-info
