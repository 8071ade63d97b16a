.DEFAULT_GOAL := help
.SHELLFLAGS := -eu -c
PY := .venv/bin/python
OUT ?= out/demo
N ?= 20
SEED ?= 1
SOAK_LOG ?= out/soak.log
GPU_PYTHON ?= python3
GENERATED := crds docs/reference docs/configuration.md docs/values.md helm/data-miner

.PHONY: help setup demo test test-cluster test-chart test-images test-nodes test-install test-export test-gpu images cluster-up cluster-down soak check generate verify bench bench-models demo-models lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: ## mine the bundled clips into out/demo/dataset
	@scripts/setup runtime
	.venv/bin/data-miner demo --out $(OUT)

setup: ## .venv with everything that the tests need
	@scripts/setup dev

check: setup ## format, lint, types, import rules, unit tests
	.venv/bin/ruff format --check .
	.venv/bin/ruff check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	$(PY) -m pytest -q -n 2 tests/unit

test: check ## check, then PostgreSQL, media, models, workers, the chart, a Kubernetes control plane, Prometheus
	@scripts/controlplane >/dev/null
	@scripts/helmtools >/dev/null
	@scripts/prometheus >/dev/null
	$(PY) -m coverage run -m pytest -q tests/unit/operator/reconcile tests/unit/operator/scaling \
		-k "not simulation and not document and not properties"
	$(PY) -m coverage report --skip-covered
	$(PY) -m pytest -n 2 --dist loadfile tests/models tests/integration tests/cluster tests/chart tests/e2e \
		tests/docs tests/monitoring --ignore=tests/docs/test_cluster.py

test-cluster: setup ## the cluster tests alone; KUBECONFIG=... runs them on that cluster
	@scripts/controlplane >/dev/null
	@$(if $(KUBECONFIG),echo "on the cluster of $(KUBECONFIG)",:)
	$(if $(KUBECONFIG),KUBECONFIG="$(KUBECONFIG)" DATA_MINER_TEST_CLUSTER=1) $(PY) -m pytest -n 2 --dist loadfile tests/cluster

test-chart: setup ## the Helm chart: renders, schema, rules, and a real API server
	@scripts/helmtools >/dev/null
	@scripts/controlplane >/dev/null
	$(PY) -m pytest -n 2 --dist loadfile tests/chart

test-images: setup ## the container images, as root: built, then looked into (LARGE=1: for GPUs too)
	$(PY) -m pytest tests/images $(if $(LARGE),,-m "not large")

test-nodes: setup ## two real nodes, and the chart's way from install to dataset on them, as root (10 min)
	$(PY) -m pytest tests/realnode tests/install/test_install.py

test-install: setup ## the images, the chart and the documents on two real nodes, as root (40 min)
	@# The release of tests/install serves every namespace to the end, so the documents come before.
	$(PY) -m pytest tests/realnode tests/docs/test_cluster.py tests/install

test-export: ## models from torch to ONNX, against what was published (installs 5 GB for torch)
	@scripts/setup test-export
	.make/test-export/bin/python -m pytest -n 2 --dist loadfile --timeout 900 tests/export

test-gpu: ## models on a GPU, as on a CPU but for rounding (GPU_PYTHON has locks/worker-gpu.txt and pytest)
	PYTHONPATH=ml_models $(GPU_PYTHON) -m pytest -c tests/gpu/pytest.ini --rootdir . tests/gpu

images: ## build the container images here, without a registry (as root)
	@scripts/images all

cluster-up: setup ## a Kubernetes cluster with two real nodes on this host, as root; prints its kubeconfig
	@scripts/cluster up

cluster-down: ## take it away; the host is as it was before
	@scripts/cluster down

soak: setup ## kill everything in N runs of the demo (N=20 SEED=1); a line for each in out/soak.log
	@scripts/controlplane >/dev/null
	@mkdir -p $(dir $(SOAK_LOG))
	DATA_MINER_TEST_ROUNDS=$(N) DATA_MINER_TEST_SEED=$(SEED) DATA_MINER_TEST_LOG=$(SOAK_LOG) \
	  $(PY) -m pytest -q tests/cluster/test_chaos.py -k killed

generate: setup ## write what is derived from the code
	$(PY) -m data_miner.spec.reference
	$(PY) -m data_miner.spec.crd
	$(PY) -m data_miner.configuration
	$(PY) -m data_miner_operator.metrics_reference
	$(PY) helm/generate.py

verify: generate ## fail when a generated file is not what the code says
	@git diff --exit-code -- $(GENERATED)
	@test -z "$$(git status --porcelain -- $(GENERATED))" || { git status --short -- $(GENERATED); exit 1; }

bench: setup ## measure, on this machine
	@for script in benchmarks/*.py; do $(PY) "$$script"; done

bench-models: ## export every family at its published size and measure it (hours; ONLY="dinov2 siglip" chooses)
	@scripts/setup test-export
	PYTHONPATH=tests .make/test-export/bin/python benchmarks/models/real_sizes.py $(ONLY)

demo-models: ## train the bundled models anew (25 min on two cores; installs 5 GB for torch)
	@scripts/setup demo-models
	PYTHONPATH=ml_models .make/demo-models/bin/python -m demo.build out/demo-models --ship

lock: setup ## resolve the packages into locks/ (UPGRADE=1 moves all of them)
	@scripts/lock $(if $(UPGRADE),--upgrade)

clean: ## remove .venv, caches and out/ with the datasets in it
	rm -rf .venv .make out dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
