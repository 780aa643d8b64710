# A thin front for daily use; meson and ninja do the work.
BUILD ?= build
CC ?= ccache gcc

.PHONY: all check test bench sim fuzz asan tidy format run stop clean help

all: $(BUILD)/build.ninja ## Build build/cube
	@ninja -C $(BUILD) cube

$(BUILD)/build.ninja:
	@CC="$(CC)" meson setup $(BUILD)

check: $(BUILD)/build.ninja ## The fast tests: everything that needs no root and no containers (under a minute)
	@meson test -C $(BUILD) --suite unit --quiet --print-errorlogs

test: ## All tests, as CI runs them (root)
	@script/test

bench: all ## The figures the README quotes, beside their peers (root)
	@bench/first-cluster

sim: ## The simulated suites over SEEDS seeds each (200), into docs/results; hours of processor time
	@for suite in rollout sets jobs; do test/sim/run $$suite $(or $(SEEDS),200) || exit 1; done

fuzz: ## Build the fuzz targets with clang's libFuzzer and ASan into build-fuzz (FUZZ=json runs one for FUZZ_SECONDS)
	@test/fuzz/run $(FUZZ)

asan: ## The fast tests with address and undefined-behaviour sanitizers
	@[ -f build-asan/build.ninja ] || CC="$(CC)" meson setup build-asan -Db_sanitize=address,undefined -Db_lundef=false
	@meson test -C build-asan --suite unit --quiet --print-errorlogs

clang: ## The fast tests built by clang
	@[ -f build-clang/build.ninja ] || CC="ccache clang" CXX="ccache clang++" meson setup build-clang
	@meson test -C build-clang --suite unit --quiet --print-errorlogs

run: ## Start a cluster here and show a workload answering (root)
	@script/run

stop: ## Stop it (root)
	@script/stop

clean: ## Remove what the cluster left on this machine (root)
	@script/clean

help: ## This list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 10
