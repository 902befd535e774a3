.DEFAULT_GOAL := help
.PHONY: help setup run test lint e2e generate bench fuzz image

help: ## Show this
	@sed -n 's/^\([a-z0-9]*\):.*## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | expand -t 12

setup: ## Install what building and testing need, and say what
	@hack/setup.sh

run: setup ## Build, serve without a cluster, answer a real review and a real conversion (ONCE=1: then stop)
	@hack/run.sh

test: setup ## Format, clippy, unit, cases, TLS, end to end
	@hack/test.sh

lint: setup ## Format, clippy, and deny where cargo-deny is there
	@hack/lint.sh

e2e: setup ## Only the end-to-end tests, against a real control plane
	cargo test --locked --test e2e

generate: ## Write the generated parts of charts/ and docs/
	cargo run --locked --quiet -- generate .

bench: setup ## What a review costs, as ratios to a null responder
	cargo bench --locked --bench review

fuzz: setup ## What parses, with any input, for SECONDS (60)
	@hack/fuzz/run.sh cel $(or $(SECONDS),60)

image: setup ## An OCI image layout in target/image, without a daemon (PROFILE=dev: faster)
	@hack/image.sh
