# Everything runs in .venv, which the first target that needs it makes from $(PYTHON), pyproject.toml and
# constraints.txt. A stamp file per kind of install, named after a checksum of the three, says that it is up to date.

PYTHON ?= python3
ARGS ?=

RUN := .venv/bin/python
# The folder is part of the key because an editable install points into it: a copied tree must install anew.
KEY := $(shell { $(PYTHON) --version; pwd; cat pyproject.toml constraints.txt; } 2>&1 | cksum | tr ' ' '-')
CORE := .venv/installed-core-$(KEY)
DEV := .venv/installed-dev-$(KEY)
# What is imported is compiled then; most of what the packages hold never is.
PIP_INSTALL = $(RUN) -m pip install -qq --no-compile --disable-pip-version-check --constraint constraints.txt
INSTALL = $(PIP_INSTALL) --editable

# Sizes of `make compare`; all of it takes about five hours on two cores for each seed and budget.
SEEDS ?= 0 1 2
TRANSITIONS ?= 100000
JOBS ?= 2

.PHONY: help demo test test-all paper compare faults bench docs lint format clean
.DEFAULT_GOAL := help

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s%s\n", $$1, $$2 }' Makefile
	@echo "PYTHON=python3.13 chooses the interpreter of .venv; ARGS=... is passed on, as in ARGS='-k planners'."

demo: $(CORE) ## train on the pocket cube, then solve scrambled cubes by planning in latent space
	$(RUN) train.py configs/pocket_cube.py $(ARGS)
	$(RUN) eval.py runs/pocket_cube/seed0 --num-problems 400 --html

# In their own order, files of one long test do not all come last.
PYTEST = $(RUN) -m pytest -n logical --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: $(DEV) ## run the test suite, but for its slow tests
	$(PYTEST) -m "not slow" $(ARGS)

test-all: $(DEV) ## run the whole test suite: every baseline trained to a known result, several devices, the tutorial
	$(PYTEST) $(ARGS)

paper: $(CORE) ## print the table of our planner and every baseline from its records; Markdown, LaTeX, CSV in runs/paper
	$(RUN) eval.py report benchmarks/results/comparison --output-dir runs/paper $(ARGS)

compare: $(CORE) ## train and grade our planner and every baseline anew, or go on with it: SEEDS, TRANSITIONS, JOBS
	$(RUN) eval.py compare configs/comparison/*.py --seeds $(SEEDS) --transitions $(TRANSITIONS) --jobs $(JOBS) $(ARGS)

# The longest first, so that no worker is left alone with it; files without the mark are not even collected.
FAULTS = $(addprefix tests/faults/test_,several.py kills.py damage.py signals.py mutations.py) \
	$$(grep -rl --include='test_*.py' 'mark\.faults' tests)

faults: $(DEV) ## break everything that can break: kills, signals, full disks, damaged and malicious files
	$(PYTEST) -m faults $(FAULTS) $(ARGS)

bench: $(CORE) ## measure the speed of training and planning
	$(RUN) -m benchmarks.run $(ARGS)

docs: $(DEV) ## build the documentation site into build/docs
	JAX_PLATFORMS=cpu $(RUN) -m sphinx --quiet --fresh-env --write-all --nitpicky --fail-on-warning --keep-going \
	  --doctree-dir build/doctrees $(ARGS) docs build/docs
	@echo "Open build/docs/index.html in a browser."

lint: $(DEV) ## check the style, change nothing
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .

format: $(DEV) ## bring the sources into the house style
	$(RUN) -m ruff check --fix-only --quiet .
	$(RUN) -m ruff format .

clean: ## remove .venv and all caches, but no run and no recorded data
	rm -rf .venv .pytest_cache .ruff_cache build *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps of earlier pins go first, so that an install that fails or is interrupted leaves none.
$(CORE):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Python 3.11 or newer is needed, but $(PYTHON) is $$($(PYTHON) --version 2>&1 | grep '^Python' || echo not installed);" \
	    "try: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments; install its venv module" \
	    "(on Debian and Ubuntu: apt-get install python3-venv) and run make again."; exit 1; }
	@rm -f .venv/installed-*
	@test "$$($(RUN) --version 2>&1)" = "$$($(PYTHON) --version 2>&1)" && $(RUN) -m pip --version >/dev/null 2>&1 || { \
	  echo "Making .venv with $$($(PYTHON) --version)"; $(PYTHON) -m venv --clear .venv; }
	@echo "Installing the pinned dependencies into .venv (about a minute, once)"
	@$(INSTALL) .
	@touch $@

# Of axe-playwright-python only the script of axe-core is wanted that lies in it, which Chromium runs; not Playwright.
$(DEV): $(CORE)
	@echo "Installing the development tools into .venv"
	@$(INSTALL) ".[dev]"
	@$(PIP_INSTALL) --no-deps axe-playwright-python
	@touch $@
