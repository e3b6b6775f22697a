# How to run and check Verdict; `make` lists the targets. Kept to what GNU make 3.81 (macOS) knows.

VENV := .venv
BIN := $(VENV)/bin

# The interpreter that .venv is made from: PYTHON, or else the first of these that is new enough.
PYTHONS = $(or $(PYTHON),python3 python3.13 python3.12 python3.11)
new_enough = $(shell $(1) -c 'import sys; sys.exit(sys.version_info < (3, 11, 4))' 2>/dev/null && echo $(1))
can_import = $(shell $(1) -c 'import $(2)' 2>/dev/null && echo $(1))
base_python = $(firstword $(foreach python,$(PYTHONS),$(call new_enough,$(python))))

versions = $(shell for python in $(PYTHONS); do version=$$($$python -V 2>&1) && echo "$$python is $$version;"; done; true)
too_old = $(error Verdict needs Python 3.11.4 or newer; $(or $(versions),there is no $(firstword $(PYTHONS));) install one or say where it is, as in PYTHON=/path/to/python3.12 make demo)
no_venv = $(error $(1) cannot make virtual environments: install its venv package (Debian, Ubuntu: apt install $(notdir $(1))-venv) or name another Python, as in PYTHON=/path/to/python3.12 make demo)
checked_python = $(if $(base_python),$(if $(call can_import,$(base_python),ensurepip),$(base_python),$(call no_venv,$(base_python))),$(too_old))

# An environment that an interrupted run, an old Python or an upgrade of the system left unusable is made anew.
venv_works = $(and $(call new_enough,$(BIN)/python),$(call can_import,$(BIN)/python,pip))
INSTALL = $(BIN)/python -m pip install -qq --disable-pip-version-check --constraint constraints.txt --editable

.PHONY: help demo test test-all check

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-9s %s\n", $$1, $$2 }' Makefile
	@echo "PYTHON=python3.12 make demo chooses the Python that $(VENV) is made from."

demo: $(VENV)/installed ## install everything into .venv, train on the built-in digits, print the leaderboard
	$(BIN)/python -m launch run demo

test: $(VENV)/installed-dev ## run the tests that need neither a GPU nor minutes
	$(BIN)/pytest -n 2 -m "not slow and not gpu"

test-all: $(VENV)/installed-dev ## run every test; those that need a GPU are skipped without one
	$(BIN)/pytest

check: $(VENV)/installed-dev ## lint, format check, types
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

$(VENV)/installed: pyproject.toml constraints.txt
	$(if $(venv_works),,@$(checked_python) -m venv --clear $(VENV))
	@echo "Installing Verdict and its packages into $(VENV): this takes minutes and a few GB of disk."
	@$(INSTALL) .
	@touch $@

$(VENV)/installed-dev: $(VENV)/installed
	@echo "Installing the development tools into $(VENV)."
	@$(INSTALL) '.[dev]'
	@touch $@
