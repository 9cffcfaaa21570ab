# Everything a contributor or a pipeline runs. `make help` lists it.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

# Caches live outside the checkout, so that a fresh clone on the same machine starts warm.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/sallyport
export CARGO_TARGET_DIR := $(CACHE)/target
CHECKOUT := $(shell e2e/checkout.sh)
CLUSTER_TOOL := $(CACHE)/tool/sallyport-cluster
CARGO_DENY_VERSION := 0.20.2
CARGO_DENY := $(CACHE)/tool/cargo-deny-$(CARGO_DENY_VERSION)/bin/cargo-deny
# The modules that hold code of ours; the others only pin programs.
GO_MODULES := e2e/cluster e2e/cluster/policy-agent e2e/cluster/binaries/kstatus e2e/checks
NAME ?= sallyport

##@ The two commands of the README
.PHONY: demo test
demo: deps tool ## A local cluster, the operator, a hardened endpoint, a real call, a refused escape (CLUSTER=current REGISTRY=... uses yours)
	cargo run --quiet --package sallyport-e2e --bin demo

test: deps lint test-unit test-sidecar test-fuzz netpol-and-images test-cluster ## Every test: static checks, unit and property tests, the sidecar on loopback, fuzz targets, the real cluster

##@ Checks and tests
.PHONY: lint fmt-check clippy deny gen-check go-check manifests test-unit test-go test-sidecar test-conformance test-clients test-attacks test-fuzz test-cluster test-netpol crates-alone
lint: fmt-check clippy crates-alone gen-check go-check deny manifests ## All static checks

fmt-check: ## Formatting
	cargo fmt --all --check

clippy: ## Lints, warnings are errors
	cargo clippy --quiet --workspace --all-targets --features sallyport-e2e/cluster,sallyport-conformance/suite,sallyport-clients/suite,sallyport-attacks/suite -- -D warnings

crates-alone: ## The data plane depends on no Kubernetes client
	@for crate in sallyport-policy sallyport-core sallyport-sidecar sallyport-egress; do \
	  if cargo tree --quiet --package $$crate --edges normal --invert kube >/dev/null 2>&1; then \
	    echo "$$crate must not depend on kube" >&2; exit 1; fi; \
	done; echo "data-plane crates are free of kube"

gen-check: ## Generated files are up to date
	cargo gen check

go-check: ## gofmt and go vet of the Go programs
	@unformatted=$$(gofmt -l e2e); if [ -n "$$unformatted" ]; then echo "run gofmt -w on:" $$unformatted >&2; exit 1; fi
	@for module in $(GO_MODULES); do (cd $$module && go vet ./...); done

deny: $(CARGO_DENY) ## Licences, sources and duplicate dependencies
	$(CARGO_DENY) --log-level error check bans licenses sources

$(CARGO_DENY):
	@echo "building cargo-deny $(CARGO_DENY_VERSION) (once, about 4 minutes)"
	CARGO_TARGET_DIR=$(CACHE)/target-tools cargo install --quiet --debug --locked --root $(CACHE)/tool/cargo-deny-$(CARGO_DENY_VERSION) cargo-deny@$(CARGO_DENY_VERSION)
	rm -rf $(CACHE)/target-tools

manifests: tool ## helm lint, kubeconform and kube-score on chart and children, chart equals kustomize
	e2e/checks/run.sh

test-unit: test-go ## Unit, golden and property tests
	cargo test --quiet --workspace

test-go: ## Unit tests of the Go programs
	@for module in $(GO_MODULES); do (cd $$module && go test ./...); done

test-cluster: tool ## The tests on a real cluster
	e2e/run.sh

# These need no cluster: the sidecar as a process, on loopback. They are built with the features of the whole workspace, as the
# unit tests are, so that what they share is built once. The sidecar's program comes with its own tests, named `it`.
test-sidecar: test-conformance test-clients test-attacks ## The suites that the sidecar is measured by (docs/contracts/conformance.md)

test-conformance: ## The official conformance suite through the sidecar: both eras, without and with authentication
	cargo test --quiet --workspace --no-run --test it
	cargo test --quiet --workspace --features sallyport-conformance/suite --test server --test client

test-clients: ## The official clients through the sidecar, in every era that each speaks
	cargo test --quiet --workspace --no-run --test it
	cargo test --quiet --workspace --features sallyport-clients/suite --test clients

test-attacks: ## Attacks on the sidecar, each with its negative control
	cargo test --quiet --workspace --no-run --test it
	cargo test --quiet --workspace --features sallyport-attacks/suite --test attacks

test-fuzz: ## A short run of every fuzz target (EACH=600 SEED=0 ONLY=message for a longer, other one of one)
	e2e/fuzz/run.sh

test-netpol: tool ## Kubernetes' own NetworkPolicy suite against the policy agent (runs when the agent or its pins changed; FORCE=1 always)
	e2e/cluster/netpol.sh

# The NetworkPolicy suite waits more than it computes, so the images are built meanwhile, by what it leaves of the CPU.
.PHONY: netpol-and-images images-built
netpol-and-images:
	@$(MAKE) --no-print-directory --jobs=2 test-netpol images-built

images-built: tool
	nice -n 19 $(CLUSTER_TOOL) images build

##@ Building
.PHONY: deps build tool gen images
deps: ## Install what the machine lacks, or name it
	@e2e/cluster/deps.sh

build: ## Build all crates
	cargo build --workspace

tool: ## Build the cluster tool
	@mkdir -p $(CACHE)/tool && cd e2e/cluster && go build -o $(CLUSTER_TOOL) ./cmd/sallyport-cluster

gen: ## Write the generated files (CRD, RBAC, samples, reference)
	cargo gen write

images: tool ## Build the images and load them into the local cluster
	$(CLUSTER_TOOL) images load --name $(NAME)

##@ The local cluster
.PHONY: cluster-up cluster-down cluster-status demo-clean
cluster-up: deps tool ## Bring it up
	$(CLUSTER_TOOL) up --name $(NAME)

cluster-down demo-clean: tool ## Remove it
	$(CLUSTER_TOOL) down --name $(NAME)

cluster-status: tool ## What runs in it
	$(CLUSTER_TOOL) status --name $(NAME)

##@ Other
.PHONY: help bench
bench: ## What a call costs through the sidecar, as a ratio to a direct one
	cargo bench --quiet --package sallyport-sidecar --bench overhead

help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+( [a-z-]+)*:.*## / {printf "  %-26s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
