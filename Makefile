# Every target creates .venv if needed, with python3 (3.11 or newer) and make only. `make help` lists the targets.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
export DOCKER_REGISTRY_PWD
# Without bytecode on the disk, each of the tests' processes would compile everything that it imports.
unexport PYTHONDONTWRITEBYTECODE

VENV := .venv
BIN := $(VENV)/bin

# The first interpreter of version 3.11 or newer.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.local ## build one archive with an embedded S3 and SQS
	@$(BIN)/archiver demo

.PHONY: local
local: $(VENV)/.local ## run the worker with an embedded S3 and SQS on port 4566, until Ctrl-C
	@$(BIN)/archiver local

# Tests wait as long as they compute: five processes keep two cores busy, and each more reads all the tests once more.
# Tests of one file share its fixtures.
# conftest.py sorts the files: xdist's own order starts with the files that have most tests, and the longest have few.
QUICK := -n 5 --dist loadfile --no-loadscope-reorder -m 'not slow'

# CI machines are shared and noisy: there, failed tests run once more, one after the other, and must pass.
once_more = $(if $(CI),|| $(1) --last-failed --last-failed-no-failures none)

# Measuring coverage takes half as much time again: `.ci/run` asks for it.
COVERAGE ?=

.PHONY: test
test: $(VENV)/.ready ## run all but the slow tests; COVERAGE=1 requires 100 % of archiver/core and 95 % of the rest
ifeq ($(COVERAGE),)
	$(BIN)/pytest $(QUICK) $(call once_more,$(BIN)/pytest)
else
	@$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(QUICK) $(call once_more,$(BIN)/coverage run -m pytest)
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --include='archiver/core/*' --fail-under=100
	$(BIN)/coverage report --omit='archiver/core/*' --fail-under=95
endif

.PHONY: test-slow
test-slow: $(VENV)/.ready ## run the slow tests: archives of gigabytes, the image's environment, the commands of the docs
	$(BIN)/pytest -n 4 --dist loadfile -m slow $(call once_more,$(BIN)/pytest)

# Another interpreter needs its own environment: make test-quick PYTHON=python3.13 VENV=.venv/3.13
.PHONY: test-quick
test-quick: $(VENV)/.ready ## run the same tests, never with coverage
	$(BIN)/pytest $(QUICK) $(call once_more,$(BIN)/pytest)

.PHONY: lint
lint: $(VENV)/.ready ## run ruff, mypy and the import rules
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: faults
faults: $(VENV)/.ready ## fault injection: fail every call of a job in every way, long outages, the whole fault matrix; about an hour
	$(BIN)/pytest -n 5 tests/faults --all-crashes

# LocalStack requires Python 3.11, and both need other package versions: each has its own environment.
LOCALSTACK_PYTHON ?= $(shell for p in python3.11 python3 $(BIN)/python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo "$$p" && break; done)

.PHONY: e2e
e2e: $(VENV)/.ready $(VENV)/localstack/.ready $(VENV)/seaweedfs/.ready $(VENV)/ministack/.ready ## test against LocalStack, SeaweedFS, MiniStack and RabbitMQ (apt-get install rabbitmq-server); about 8 minutes
	export PATH="$(CURDIR)/$(VENV)/localstack/bin:$$PATH"; $(BIN)/pytest tests/e2e --ignore-glob='*/test_amqp_*' $(call once_more,$(BIN)/pytest tests/e2e --ignore-glob='*/test_amqp_*')
	$(BIN)/pytest $(RABBITMQ) $(call once_more,$(BIN)/pytest $(RABBITMQ))

# These tests wait more than they compute: two processes, each with a broker of its own.
RABBITMQ := -n 2 --dist loadfile --no-loadscope-reorder $(sort $(wildcard tests/e2e/test_amqp_*.py))

$(VENV)/localstack/.ready: tests/e2e/requirements-localstack.txt | $(VENV)/.created
	@test -n "$(LOCALSTACK_PYTHON)" || { echo "make: LocalStack 4.9.2 needs Python 3.11: set LOCALSTACK_PYTHON=..." >&2; exit 1; }
	$(LOCALSTACK_PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(VENV)/seaweedfs/.ready: tests/e2e/requirements-seaweedfs.txt | $(VENV)/.created
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(VENV)/ministack/.ready: tests/e2e/requirements-ministack.txt | $(VENV)/.created
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# The image. docker reads the registry's password from standard input, because every user can read arguments.
# Tags never move: the tag is the commit, and also the version if the commit has the git tag vX.Y.Z.
DOCKER_IMG_NAME ?= archiver
DOCKER_REGISTRY ?=
DOCKER_REGISTRY_LOGIN ?=
PLATFORMS ?= linux/amd64,linux/arm64
COMMIT = $(shell git rev-parse --short=12 HEAD 2>/dev/null)
VERSION = $(shell git tag --points-at HEAD 2>/dev/null | sed -n 's/^v\([0-9]*\.[0-9]*\.[0-9]*\)$$/\1/p' | head -n 1)
# Repository names are lower case; GitHub account names may have capitals.
IMAGE = $(shell printf %s '$(if $(DOCKER_REGISTRY),$(DOCKER_REGISTRY)/)$(DOCKER_IMG_NAME)' | tr '[:upper:]' '[:lower:]')
TAGS = $(IMAGE):$(COMMIT) $(if $(VERSION),$(IMAGE):$(VERSION))
NAMED = test -n "$(COMMIT)" || { echo "make: the image's tag is the commit, and this is not a git checkout" >&2; exit 2; }
CHANGED = $(if $(shell git status --porcelain 2>/dev/null),-changed)

.PHONY: docker-build
docker-build: ## build the image for this machine, tagged with the commit (and version)
	@$(NAMED)
	docker build $(foreach tag,$(TAGS),--tag $(tag)$(CHANGED)) .

.PHONY: docker-clean
docker-clean: ## remove the image from this machine
	docker image rm --force $(addsuffix $(CHANGED),$(TAGS))

.PHONY: docker-registry-login
docker-registry-login: ## log in as DOCKER_REGISTRY_LOGIN with DOCKER_REGISTRY_PWD, at DOCKER_REGISTRY
	@test -n "$(DOCKER_REGISTRY_LOGIN)" || { echo "make: set DOCKER_REGISTRY_LOGIN and DOCKER_REGISTRY_PWD" >&2; exit 2; }
	@printenv DOCKER_REGISTRY_PWD | docker login --username "$(DOCKER_REGISTRY_LOGIN)" --password-stdin $(firstword $(subst /, ,$(DOCKER_REGISTRY)))

.PHONY: docker-push-registry
docker-push-registry: ## build for PLATFORMS (amd64 and arm64) and push, with SBOM and provenance; needs buildx
	@$(NAMED)
	@test -z "$(CHANGED)" || { echo "make: the image's tag is the commit: commit or stash your changes first" >&2; exit 2; }
	@test -n "$(DOCKER_REGISTRY)" || { echo "make: set DOCKER_REGISTRY" >&2; exit 2; }
	@set --; for tag in $(TAGS); do \
	if docker buildx imagetools inspect "$$tag" > /dev/null 2>&1; then echo "make: $$tag exists already, and tags never move"; \
	else set -- "$$@" --tag "$$tag"; fi; done; \
	if [ $$# -gt 0 ]; then mkdir -p build; set -x; docker buildx build --platform $(PLATFORMS) --provenance=mode=max --sbom=true \
	--metadata-file build/image.json --push "$$@" .; fi

# Checkov takes 300 MB: it has its own environment and is not part of `make lint`.
.PHONY: scan
scan: $(VENV)/checkov/.ready ## check deploy/ with checkov; suppressed findings are in Metadata, with the reason
	@$(VENV)/checkov/bin/checkov --directory deploy --framework cloudformation --compact --quiet --skip-download

$(VENV)/checkov/.ready: | $(VENV)/.created
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check 'checkov==3.3.30'
	@touch $@

.PHONY: mutants
mutants: $(VENV)/.ready ## mutation tests: break one guarantee at a time and check that tests fail
	@$(BIN)/python tests/mutants.py

.PHONY: fuzz
fuzz: $(VENV)/.ready ## measure the worst request bodies of 1 MiB: event loop, CPU, memory; about 3 minutes
	@cd tests && ../$(BIN)/python -m fuzz.measure

.PHONY: bench
bench: $(VENV)/.ready ## benchmark against other implementations; BENCH_FLAGS=--quick for small workloads
	@$(BIN)/python bench/compare.py $(BENCH_FLAGS)

.PHONY: simulate
simulate: $(VENV)/plot/.ready ## simulate the scaling policy; writes the table and the picture of docs/scaling.md
	@$(VENV)/plot/bin/python bench/simulate.py --write
	@$(VENV)/plot/bin/python bench/simulate.py --plot docs/scaling.png

$(VENV)/plot/.ready: bench/requirements-plot.txt | $(VENV)/.created
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

.PHONY: format
format: $(VENV)/.ready ## format the code and apply ruff's fixes
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# ---------------------------------------------------------------------------------------------------------------------

# Stamp files: a step runs again only if its inputs are newer, so a second `make demo` needs no network.
$(VENV)/.created:
	@test -n "$(PYTHON)" || { echo "make: python3 3.11 or newer was not found; set PYTHON=..." >&2; exit 1; }
	@echo "make: creating $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV) || { echo "make: $(PYTHON) has no venv module: on Debian, apt-get install python3-venv" >&2; exit 1; }
	@touch $@

INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# The demo needs a third of the development packages: `make demo` installs only those.
$(VENV)/.local: requirements-local.txt pyproject.toml | $(VENV)/.created
	@echo "make: installing $$(grep -c == requirements-local.txt) packages into $(VENV), once: one to two minutes, about 200 MB"
	@$(INSTALL) --require-hashes -r requirements-local.txt
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.ready: requirements-dev.txt $(VENV)/.local
	@echo "make: installing the development packages into $(VENV), once: one to two minutes"
	@$(INSTALL) --require-hashes -r requirements-dev.txt
	@touch $@

# Pins are kept. To upgrade one package: make requirements UPGRADE='--upgrade-package NAME'.
# The longest list is compiled first and constrains the others, so that all have the same versions.
TOOLS := $(VENV)/tools
COMPILE = $(TOOLS)/bin/pip-compile --quiet --generate-hashes --strip-extras --annotation-style=line --no-header \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host

$(TOOLS)/.ready: | $(VENV)/.created
	$(BIN)/python -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check 'pip-tools==7.6.2'
	@touch $@

.PHONY: requirements
requirements: $(TOOLS)/.ready ## pin and hash the dependencies of pyproject.toml
	$(BIN)/python -c 'import tomllib; g = tomllib.load(open("pyproject.toml", "rb")); \
	print(*g["build-system"]["requires"], sep="\n", file=open("$(TOOLS)/build.in", "w")); \
	print("editables", file=open("$(TOOLS)/editable.in", "w")); \
	print(*g["dependency-groups"]["dev"], sep="\n", file=open("$(TOOLS)/dev.in", "w"))'
	$(COMPILE) --extra local --extra select --extra amqp --extra lambda --extra otel $(UPGRADE) --output-file requirements-dev.txt pyproject.toml $(TOOLS)/*.in
	for list in requirements.txt requirements-build.txt requirements-lambda.txt requirements-local.txt; do cp requirements-dev.txt $$list; done
	$(COMPILE) --extra local --extra select --output-file requirements-local.txt pyproject.toml $(TOOLS)/build.in $(TOOLS)/editable.in
	$(COMPILE) --extra select --extra amqp --extra otel --output-file requirements.txt pyproject.toml
	$(COMPILE) --extra select --extra amqp --extra otel --extra lambda --output-file requirements-lambda.txt pyproject.toml
	$(COMPILE) --output-file requirements-build.txt $(TOOLS)/build.in
	printf 'awscli\n' > $(TOOLS)/commands.aws
	$(COMPILE) $(UPGRADE) --output-file requirements-commands.txt $(TOOLS)/commands.aws

.PHONY: clean
clean: ## remove all generated files
	rm -rf $(VENV) .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist htmlcov
