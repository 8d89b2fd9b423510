# huiliu 汇流 — the commands of a working day. `make` alone lists them.
export CARGO_TARGET_DIR ?= $(HOME)/.cache/huiliu/target

.PHONY: help demo test chaos soak lint doc bench fuzz

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{ printf "%-8s %s\n", $$1, $$2 }'

demo: ## a small city, end to end, on the embedded store
	cargo run -- demo

test: ## every test; installs and starts what it needs
	deploy/dev/python-env
	deploy/dev/services up
	deploy/dev/tools
	cargo test --locked $$(deploy/dev/services odbc)

chaos: ## N=1000 disturbances while daemons and receivers work; SEED=… repeats a run's
	deploy/dev/services up
	HUILIU_CHAOS=$(or $(N),1000) HUILIU_CHAOS_SEED=$(or $(SEED),$(shell date +%s)) \
		cargo test --locked $$(deploy/dev/services odbc) --test main chaos:: -- --nocapture

soak: ## MINUTES=20 of RATE=2000 changes a second through a release build; memory and latency must not grow
	benches/run soak --minutes $(or $(MINUTES),20) --rate $(or $(RATE),2000)

lint: ## formatting and lints, warnings are errors
	cargo fmt --check
	cargo clippy --locked --all-targets $$(deploy/dev/services odbc) -- -D warnings

doc: ## the library's documentation
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --no-deps --document-private-items

bench: ## measured throughput and memory of a release build, one line each
	benches/run

fuzz: ## coverage-guided fuzzing of every parser, SECONDS=60 each
	fuzz/run $(or $(SECONDS),60)
