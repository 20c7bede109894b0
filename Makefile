# Targets with a `## comment` are listed by `make help`.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

export SPECDEC_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/specdec
CLUSTER ?= $(if $(shell timeout 10 docker info >/dev/null 2>&1 && echo yes),kind,local)
ENGINE ?= simulator
export CLUSTER ENGINE

VENV := .venv
PY := $(VENV)/bin/python
UV_VENV := $(SPECDEC_CACHE)/uv-$(shell sha256sum requirements/bootstrap.txt | cut -c1-12)
UV := $(UV_VENV)/bin/uv
PYTEST := $(PY) -m pytest

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-zA-Z0-9_-]+:.*## / {printf "  \033[36m%-20s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# ---- set-up ----------------------------------------------------------------------------------------------------------

$(UV):
	@echo "==> fetching uv into $(UV_VENV)"
	@python3 -m venv $(UV_VENV)
	@$(UV_VENV)/bin/python -m pip install -q --require-hashes -r requirements/bootstrap.txt

$(VENV)/.stamp: requirements/dev.txt | $(UV)
	@echo "==> creating $(VENV) from requirements/dev.txt"
	@test -x $(PY) || $(UV) venv -q --python python3.11 $(VENV)
	@$(UV) pip sync -q --python $(PY) --require-hashes requirements/dev.txt
	@printf '%s\n' "$(CURDIR)/operator" "$(CURDIR)/images/simulator" "$(CURDIR)" > $$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/specdec-rooms.pth
	@printf '#!/bin/sh\nexec "$(CURDIR)/$(PY)" -m specdec.cli.main "$$@"\n' > $(VENV)/bin/specdec && chmod +x $(VENV)/bin/specdec
	@touch $@

.PHONY: setup
setup: $(VENV)/.stamp ## Create the virtual environment

.PHONY: lock
lock: $(UV) ## Pin all requirements with hashes
	@for f in bootstrap operator simulator loadtest dev; do \
	  $(UV) pip compile -q --generate-hashes --no-emit-index-url --no-header --python-version 3.11 \
	    requirements/$$f.in -o requirements/$$f.txt; done

# ---- checks ----------------------------------------------------------------------------------------------------------

.PHONY: lint
lint: setup ## ruff, mypy --strict, import rules
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@PYTHONPATH=images/vllm $(VENV)/bin/lint-imports

.PHONY: format
format: setup ## Format the code
	@$(VENV)/bin/ruff check --fix -q . ; $(VENV)/bin/ruff format .

# ---- tests, from seconds to minutes; each tier runs alone ------------------------------------------------------------

TIERS := lint check-generated test-unit test-contract test-chart test-integration test-loadtests test-engine test-e2e

.PHONY: test $(TIERS)
test: setup ## All tiers, the quick ones first
	@for tier in $(TIERS); do \
	  began=$$SECONDS; echo "==> make $$tier"; $(MAKE) --no-print-directory $$tier; \
	  echo "    $$tier: $$((SECONDS - began)) s"; done; echo "==> all tiers passed in $$SECONDS s"

test-unit: setup ## Units, and 95 % of the pure rooms' branches: seconds
	@$(PYTEST) tests/unit -n 2 --cov --cov-report=
	@$(VENV)/bin/coverage report --fail-under=95 --include='operator/specdec/api/*,operator/specdec/desired/*,operator/specdec/observed/*,operator/specdec/tuning/*'

test-contract: setup ## The simulator and the engine client against the contract and captured vLLM pages
	@$(PYTEST) tests/contract

# Programs that the cache lacks are built, with progress, before a test's clock runs.
build_programs = @$(PY) -m tests.cluster.tools build $(1) >/dev/null
API_SERVER := etcd kube-apiserver kube-controller-manager kubectl

test-integration: setup ## The operator against a real API server
	$(call build_programs,$(API_SERVER))
	@$(PYTEST) tests/integration -n 2

E2E_CLUSTER ?= specdec-e2e
test-e2e: setup ## The operator on a real cluster, by helm, kubectl and traffic
	$(call build_programs,helm kubectl $(if $(filter local,$(CLUSTER)),kwok))
	@kubeconfig=$$(NAME=$(E2E_CLUSTER) $(PY) -m tests.cluster up | tail -1); \
	  trap 'NAME=$(E2E_CLUSTER) $(PY) -m tests.cluster down' EXIT; \
	  NAME=$(E2E_CLUSTER) $(PY) -m tests.cluster load operator simulator loadtest vllm; \
	  KUBECONFIG=$$kubeconfig $(PYTEST) tests/e2e

# ---- the main job ----------------------------------------------------------------------------------------------------

.PHONY: demo
demo: setup ## From nothing to a tuned resource beside an untuned twin, with a report: ENGINE=simulator|vllm, KILLS=N kills operator pods
	@$(PY) -m tests.demo

BENCHES := bench-scrape bench-simulator bench-tick bench-operator bench-loadtest

.PHONY: bench
bench: setup ## Six minutes of benchmarks, to the end also where one fails: tables, and JSON in build/bench
	@failed=; for part in $(BENCHES); do \
	  began=$$SECONDS; echo "==> make $$part"; $(MAKE) --no-print-directory $$part || failed="$$failed $$part"; \
	  echo "    $$part: $$((SECONDS - began)) s"; done; \
	  test -z "$$failed" || { echo "==> failed:$$failed" >&2; exit 1; }

.PHONY: bench-idle
bench-idle: setup ## What the operator writes in SECONDS_IDLE=600 while 20 resources rest (needs a local cluster)
	@$(PY) -m tests.bench.idle

# ---- test cluster and images (docs/kubernetes.md) --------------------------------------------------------------------

.PHONY: tools
tools: setup ## Build etcd, Kubernetes, helm, kind and kwok from Go modules into the cache; print their folder
	@$(PY) -m tests.cluster.tools build

export SECONDS_IDLE NAME NODES CLUSTER_STATE CLUSTER_AUDIT CLUSTER_QPS IMAGE_BUILDER

.PHONY: cluster-up cluster-down cluster-status
cluster-up: setup ## Start the test cluster: CLUSTER=local|kind|existing, NAME=, NODES=2; prints its kubeconfig's path
	@$(PY) -m tests.cluster up

cluster-down: setup ## End it; nothing stays outside its state folder
	@$(PY) -m tests.cluster down

cluster-status: setup ## What of it runs
	@$(PY) -m tests.cluster status

.PHONY: images images-load
images: setup ## Build our images where something changed (IMAGES="operator simulator", IMAGE_BUILDER=buildah|docker)
	@$(PY) -m tests.cluster.images $(IMAGES)

images-load: setup ## Build them and import them into each node of the test cluster
	@$(PY) -m tests.cluster load $(IMAGES)

.PHONY: test-kind
KIND_CLUSTER ?= specdec-kind
test-kind: export CLUSTER = kind
test-kind: export NAME = $(KIND_CLUSTER)
test-kind: setup ## Start a kind cluster, run the smoke part of the end-to-end tests on it, end it
	@trap '$(PY) -m tests.cluster down' EXIT; \
	KUBECONFIG=$$($(PY) -m tests.cluster up); export KUBECONFIG; \
	$(PY) -m tests.cluster load operator simulator; \
	$(PYTEST) -m smoke tests/e2e

# ---- chart (charts/specdec-operator) ---------------------------------------------------------------------------------

.PHONY: generate-chart-docs
generate-chart-docs: setup ## Write the chart's README tables, values.schema.json and dashboards
	@$(PY) -m charts.reference

.PHONY: test-chart
test-chart: setup ## The chart: real helm, a real API server
	$(call build_programs,helm $(API_SERVER))
	@$(PYTEST) tests/chart

# ---- generated files -------------------------------------------------------------------------------------------------

.PHONY: generate check-generated
generate: setup generate-chart-docs ## Write the CRD, the chart's copy and docs/reference.md from the models
	@$(PY) -m specdec.api.generate

check-generated: setup ## Fail if a generated file differs from the models
	@$(PY) -m specdec.api.generate --check
	@$(PY) -m charts.reference --check

# ---- the engine ------------------------------------------------------------------------------------------------------

.PHONY: engine-env
engine-env: $(UV) ## Install real vLLM for CPU into the cache; print its folder
	@UV=$(UV) images/vllm/cpu/environment.sh

.PHONY: test-engine
test-engine: setup $(UV) ## The vLLM plugin on real vLLM, on the CPU
	@UV=$(UV) $(PYTEST) tests/engine

.PHONY: bench-operator
bench-operator: setup ## Memory, idle cost, apply to child, OBJECTS=1000 at once, restart; on $$KUBECONFIG or its own API server
	@$(PY) -m tests.bench.operator

.PHONY: bench-simulator bench-scrape
bench-simulator: setup ## Streams that the simulator carries on one core: CPU, memory, whether its clock keeps up
	@$(PY) -m tests.bench.simulator

bench-scrape: setup ## What reading and parsing metrics pages costs the operator
	@$(PY) -m tests.bench.scrape

.PHONY: bench-counters
bench-counters: setup ## What the exact counters cost an engine step
	@PYTHONPATH=.:images/vllm $(PY) -m tests.engine.bench_counters

.PHONY: capture-metrics
capture-metrics: setup $(UV) ## Record /metrics of real vLLM after known traffic into build/metrics-pages
	@UV=$(UV) PYTHONPATH=.:images/vllm $(PY) -m tests.engine.capture_metrics

# ---- load tests (docs/loadtests.md) ----------------------------------------------------------------------------------

.PHONY: test-loadtests bench-loadtest
test-loadtests: setup ## The load generator against servers that are known, its report in a real browser
	@$(PYTEST) tests/unit/loadtests tests/loadtests -n 2 --dist loadfile --ignore=tests/loadtests/test_stopwatch.py
	@$(PYTEST) tests/loadtests/test_stopwatch.py

bench-loadtest: setup ## Streamed tokens per core of the load generator, beside a plain httpx loop
	@$(PY) -m loadtests.bench --out build/bench/loadtest.json

.PHONY: report-vllm-cpu
report-vllm-cpu: setup $(UV) ## A sweep over every K on real vLLM on the CPU, with its report in build/loadtest-vllm
	@UV=$(UV) PYTHONPATH=.:images/vllm:operator $(PY) -m tests.engine.sweep build/loadtest-vllm

.PHONY: test-gpu
test-gpu: setup ## What only GPUs show, our vLLM on PATH: GPUS=4 and the weights, or LAYERS=6 of the model on one GPU without
	@PYTHONPATH=. $(PY) -m tests.engine.gpu

.PHONY: bench-closed-loop
bench-closed-loop: setup ## Auto against every constant K on real vLLM in a cluster: 75 min, resumable; writes docs/closed-loop.md
	@$(PY) -m tests.engine.closed_loop.run $(ARGS)

# ---- the tuner (docs/tuning.md, docs/benchmark.md) ---------------------------------------------------------------------

TUNER_SEEDS := 101,102,103
# What 15 minutes on two cores hold: drift and mismatch whole; targets on a shortened workload are not judged.
TUNER_HOURS := 6 steady=72 drift=168 mismatch=2
TUNER_SEEDS_FULL := $(shell seq -s, 201 220)
# Whole workloads; "6 drift=168" would shorten the others.
TUNER_HOURS_FULL :=
TUNER_JOBS := 2

.PHONY: test-tuner bench-tuner bench-tuner-full bench-tuner-perturbed bench-tick
test-tuner: setup ## The tuner and its benchmark: units, properties, every event, a smoke run
	@OPENBLAS_NUM_THREADS=1 $(PYTEST) tests/unit/tuning tests/unit/simulate

bench-tuner: setup ## All policies and workloads on 3 seeds, simulated: build/bench/tuner.json and .png
	@mkdir -p build/bench
	@$(VENV)/bin/specdec simulate --seeds $(TUNER_SEEDS) $(TUNER_HOURS:%=--hours %) --jobs $(TUNER_JOBS) \
	  --json build/bench/tuner.json --plot build/bench/tuner.png

bench-tuner-full: setup ## Whole workloads on 20 seeds (hours; goes on where it was cut off), and docs/benchmark.md from it
	@mkdir -p build/bench
	@$(VENV)/bin/specdec simulate --seeds $(TUNER_SEEDS_FULL) $(TUNER_HOURS_FULL:%=--hours %) --jobs $(TUNER_JOBS) \
	  --json build/bench/tuner-full.json
	@$(PY) -m specdec.simulate.document build/bench/tuner-full.json docs/benchmark.md

bench-tuner-perturbed: setup ## Steady and drift on two bent cost tables and three bent profile files: docs/benchmark-perturbed.md
	@mkdir -p build/bench; tables=operator/specdec/simulate/tables; \
	for costs in bent step; do for profiles in better steep rising; do echo "==> $$costs costs, $$profiles profiles"; \
	  $(VENV)/bin/specdec simulate --workload steady --workload drift --seeds $(TUNER_SEEDS) --jobs $(TUNER_JOBS) --hours $(or $(HOURS),48) \
	    --costs $$tables/$$costs-costs.json --profiles $$tables/$$profiles-profiles.json \
	    --json build/bench/tuner-$$costs-$$profiles.json || exit 1; done; done
	@$(PY) -m specdec.simulate.perturbed build/bench/tuner-{bent,step}-{better,steep,rising}.json docs/benchmark-perturbed.md

bench-tick: setup ## What one tick of the tuner costs: time, memory, checkpoint; and how fast the simulator is without it
	@$(PY) -m tests.bench.tuner --json build/bench/tick.json
