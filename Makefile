# Every target sets up .venv by itself, from python3 (3.11 or newer) and make alone. `make help` lists them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
export DOCKER_REGISTRY_PWD

VENV := .venv
BIN := $(VENV)/bin

# The first interpreter that is new enough.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo "$$p" && break; done)

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z][a-z0-9-]*:.*## / { printf "make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(VENV)/.local ## one archive from beginning to end, on this machine alone
	@$(BIN)/archiver demo

.PHONY: local
local: $(VENV)/.local ## the worker beside an embedded S3 and SQS on port 4566, until Ctrl-C
	@$(BIN)/archiver local

# Tests wait as much as they compute: five processes keep two cores busy. The tests of a file share what it has set up.
# Files are taken in the order of conftest: xdist's own begins with those of many tests, and the long ones have few.
QUICK := -n 5 --dist loadfile --no-loadscope-reorder -m 'not slow'

# CI's machines are shared and noisy: what failed there is tried once more, one test after the other, and has to pass.
once_more = $(if $(CI),|| $(1) --last-failed --last-failed-no-failures none)

.PHONY: test
test: $(VENV)/.ready ## the tests but the slow ones, with coverage: all of archiver/core, 95 % of the rest
	@$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(QUICK) $(call once_more,$(BIN)/coverage run -m pytest)
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --include='archiver/core/*' --fail-under=100
	$(BIN)/coverage report --omit='archiver/core/*' --fail-under=95

.PHONY: test-slow
test-slow: $(VENV)/.ready ## the slow tests: archives of gigabytes, the image's environment, the pages' commands
	$(BIN)/pytest -n 4 --dist loadfile -m slow $(call once_more,$(BIN)/pytest)

# Another interpreter has an environment of its own: make test-quick PYTHON=python3.13 VENV=.venv/3.13
.PHONY: test-quick
test-quick: $(VENV)/.ready ## the same as test, without coverage
	$(BIN)/pytest $(QUICK) $(call once_more,$(BIN)/pytest)

.PHONY: lint
lint: $(VENV)/.ready ## style, types, and who may import whom
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: faults
faults: $(VENV)/.ready ## a job broken at every call in every way, outages of three minutes, and all rows of the fault matrix: about 40 minutes
	$(BIN)/pytest -n 5 tests/faults --all-crashes

# LocalStack asks for Python 3.11, and both for versions that are not ours: each has an environment of its own.
LOCALSTACK_PYTHON ?= $(shell for p in python3.11 python3 $(BIN)/python; do \
	"$$p" -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null && echo "$$p" && break; done)

.PHONY: e2e
e2e: $(VENV)/.ready $(VENV)/localstack/.ready $(VENV)/seaweedfs/.ready ## against LocalStack and SeaweedFS, about 2 minutes
	export PATH="$(CURDIR)/$(VENV)/localstack/bin:$$PATH"; $(BIN)/pytest tests/e2e $(call once_more,$(BIN)/pytest tests/e2e)

$(VENV)/localstack/.ready: tests/e2e/requirements-localstack.txt | $(VENV)/.created
	@test -n "$(LOCALSTACK_PYTHON)" || { echo "make: LocalStack 4.9.2 needs Python 3.11: name one with LOCALSTACK_PYTHON=..." >&2; exit 1; }
	$(LOCALSTACK_PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(VENV)/seaweedfs/.ready: tests/e2e/requirements-seaweedfs.txt | $(VENV)/.created
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

# The image. The registry's password goes to docker by standard input: arguments can be read by everyone on the machine.
# A tag never moves: it is the commit, and where that commit has the git tag vX.Y.Z, the version too.
DOCKER_IMG_NAME ?= archiver
DOCKER_REGISTRY ?=
DOCKER_REGISTRY_LOGIN ?=
PLATFORMS ?= linux/amd64,linux/arm64
COMMIT = $(shell git rev-parse --short=12 HEAD 2>/dev/null)
VERSION = $(shell git tag --points-at HEAD 2>/dev/null | sed -n 's/^v\([0-9]*\.[0-9]*\.[0-9]*\)$$/\1/p' | head -n 1)
# The name of a repository has no capitals; that of a GitHub account may.
IMAGE = $(shell printf %s '$(if $(DOCKER_REGISTRY),$(DOCKER_REGISTRY)/)$(DOCKER_IMG_NAME)' | tr '[:upper:]' '[:lower:]')
TAGS = $(IMAGE):$(COMMIT) $(if $(VERSION),$(IMAGE):$(VERSION))
NAMED = test -n "$(COMMIT)" || { echo "make: an image is named after its commit, and this is no git checkout" >&2; exit 2; }
CHANGED = $(if $(shell git status --porcelain 2>/dev/null),-changed)

.PHONY: docker-build
docker-build: ## build the image for this machine, with its commit (and version) as its tag
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
	@test -z "$(CHANGED)" || { echo "make: an image is named after its commit: commit or stash what is changed" >&2; exit 2; }
	@test -n "$(DOCKER_REGISTRY)" || { echo "make: set DOCKER_REGISTRY" >&2; exit 2; }
	@set --; for tag in $(TAGS); do \
	if docker buildx imagetools inspect "$$tag" > /dev/null 2>&1; then echo "make: $$tag is there, and a tag never moves"; \
	else set -- "$$@" --tag "$$tag"; fi; done; \
	if [ $$# -gt 0 ]; then mkdir -p build; set -x; docker buildx build --platform $(PLATFORMS) --provenance=mode=max --sbom=true \
	--metadata-file build/image.json --push "$$@" .; fi

# Checkov is 300 MB: it has an environment of its own, and no part in `make lint`.
.PHONY: scan
scan: $(VENV)/checkov/.ready ## what checkov says about deploy/; what it is not to say stands in Metadata, with the reason
	@$(VENV)/checkov/bin/checkov --directory deploy --framework cloudformation --compact --quiet --skip-download

$(VENV)/checkov/.ready: | $(VENV)/.created
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check 'checkov==3.3.30'
	@touch $@

.PHONY: mutants
mutants: $(VENV)/.ready ## break the code on purpose, and show that the tests notice
	@$(BIN)/python tests/mutants.py

.PHONY: fuzz
fuzz: $(VENV)/.ready ## what the worst bodies of 1 MiB cost: event loop, CPU, memory; about 3 minutes
	@cd tests && ../$(BIN)/python -m fuzz.measure

.PHONY: bench
bench: $(VENV)/.ready ## this project against its peers, about 5 minutes; BENCH_FLAGS=--quick about 1
	@$(BIN)/python bench/compare.py $(BENCH_FLAGS)

.PHONY: simulate
simulate: $(VENV)/plot/.ready ## a day of the scaling policy: the table of docs/scaling.md, and its picture
	@$(VENV)/plot/bin/python bench/simulate.py --write
	@$(VENV)/plot/bin/python bench/simulate.py --plot docs/scaling.png

$(VENV)/plot/.ready: bench/requirements-plot.txt | $(VENV)/.created
	$(PYTHON) -m venv $(@D)
	$(@D)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

.PHONY: format
format: $(VENV)/.ready ## write the code as `make lint` wants it
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# ---------------------------------------------------------------------------------------------------------------------

# Stamps: a step is done again only where what it was made from is newer, so that a second `make demo` needs no network.
$(VENV)/.created:
	@test -n "$(PYTHON)" || { echo "make: no python3 of 3.11 or newer was found; name one with PYTHON=..." >&2; exit 1; }
	@echo "make: $(VENV) is made, with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV) || { echo "make: $(PYTHON) has no venv module: on Debian, apt-get install python3-venv" >&2; exit 1; }
	@touch $@

INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check

# What the demo needs is a third of what developing needs: whoever wants a look waits for no more.
$(VENV)/.local: requirements-local.txt pyproject.toml | $(VENV)/.created
	@echo "make: $$(grep -c == requirements-local.txt) packages are installed into $(VENV), once: a minute or two, and about 200 MB"
	@$(INSTALL) --require-hashes -r requirements-local.txt
	@$(INSTALL) --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.ready: requirements-dev.txt $(VENV)/.local
	@echo "make: what developing takes is installed into $(VENV), once: a minute or two"
	@$(INSTALL) --require-hashes -r requirements-dev.txt
	@touch $@

# What is pinned stays pinned; to move one package: make requirements UPGRADE='--upgrade-package NAME'.
# The longest list is made first, and the others are taken out of it: one version of everything.
TOOLS := $(VENV)/tools
COMPILE = $(TOOLS)/bin/pip-compile --quiet --generate-hashes --strip-extras --annotation-style=line --no-header \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host

$(TOOLS)/.ready: | $(VENV)/.created
	$(BIN)/python -m venv $(TOOLS)
	$(TOOLS)/bin/pip install --quiet --disable-pip-version-check 'pip-tools==7.6.2'
	@touch $@

.PHONY: requirements
requirements: $(TOOLS)/.ready ## pin and hash what pyproject.toml asks for
	$(BIN)/python -c 'import tomllib; g = tomllib.load(open("pyproject.toml", "rb")); \
	print(*g["build-system"]["requires"], sep="\n", file=open("$(TOOLS)/build.in", "w")); \
	print("editables", file=open("$(TOOLS)/editable.in", "w")); \
	print(*g["dependency-groups"]["dev"], sep="\n", file=open("$(TOOLS)/dev.in", "w"))'
	$(COMPILE) --extra local $(UPGRADE) --output-file requirements-dev.txt pyproject.toml $(TOOLS)/*.in
	for list in requirements.txt requirements-build.txt requirements-local.txt; do cp requirements-dev.txt $$list; done
	$(COMPILE) --extra local --output-file requirements-local.txt pyproject.toml $(TOOLS)/build.in $(TOOLS)/editable.in
	$(COMPILE) --output-file requirements.txt pyproject.toml
	$(COMPILE) --output-file requirements-build.txt $(TOOLS)/build.in

.PHONY: clean
clean: ## remove everything that was made
	rm -rf $(VENV) .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache build dist htmlcov
