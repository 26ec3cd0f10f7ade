# The Python that .venv is made from: at least 3.11.
PYTHON ?= python3
VENV := .venv

python := $(VENV)/bin/python
version := $(shell $(PYTHON) -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null)
pins := requirements/python$(if $(filter 3.11.%,$(version)),3.11,3.12).txt

# Touched when an installation is complete. The version in its name makes another Python start over.
installed := $(VENV)/installed-$(version)

# A process for each core, up to the number that memory allows. Fast tests are dealt out by files,
# which share programs; a process that has no slow tests left takes some of another.
side_by_side := --numprocesses=auto --maxprocesses=8

# A .venv whose Python does not start (half made, or made from one that is gone) is not installed.
$(shell $(python) -c '' 2>/dev/null || rm -f $(installed))

.PHONY: help install mnist test test-slow bench docs notebooks lint format

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo 'PYTHON=... chooses the Python of .venv, ARGS="..." adds arguments to mnist and the tests.'

install: $(installed) ## install vae_jax and all it needs into .venv, if anything changed

mnist: $(installed) ## train on MNIST, e.g. make mnist ARGS="--epochs=2 --workdir=runs/short"
	$(python) -m experiments.mnist --flagfile=experiments/configs/mnist.cfg $(ARGS)

test: $(installed) ## run the fast tests, e.g. make test ARGS="-k elbo"
	$(python) -m pytest -m "not slow" $(side_by_side) --dist=loadfile $(ARGS)

test-slow: $(installed) ## run the slow tests: statistics and training
	$(python) -m pytest -m slow $(side_by_side) --dist=worksteal $(ARGS)

bench: $(installed) ## time training, evaluation and start, e.g. make bench ARGS="--peers"
	$(python) -m experiments.benchmark $(ARGS)

docs: $(installed) ## build the documentation, a site that needs no network, into site/
	@$(python) -m sphinx -q --fail-on-warning --keep-going -c docs . site
	@echo 'The documentation is site/index.html.'

notebooks: $(installed) ## run the notebooks of docs/notebooks/ again and keep what they print
	$(python) -m nbconvert --to notebook --inplace --execute \
	    --ExecutePreprocessor.record_timing=False docs/notebooks/*.ipynb
	$(python) -m nbconvert --to notebook --inplace --coalesce-streams docs/notebooks/*.ipynb

lint: $(installed) ## check code, format and types
	$(python) -m ruff check
	$(python) -m ruff format --check
	$(python) -m mypy

format: $(installed) ## format the code
	$(python) -m ruff format

# A complete installation is brought up to date; without one, .venv is emptied first, since pip
# takes the half-written packages of an interrupted run for whole ones.
$(installed): pyproject.toml $(pins)
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and \
	    "vae_jax needs Python 3.11 or newer and $(PYTHON) is $(version): make PYTHON=... names another.")'
	@echo 'Installing into $(VENV) (Python $(version), pins $(pins)), about a minute ...'
	@if [ -e $@ ]; then rm $@; else $(PYTHON) -m venv --clear $(VENV); fi
	@$(python) -m pip install -q --disable-pip-version-check -r $(pins)
	@$(python) -m pip install -q --disable-pip-version-check --no-deps -e .
	@touch $@
