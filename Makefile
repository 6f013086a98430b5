# Each target sets up .venv on first use; only Python >= 3.11 and make are needed.
PYTHON ?= python3
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test lint format bench soak prices ui-assets docs clean
demo: .venv/.demo            ## a batch through the sandbox to a priced batch_success
	@$(BIN)/batchmeter demo
test: .venv/.dev             ## the whole test suite
	@PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 3 --dist worksteal $(ARGS)    # one may wait while two work
lint: .venv/.dev             ## ruff, mypy strict, pyright strict
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/mypy tests/typing examples && $(BIN)/pyright
format: .venv/.dev
	$(BIN)/ruff check --fix . ; $(BIN)/ruff format .
bench: .venv/.dev            ## ratios against peers, measured in one run
	@for each in $(filter-out benchmarks/soak.py,$(wildcard benchmarks/*.py)); do echo "== $$each"; $(BIN)/python $$each $(ARGS) || exit 1; done
soak: .venv/.dev             ## ten minutes of mixed traffic with kills on both engines, and the fuzzers
	$(BIN)/python benchmarks/soak.py $(ARGS)
prices: .venv/.dev           ## the price catalogue anew, from the newest data packages and our corrections: once a week
	$(BIN)/python .ci/prices/build.py newest .cache/prices
ui-assets:                   ## the web pages' vendored scripts anew, from npm, by their pinned version
	.ci/ui-assets.sh
docs: .venv/.docs            ## the documentation site, into site/; a dead link or stale page stops it
	$(BIN)/python docs/generate.py --check
	rm -rf build/docs && mkdir -p build/docs && cp -r docs zensical.toml build/docs/ && rm -rf build/docs/docs/_pages build/docs/docs/__pycache__ build/docs/docs/*.py
	cd build/docs && ../../$(BIN)/zensical build --strict    # in a copy: zensical takes .cache/ beside its settings for its own
	rm -rf site && mv build/docs/site site
clean:
	rm -rf .venv

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "batchmeter needs Python 3.11 or newer: make PYTHON=python3.12 …")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
.venv/.demo: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable .
	@touch $@
.venv/.dev: pyproject.toml | .venv/bin/python
	$(BIN)/python -m pip install --quiet --editable '.[all]' --group dev
	@touch $@ .venv/.demo
.venv/.docs: pyproject.toml .venv/.dev
	$(BIN)/python -m pip install --quiet --group docs
	@touch $@
