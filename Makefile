# Everything a laptop or a CI machine does. Needs Python (any), pip and make; the rest is installed on first use.
.DEFAULT_GOAL := run
.DELETE_ON_ERROR:
.PHONY: .venv run test check format bench mutants bundle lock upgrade clean

# Without byte-compiled files every import costs about three times as much as in production.
unexport PYTHONDONTWRITEBYTECODE
unexport VIRTUAL_ENV

# The first interpreter that has pip; it only fetches uv, which then finds or fetches Python 3.13.
PYTHON ?= $(shell for each in python3.13 python3 python /usr/bin/python3; do \
	$$each -m pip --version >/dev/null 2>&1 && { echo $$each; break; }; done)
BIN := .venv/bin
UV := .tools/bin/uv
LOCK := $(UV) pip compile --universal --generate-hashes --no-emit-index-url \
	--python-version 3.13 --custom-compile-command 'make lock' --quiet $(LOCK_OPTIONS)

run: .venv
	$(BIN)/engine run document-analysis --input events/sample.md

test: .venv
	$(BIN)/pytest

check: .venv
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: .venv
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv
	$(BIN)/python -m benchmarks

mutants: .venv
	$(BIN)/python tests/mutants.py

# What Lambda runs: build/bundles/{control,ai}-{arm64,x86_64}.zip.
bundle: .venv
	$(BIN)/python -m cdk.bundling

.venv: .venv/.installed

.venv/.installed: requirements/dev.txt pyproject.toml .python-version | $(UV)
	$(UV) venv --quiet --allow-existing .venv
	$(UV) pip sync --quiet --python .venv --require-hashes requirements/dev.txt
	$(UV) pip install --quiet --python .venv --no-deps --no-build-isolation --editable .
	@touch $@

$(UV): requirements/tools.txt
	@test -n "$(PYTHON)" || { echo 'make: no Python with pip was found; install one, or say PYTHON=/path/to/python3' >&2; exit 1; }
	$(PYTHON) -m pip install -qq --disable-pip-version-check --upgrade --require-hashes --target .tools -r $<
	@touch $@

# Emulated AWS for the tests, in an environment of its own: it pins the botocore it imitates.
CLOUD := ministack==1.5.33 boto3

.PHONY: .venv-cloud lock-cloud
.venv-cloud: .venv-cloud/.installed

.venv-cloud/.installed: requirements/cloud.txt .python-version | $(UV)
	$(UV) venv --quiet --allow-existing .venv-cloud
	$(UV) pip sync --quiet --python .venv-cloud --require-hashes $<
	@touch $@

test: .venv-cloud

lock-cloud: $(UV)
	printf '%s\n' $(CLOUD) | $(LOCK) - --output-file requirements/cloud.txt

lock: lock-cloud

# dev.txt holds everything the tests need; the others are what is deployed, at the same versions.
lock: $(UV)
	$(LOCK) pyproject.toml --extra aws --extra psycopg --group dev --output-file requirements/dev.txt
	$(LOCK) pyproject.toml --constraint requirements/dev.txt --output-file requirements/runtime.txt
	$(LOCK) pyproject.toml --constraint requirements/dev.txt --extra aws --output-file requirements/aws.txt
	$(LOCK) pyproject.toml --constraint requirements/dev.txt --extra ai --output-file requirements/ai.txt
	$(LOCK) --group lambda --constraint requirements/dev.txt --output-file requirements/lambda.txt
	$(LOCK) --group lambda-ai --constraint requirements/dev.txt --constraint requirements/ai.txt \
		--output-file requirements/lambda-ai.txt
	$(LOCK) --group tools --output-file requirements/tools.txt

# The newest versions the ranges in pyproject.toml allow.
upgrade:
	$(MAKE) lock LOCK_OPTIONS=--upgrade

clean:
	rm -rf .venv .tools .engine build dist cdk.out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
