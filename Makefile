# Everything a newcomer needs: `make serve` and `make test`. Each makes .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# where the mail goes and where the server listens: make serve MAILDIR=/mnt/mail/inbox
MAILDIR ?= Maildir
SERVE ?=
# what `make bench-compare` compares with
REVISION ?= HEAD

.PHONY: help serve test test-mounts lint docs bench bench-compare compare screenshots prove lab release deb clean

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.server: $(BIN)/python pyproject.toml
	$(BIN)/pip install -q -e '.[server]'
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml
	$(BIN)/pip install -q -e '.[server,cli,bench,dev]'
	@touch $@ $(VENV)/.server

serve: $(VENV)/.server  ## SMTP in, Maildir out, with an inbox page
	$(BIN)/maildir-safe serve $(SERVE) $(MAILDIR)

test: $(VENV)/.dev  ## all tests that this user can run here, and what was left out
	$(BIN)/python -m tests.run

test-mounts: $(VENV)/.dev  ## tests on real mounts, MTAs and mail readers (root, Debian: installs packages)
	$(BIN)/python -m tests.run --mounts

lint: $(VENV)/.dev  ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(VENV)/.dev  ## the documents as a site in build/site; a broken link fails
	$(BIN)/python -m tools.reference
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict

bench: $(VENV)/.dev  ## how fast is a durable delivery, here and by others (root: makes ext4 and xfs images)
	$(BIN)/python -m benchmarks.deliver

bench-compare: $(VENV)/.dev  ## is this tree more than 10 % slower than REVISION (the last commit), in turns
	$(BIN)/python -m benchmarks.paired $(REVISION)

compare: $(VENV)/.dev  ## probe and bench on all mounts that come up here: an hour (root, Debian)
	$(BIN)/python -m benchmarks.compare

screenshots: $(VENV)/.dev  ## the pictures of the inbox page in docs/img, taken anew (Debian's chromium)
	$(BIN)/python tests/system/screenshots.py

lab: $(VENV)/.dev  ## every promise on every mount, into docs/reference/file-systems.md: half an hour (root, Debian)
	$(BIN)/python -m tests.lab

prove: $(VENV)/.dev  ## the long run of the explorer, the state machines and the replayed disks: 30 minutes
	$(BIN)/python -m tests.run --prove

release: $(VENV)/.dev  ## sdist and wheel of the last commit in dist/, the same bytes whoever builds them
	$(BIN)/python -m tools.release

deb: $(VENV)/.dev  ## Debian package of the last commit in dist/ (Debian 12, with the packages of Build-Depends)
	$(BIN)/python -m tools.deb

clean:  ## remove what the targets above made, but no mail
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
