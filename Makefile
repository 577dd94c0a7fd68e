# Everything a contributor runs. Needs Python >= 3.11 and make, nothing else: .ci/setup brings uv and the locked
# environment; kube-apiserver and etcd are found, fetched or built by passmuster.sandbox.binaries.

PYTHON := .venv/bin/python
PASSMUSTER := .venv/bin/passmuster
READY := .venv/.up-to-date
PARALLEL := -n auto --maxprocesses 4
PYTEST_ARGS :=

# Bytecode is kept even where the environment says not to (as container images do): every process of the tests, the
# demo and the benchmarks would else compile all that it imports, for two seconds each.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test check bench format lint types crds docs docs-serve clean generated binaries

help:  ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(READY)  ## The main job in a minute: account, verdict, plan, approval, fix, metrics
	@$(PASSMUSTER) demo

test: $(READY) binaries  ## All tests, the end-to-end story included
	@$(PYTHON) -m pytest $(PARALLEL) $(PYTEST_ARGS)

check: lint types generated  ## Before a commit: format, lint, layers, types, generated files, fast tests
	@$(PYTHON) -m pytest $(PARALLEL) -q -m 'not slow and not apiserver' $(PYTEST_ARGS)

bench: $(READY) binaries  ## Measure: one inspection, and 1,000 policies on a real API server
	@for script in benchmarks/inspection.py benchmarks/policies.py; do echo "$$script"; $(PYTHON) "$$script" || exit 1; done

format: $(READY)  ## Format the code, and repair what the linter can
	@$(PYTHON) -m ruff check --quiet --fix-only .
	@$(PYTHON) -m ruff format .

lint: $(READY)  ## Formatting, lint rules and the layer table, without changing anything
	@$(PYTHON) -m ruff format --check .
	@$(PYTHON) -m ruff check .
	@.venv/bin/lint-imports --no-logo

types: $(READY)  ## mypy, strict
	@$(PYTHON) -m mypy

crds: $(READY)  ## Regenerate crds/, what the chart has of it, rules and dashboards, and the generated pages and parts of documents
	@$(PYTHON) .ci/generate.py

docs: $(READY)  ## Build the documentation into dist/site/html; a link that leads nowhere fails
	@$(PYTHON) .ci/site.py

docs-serve: $(READY)  ## Show the documentation on http://localhost:8000 while it is written
	@$(PYTHON) .ci/site.py serve

generated: $(READY)
	@$(PYTHON) .ci/generate.py --check

clean:  ## Remove the environment and every cache of this checkout
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist passmuster-report.html
	find operator tests benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

# $(call obtain,MODULE,NAME,WHAT IS NEEDED): fails only where PASSMUSTER_REQUIRE has the name.
define obtain
@$(PYTHON) -m passmuster.sandbox.$(1) || case ",$$PASSMUSTER_REQUIRE," in \
  *,$(2),*) exit 1 ;; \
  *) echo "Going on without: what needs $(3) is left out, and says so." ;; \
esac
endef

# Without kube-apiserver and etcd, Prometheus and Alertmanager, helm, or a tool of second_opinions.py, the tests that
# need them are skipped, unless PASSMUSTER_REQUIRE names apiserver, prometheus, helm or the tool.
binaries: $(READY)
	$(call obtain,binaries,apiserver,an API server)
	$(call obtain,prometheus_binaries,prometheus,Prometheus)
	$(call obtain,helm_binary,helm,helm)
	@$(PYTHON) tests/second_opinions.py

$(READY): pyproject.toml uv.lock .ci/setup
	@.ci/setup
	@touch $@
