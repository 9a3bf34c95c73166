# Simmer. Every target does its own set-up: what is installed and built is reused until something it was made from changes.
# `ARGS` is handed on: make run ARGS='--port 9000', make bench ARGS='--only warm'.

# The pinned Node (scripts/node.mjs fetches it where the machine's own does not fit) goes first; absent, the machine's is used.
export PATH := $(CURDIR)/node_modules/.bin:$(CURDIR)/.node/bin:$(PATH)
SHELL := /bin/sh
ARGS ?=
JOBS ?= 2

.DEFAULT_GOAL := help
.PHONY: help setup build run test images test-k8s kind bench bench-quick bench-compare bench-k8s chaos simulate verify lint typecheck format docs clean

help: ## List the targets
	@echo 'make TARGET [ARGS=...]'
	@sed -n 's/^\([a-z0-9-]*\):.*## \(.*\)/  \1|\2/p' Makefile | while IFS='|' read -r t d; do printf '%-16s %s\n' "$$t" "$$d"; done

setup: ## Install what is needed: Node 22 if the machine lacks it, and the packages of package-lock.json
	@command -v node >/dev/null || { echo 'Simmer needs Node 20 or later and npm on the PATH; it fetches the Node it runs on by itself.' >&2; exit 1; }
	@node scripts/node.mjs
	@node scripts/install.mjs

build: setup ## Compile what has changed
	@node scripts/build.mjs

run: build ## Start Simmer with the example functions; ARGS='--port 9000' hands flags on
	@exec node scripts/run.mjs $(ARGS)

test: build ## Run all tests; ARGS='protocol/test/x.test.ts' runs some
	@node scripts/test.mjs --jobs=$(JOBS) $(ARGS)

images: ## Build the container images; ARGS=examples builds those of the examples
	@node scripts/images.mjs $(ARGS)

test-k8s: build ## Run the tests that need a cluster, on the one that $$KUBECONFIG names
	@node scripts/test-k8s.mjs --jobs=$(JOBS) $(ARGS)

kind: images ## Put Simmer on a cluster of kind (https://kind.sigs.k8s.io) on this machine
	@node scripts/kind.mjs $(ARGS)

bench: build ## Measure everything beside its baselines (about half an hour)
	@node benchmarks/dist/main.js full $(ARGS)

bench-quick: build ## Measure the most telling figures (under one minute)
	@node benchmarks/dist/main.js quick $(ARGS)

bench-compare: build ## Compare the warm path with another commit: make bench-compare BASE=<ref>
	@test -n '$(BASE)' || { echo 'make bench-compare BASE=<ref>' >&2; exit 1; }
	@node benchmarks/dist/main.js compare '$(BASE)' $(ARGS)

bench-k8s: build ## Measure Simmer on the cluster that $$KUBECONFIG names (about half an hour)
	@node --import tsx benchmarks/src/cluster/main.ts $(ARGS)

chaos: build ## Shoot at pods under load for ten minutes and judge what came of it; ARGS='--seconds 60 --seed 7'
	@node --import tsx chaos/src/main.ts $(ARGS)

simulate: build ## Compare scaling and keep-alive policies on days of simulated load (about a minute); ARGS='--help'
	@node --import tsx simulator/src/main.ts $(ARGS)

typecheck: build ## Check the types of sources, tests and examples
	@tsc -p tsconfig.tests.json

lint: build ## Check formatting, lint rules, and that generated pages are up to date
	@biome check
	@! git grep -nE '^(<{7}|>{7}) ' || { echo 'a merge was left half done' >&2; exit 1; }
	@node scripts/docs.mjs --check
	@node scripts/lint-openapi.mjs

format: setup ## Format and apply safe fixes
	@biome check --write

docs: build ## Write what is made from code: docs/errors.md, docs/configuration.md, docs/reference.md, the CRDs
	@node scripts/docs.mjs

verify: lint typecheck test ## Everything that must hold before a change is merged; what needs a cluster too, where $$KUBECONFIG names one
	@$(MAKE) --no-print-directory chaos ARGS='--seconds 60 --seed 1'
	@test -z "$$KUBECONFIG" || $(MAKE) --no-print-directory test-k8s

clean: ## Remove what was built; installed packages and Node stay
	@rm -rf protocol/dist runtime/dist k8s/dist control-plane/dist client/dist cli/dist benchmarks/dist .tap/processinfo .tap/test-results .tap/coverage .tap/counts.json
