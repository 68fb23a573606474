# make demo   every system on built-in data, beside the strongest of what needs no jepakit; runs/demo/index.html
# make test   lint, types, import rules, docs, all tests but the long ones
# make torture   the long tests: whole data sets, kills again and again, the wheel with each extra
# make test-lowest   all tests with the oldest versions that pyproject.toml allows, in .venv-lowest; TESTS names some
# make release   wheel and source, checked; the versions with their digests; a list of what is inside; in dist/
# make docs   docs/_build/html/index.html
# make clean  remove what the others made
#
# Three workers keep two cores busy: tests wait for commands and disks a third of their time.
#
# Each installs into $(VENV) what it needs, once. VENV, PYTHON, RUN and WORKERS may be given: make test VENV=/tmp/venv

PYTHON ?= python3
VENV ?= .venv
RUN ?= runs/demo
WORKERS ?= 3
LOWEST ?= .venv-lowest
TESTS ?= tests

BIN := $(VENV)/bin
# Extras of those who use jepakit, not of those who work on it.
RUNTIME = training graph chem retrieval kgqa ladybug neo4j rdf lp guard cedar langgraph openai-agents modelling minilm \
	openvino lora smollm2 langchain llama-index pgvector qdrant milvus ray objects report tensorboard wandb
INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test torture test-lowest lint types docs release clean

demo: $(VENV)/.installed-demo
	$(BIN)/jepakit demo --run $(RUN)

# The checks that need no test run side by side, and first: the summary of the tests is the last line.
test: $(VENV)/.installed-dev
	$(MAKE) --no-print-directory --jobs 2 --output-sync lint types docs
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile

torture: $(VENV)/.installed-dev $(VENV)/.installed-release
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadfile -m torture

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

types: $(VENV)/.installed-dev
	$(BIN)/pyright --pythonpath $(BIN)/python

test-lowest: $(LOWEST)/.installed
	$(LOWEST)/bin/python -m pytest -n $(WORKERS) --dist loadfile $(TESTS)

docs: $(VENV)/.installed-dev
	$(BIN)/sphinx-build -q -W docs docs/_build/html
	@echo docs/_build/html/index.html

# What a user of the wheel installs, all extras together: exact versions with digests, and a CycloneDX list of them.
release: $(VENV)/.installed-release
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/twine check --strict dist/*
	$(BIN)/check-wheel-contents dist/*.whl
	$(BIN)/uv pip compile pyproject.toml $(RUNTIME:%=--extra %) --constraints constraints.txt --universal --generate-hashes \
		--no-header --quiet --output-file dist/requirements-hashed.txt
	$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible \
		--output-file dist/jepakit.cdx.json dist/requirements-hashed.txt

clean:
	rm -rf .venv .venv-lowest runs build dist docs/_build .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.installed-demo: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[kgqa,lp,guard,minilm,report]'
	touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[dev,docs]'
	touch $@

$(VENV)/.installed-release: pyproject.toml constraints.txt | $(BIN)/python
	$(INSTALL) --editable '.[release]'
	touch $@

$(LOWEST)/.installed: pyproject.toml constraints-lowest.txt
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints-lowest.txt --editable '.[dev]'
	touch $@

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
