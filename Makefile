# Everything runs in .venv, which the first target that needs it makes.
# Variables: PYTHON=python3.12, EXPERIMENT=paper (make params), BENCHMARKS="renderer" (make
# benchmark), SKELIFT_TORCH_BACKEND=cpu (the CPU build of torch, where pip would take CUDA's),
# PORT=9000 (make serve).

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= $(shell command -v python3.11 || echo python3)
EXPERIMENT ?= quickstart
PORT ?= 8080
BENCHMARKS ?=
REPORTS = $(shell sed -n '/^paths:/,/^[^ ]/s/^  reports: //p' params.yaml)
TORCH_BACKEND := $(addprefix --torch-backend=,$(SKELIFT_TORCH_BACKEND))

READY := .venv/ready
DEV := .venv/ready-dev
UV := UV_FIND_LINKS="$${PIP_FIND_LINKS:-}" .venv/bin/uv
INSTALL := $(UV) pip install --python .venv/bin/python $(TORCH_BACKEND) --constraints requirements.lock
export PATH := $(CURDIR)/.venv/bin:$(PATH)
# Keep bytecode: compiling torch again would cost every stage seconds.
export PYTHONDONTWRITEBYTECODE :=

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "make %-15s %s\n", $$1, $$2}'

.PHONY: setup
setup: $(READY) ## install the project and what the pipeline needs into .venv, as locked

$(READY): pyproject.toml requirements.lock
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet uv
	$(INSTALL) -e '.[pipeline]'
	touch $@

$(DEV): $(READY)
	$(INSTALL) -e '.[all,dev]'
	touch $@

.PHONY: demo
demo: $(READY) ## images to a scored model: run the pipeline, print scores, times, the report's path
	SKELIFT_TIMES=$(REPORTS)/times.json dvc repro
	@python -m skelift.reporting $(REPORTS)

.PHONY: params
params: $(READY) ## recreate params.yaml from an experiment: make params EXPERIMENT=paper
	skelift train --cfg job experiment=$(EXPERIMENT) > params.yaml.new
	mv params.yaml.new params.yaml

.PHONY: manifests
manifests: $(DEV) ## write what follows from the code: compiled pipeline, its graph, READMEs, Katib
	python -m pipelines.compile
	python -m pipelines.graph
	python -m scripts.component_readmes
	python -m skelift.sweep.katib > k8s/components/katib/experiment.yaml.new
	mv k8s/components/katib/experiment.yaml.new k8s/components/katib/experiment.yaml

.PHONY: sweep
sweep: $(READY) ## search for better weights, and make the winner the committed experiment
	$(INSTALL) --quiet -e '.[pipeline,sweep]'
	skelift sweep --config params.yaml
	cp $(REPORTS)/sweep/best.yaml params.yaml
	dvc repro

.PHONY: lint
lint: $(DEV) ## ruff and mypy
	ruff check
	ruff format --check
	mypy

.PHONY: format
format: $(DEV) ## fix what ruff can fix
	ruff check --fix
	ruff format

.PHONY: test
test: $(DEV) ## the default tests, in at most ten minutes
	OMP_NUM_THREADS=1 pytest -n 2

.PHONY: test-slow
test-slow: $(DEV) ## the slow tests
	OMP_NUM_THREADS=1 pytest -n 2 -m "slow and not load"
	OMP_NUM_THREADS=1 pytest -m load

.PHONY: pipeline-local
pipeline-local: $(DEV) ## the compiled pipeline in containers here (docs/pipeline_local.md); CASES="release killed"
	python -W ignore scripts/pipeline_local.py $(CASES)

.PHONY: benchmark
benchmark: $(DEV) ## time kernels, training, data and endpoint, and print one table with the goals
	python -m benchmarks $(BENCHMARKS)

.PHONY: lock
lock: $(READY) ## resolve requirements.lock again
	$(UV) pip compile --quiet --python-version 3.11 --all-extras --no-header --no-annotate \
		--no-emit-index-url --no-emit-find-links --output-file .venv/lock pyproject.toml
	sed 's/+cpu$$//' .venv/lock > requirements.lock

.PHONY: clean
clean: ## remove .venv and the tools' caches; data, models and reports stay
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: serve
serve: $(READY) ## an endpoint with the model that ships with skelift, and a drawn answer
	$(INSTALL) --quiet -e '.[pipeline,serve]'
	python -m skelift.synth.sample reports/sample/person.png
	skelift serve --port $(PORT) --sample reports/sample/person.png
