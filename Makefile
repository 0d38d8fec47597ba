# make help lists what there is.
.DEFAULT_GOAL := help
GO     ?= go
ARGS   ?=
# the commit goes into the program where git knows it
VCS    := $(shell git rev-parse HEAD >/dev/null 2>&1 && echo auto || echo false)

.NOTPARALLEL: # setup goes before build
.PHONY: help setup build demo writeup release test test-arm64 test-amx bench clean

help: ## list what make can do
	@sed -n 's/^\([a-z0-9-]*\):[^#]*## /make \1\t/p' $(MAKEFILE_LIST) | expand -t 18

setup: ## check Go and gcc, and get oneDNN into your cache
	@GO='$(GO)' bash scripts/setup.sh

build: ## build bin/unnoise
	$(GO) build -buildvcs=$(VCS) -o bin/unnoise ./cmd/unnoise

demo: setup build ## show what the program does, in two minutes, on a page
	bin/unnoise demo $(ARGS)

release: setup ## build archives for linux/amd64 and linux/arm64
	@GO='$(GO)' bash scripts/release.sh $(ARGS)

writeup: setup build ## train all models by their recipes, measure them, make the page: hours
	@bash scripts/writeup.sh

test: setup ## check and test everything
	@bash scripts/browser.sh
	$(GO) vet ./...
	$(GO) test -count=1 -p 1 -timeout 20m ./... $(ARGS)

test-arm64: ## build for linux/arm64 and test that, emulated
	@GO='$(GO)' bash scripts/arm64.sh $(ARGS)

test-amx: setup build ## test the engine with AMX emulated, where the CPU lacks it
	@GO='$(GO)' bash scripts/amx.sh $(ARGS)

bench: setup build ## time training and evaluation
	bin/unnoise bench train $(ARGS)
	bin/unnoise bench evaluate $(ARGS)

clean: ## remove what was built; runs and pages stay
	rm -rf bin
