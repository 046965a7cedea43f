# Everything runs in .venv, which each target makes or renews when it has to. GNU Make 3.81 is enough.
#
#   make demo      train, test and explain on built-in data
#   make check     lint, format, types, which way imports point
#   make test      the tests           (make test WORKERS=0 ARGS="-k store" for one process and a choice)
#   make nightly   the tests that take minutes
#   make bench     the benchmarks
#   make venv      only set up
#   make clean     remove caches and build output; .venv and run folders stay
#
# Another interpreter: make venv PYTHON=python3.13. pip options: make venv PIP_FLAGS=...

SHELL := /bin/sh
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# One process per core of a small machine; tests/conftest.py gives each of them one thread. A module's tests share what
# it has trained, so one process does all of them, in the order of the files: the long ones in e2e begin early.
WORKERS ?= 2
ARGS ?=
PIP_FLAGS ?=
PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3 python; do \
	"$$p" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& echo "$$p" && break; done)

.DEFAULT_GOAL := help
.PHONY: help venv demo check test nightly bench clean

help:
	@sed -n '/^$$/q; s/^# \{0,1\}//p' Makefile

venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || test -x $(BIN)/python || { \
	  echo "foveal needs Python 3.11 or newer with its venv module; none was found on PATH." >&2; \
	  echo "Install one (Debian, Ubuntu: python3 python3-venv), or name one: make venv PYTHON=/path/to/python3" >&2; \
	  exit 1; }
	@echo "Setting up $(VENV): the first time takes minutes and about 2 GB."
	test -x $(BIN)/python || "$(PYTHON)" -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PIP_FLAGS) -c constraints.txt -e '.[dev]'
	@touch $(STAMP)

demo: $(STAMP)
	$(BIN)/foveal demo $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports

test: $(STAMP)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadscope --no-loadscope-reorder --max-worker-restart 1 $(ARGS)

nightly: $(STAMP)
	$(BIN)/python -m pytest -m nightly -o faulthandler_timeout=0 $(ARGS)
	FOVEAL_TEST_EXAMPLES=500 $(BIN)/python -m pytest -m hypothesis $(ARGS)

bench: $(STAMP)
	$(BIN)/python -m benchmarks $(ARGS)

clean:
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
