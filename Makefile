# make demo | picture | test | lowest | lint | models | shipped | bench | clean
#
# Needs python3 >= 3.11 with venv, and nothing else; everything else goes into $(VENV), pinned by constraints.txt.
#   PYTHON=python3.12   another interpreter           VENV=/tmp/env    another environment
#   ARGS="-k store"     more arguments for pytest     OUT=DIR          where the demo writes
#   PIP_ARGS=...        more arguments for pip, such as --extra-index-url https://download.pytorch.org/whl/cpu:
#                       outside this, pip takes the torch build that the package index offers (on Linux, with CUDA)

PYTHON ?= python3
VENV ?= .venv
OUT ?= qloc-demo
ARGS ?=
PIP_ARGS ?=
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt $(PIP_ARGS)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo picture test lowest lint ruff ruff-format mypy codespell import-linter format models shipped bench clean

help:
	@sed -n '1,9s/^# \{0,1\}//p' Makefile

# Stamps: an environment is made once, and again when what it is made from changes.
$(VENV)/.made:
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not found; expected Python >= 3.11. Set PYTHON=/path/to/python3." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("$(PYTHON) is Python " + sys.version.split()[0] + "; expected >= 3.11. Set PYTHON=/path/to/python3.11 or newer.")'
	@echo "Making $(VENV) ..."
	@$(PYTHON) -m venv $(VENV) || { echo "$(PYTHON) -m venv failed; on Debian and Ubuntu: apt install python3-venv." >&2; exit 1; }
	@touch $@

$(VENV)/.extract: pyproject.toml constraints.txt | $(VENV)/.made
	@echo "Installing qloc[extract] into $(VENV) ..."
	@$(INSTALL) -e '.[extract]'
	@touch $@

$(VENV)/.dev: pyproject.toml constraints.txt | $(VENV)/.made
	@echo "Installing qloc[dev] into $(VENV) ..."
	@$(INSTALL) -e '.[dev]'
	@touch $@ $(VENV)/.extract

demo: $(VENV)/.extract
	$(BIN)/qloc demo --out "$(OUT)"
	@test -s "$(OUT)/report.html" || { echo "qloc demo left no $(OUT)/report.html" >&2; exit 1; }
	@echo "Report: $(abspath $(OUT))/report.html"

picture: demo
	$(BIN)/python benchmarks/_report_picture.py "$(OUT)/report.html"

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

# In an environment of the lowest versions that pyproject.toml allows: what is read, written and analyzed, and
# how a model is identified. numcodecs warns of the checksums that the lowest zarr brings, unless Google's are there.
LOWEST := tests/store/reading tests/store/writing/test_writer.py tests/store/writing/test_append.py \
	tests/analysis/inputs tests/analysis/localization tests/extract/models/test_fingerprint.py
ALLOWED := import sys, tomllib; project = tomllib.load(open("pyproject.toml", "rb"))["project"]; \
	print(*(r.replace(">=", "==") for r in project["dependencies"] + project["optional-dependencies"]["extract"]), sep="\n")

$(VENV)-lowest/.made: pyproject.toml
	@echo "Installing the lowest versions that pyproject.toml allows into $(VENV)-lowest ..."
	@$(PYTHON) -m venv $(VENV)-lowest
	@$(PYTHON) -c '$(ALLOWED)' > $(VENV)-lowest/lowest.txt
	@$(VENV)-lowest/bin/python -m pip install -qq --disable-pip-version-check -c $(VENV)-lowest/lowest.txt $(PIP_ARGS) \
		-e '.[extract]' google-crc32c pytest hypothesis
	@touch $@

lowest: $(VENV)-lowest/.made
	$(VENV)-lowest/bin/python -m pytest -o filterwarnings=default $(LOWEST) $(ARGS)

# `make -k lint` runs them all, whatever the first one finds.
lint: ruff ruff-format mypy codespell import-linter

ruff: $(VENV)/.dev
	$(BIN)/ruff check .

ruff-format: $(VENV)/.dev
	$(BIN)/ruff format --check .

mypy: $(VENV)/.dev
	$(BIN)/mypy

codespell: $(VENV)/.dev
	$(BIN)/codespell

import-linter: $(VENV)/.dev
	$(BIN)/lint-imports --no-cache

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

models: $(VENV)/.extract
	$(BIN)/python -m qloc.extract.embedded.training.train

shipped: $(VENV)/.extract
	$(BIN)/python -m qloc.shipped

bench: $(VENV)/.dev
	@for program in benchmarks/[a-z]*.py; do echo "== $$program"; $(BIN)/python "$$program" $(ARGS) || exit 1; done

clean:
	rm -rf build dist qloc.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	rm -rf .venv .venv-lowest qloc-demo
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
