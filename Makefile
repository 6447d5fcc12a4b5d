# attnd - one Makefile, configurations in separate build folders. `make help` lists the targets.
# SPDX-License-Identifier: Apache-2.0

config ?= release
B ?= build/$(config)

CC ?= cc
WARN := -Wall -Wextra -Wshadow -Wconversion -Wstrict-prototypes -Wmissing-prototypes -Wvla -Wundef -Wpointer-arith -Wwrite-strings
ifdef CI
WARN += -Werror
endif
MATH := -fno-math-errno -fno-trapping-math -ffp-contract=off
OPT.release := -O3 $(MATH)
OPT.debug := -O1 $(MATH)
OPT.asan := -O2 $(MATH) -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
OPT.tsan := -O2 $(MATH) -fsanitize=thread
OPT.fuzz := $(OPT.debug) -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
OPT.coverage := -O0 --coverage
ifeq ($(config),fuzz)
CC := clang
endif

# `make V=1` shows the commands.
ifndef V
.SILENT:
endif

# POSIX and a few Linux calls (affinity, eventfd) are used on purpose; the language itself is C17.
ALL_CFLAGS = -std=c17 -D_GNU_SOURCE -g -pthread -fvisibility=hidden $(WARN) $(OPT.$(config)) $(CFLAGS)
# The serial BLIS, statically: the shared libblis.so may be the OpenMP one, and threads are ours.
LIBS := -lmicrohttpd -lcurl -lgnutls -lseccomp -ljansson -lutf8proc -lpcre2-8 -lpng -lfreetype -lharfbuzz -lz -lzstd -l:blis-serial/libblis.a -lm -pthread

CORE_SRC := $(sort $(wildcard core/*/*.c)) $(sort $(wildcard core/*/*.S))
# Kernels are one architecture's; every one has the plain table.
architecture := $(firstword $(subst -, ,$(shell $(CC) -dumpmachine)))
ifneq ($(architecture),x86_64)
CORE_SRC := $(filter-out %_avx2.c %_avx512.c,$(CORE_SRC))
endif
ifneq ($(architecture),aarch64)
CORE_SRC := $(filter-out %_neon.c,$(CORE_SRC))
endif
API_SRC := $(sort $(wildcard api/*.c)) $(sort $(wildcard api/*.S))
SRV_SRC := $(sort $(filter-out server/main.c,$(wildcard server/*.c)))
TEST_SRC := $(sort $(wildcard tests/unit/test_*.c))
OOM_SRC := $(sort $(wildcard tests/oom/*.c))
FUZZ_SRC := $(sort $(wildcard tests/fuzz/fuzz_*.c))
BENCH_SRC := $(sort $(wildcard tests/bench/*.c))

objects = $(patsubst %.S,$(B)/%.o,$(patsubst %.c,$(B)/%.o,$(1)))
CORE := $(call objects,$(CORE_SRC))
API := $(call objects,$(API_SRC))
SRV := $(call objects,$(SRV_SRC))
MAIN := $(B)/server/main.o
UNIT := $(patsubst %.c,$(B)/%,$(TEST_SRC))
OOM := $(patsubst %.c,$(B)/%,$(OOM_SRC))
FUZZ := $(patsubst %.c,$(B)/%,$(FUZZ_SRC))
BENCH := $(patsubst %.c,$(B)/%,$(BENCH_SRC))
LIB := $(B)/libattn_server.a $(B)/libattn_api.a $(B)/libattn_core.a

## all: build/release/attnd (the default)
all: $(B)/attnd

$(B)/attnd: $(MAIN) $(LIB)
	echo "  link $@"
	$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

# The layers, by include path: core sees itself, api sees core's public headers, server sees api and them.
FONT_INC := -isystem /usr/include/freetype2 -isystem /usr/include/harfbuzz
$(CORE): INC := -Icore -Icore/public $(FONT_INC)
$(API): INC := -Iapi -Icore/public
$(SRV) $(MAIN): INC := -Iserver -Iapi -Icore/public
TEST_INC := -Itests -Itests/unit -Iserver -Iapi -Icore -Icore/public $(FONT_INC)

# Kernels of one instruction set each; the table is chosen at start.
$(B)/core/%_avx2.o: ISA := -mavx2 -mfma -mf16c -mbmi -mbmi2 -mlzcnt
$(B)/core/%_avx512.o: ISA := -mavx512f -mavx512bw -mavx512dq -mavx512vl -mavx512vbmi -mavx512vbmi2 -mavx2 -mfma -mf16c -mbmi -mbmi2 -mlzcnt

# No address of a local outlives its block in them, and where gcc watches over that, the sums leave their registers: sanitized, they ran six times as long.
$(B)/core/%_avx2.o $(B)/core/%_avx512.o $(B)/core/%_ref.o: OPT.asan += -fno-sanitize-address-use-after-scope

# No parser is in them, and clang takes minutes for the unrolled ones with its instruments.
$(B)/core/math/gemm_%.o: OPT.fuzz := $(OPT.debug)

$(B)/libattn_core.a: $(CORE)
$(B)/libattn_api.a: $(API)
$(B)/libattn_server.a: $(SRV)
$(B)/%.a:
	rm -f $@
	$(AR) rcs $@ $^

$(B)/%.o: %.c Makefile
	mkdir -p $(@D)
	echo "  $(if $(filter %.o,$@),cc,link) $@"
	$(CC) $(ALL_CFLAGS) $(ISA) $(INC) -MMD -MP -c $< -o $@
$(B)/%.o: %.S Makefile
	mkdir -p $(@D)
	echo "  $(if $(filter %.o,$@),cc,link) $@"
	$(CC) -MMD -MP -c $< -o $@

# .incbin is not seen by -MMD.
$(B)/core/builtin/builtin.o: $(wildcard core/builtin/*/*)
$(B)/api/openapi.o: $(wildcard api/openapi.*)
$(B)/api/docs.o: $(wildcard api/docs.*)
$(B)/api/explorer.o: $(wildcard api/explorer/*)
$(B)/core/draw/font.o: $(wildcard core/draw/*.ttf)

$(B)/tests/unit/%: tests/unit/%.c $(LIB) $(wildcard tests/unit/*.h) Makefile
	mkdir -p $(@D)
	echo "  $(if $(filter %.o,$@),cc,link) $@"
	$(CC) $(ALL_CFLAGS) $(TEST_INC) $(LDFLAGS) -MMD -MP -MF $@.d -o $@ $< $(LIB) -lcheck -lsubunit -lrt $(LIBS)
$(B)/tests/oom/%: tests/oom/%.c $(LIB) Makefile
	mkdir -p $(@D)
	echo "  $(if $(filter %.o,$@),cc,link) $@"
	$(CC) $(ALL_CFLAGS) $(TEST_INC) $(LDFLAGS) -MMD -MP -MF $@.d -o $@ $< $(LIB) -lcheck -lsubunit -lrt $(LIBS)
$(B)/tests/bench/%: tests/bench/%.c $(LIB) Makefile
	mkdir -p $(@D)
	echo "  $(if $(filter %.o,$@),cc,link) $@"
	$(CC) $(ALL_CFLAGS) $(TEST_INC) $(LDFLAGS) -MMD -MP -MF $@.d -o $@ $< $(LIB) $(LIBS)

units: $(UNIT) $(OOM)

# A fuzz target with a main that replays files, so that any compiler covers the corpora; with config=fuzz it is libFuzzer's.
$(B)/tests/fuzz/replay.o: tests/fuzz/replay.c Makefile
	mkdir -p $(@D)
	echo "  $(if $(filter %.o,$@),cc,link) $@"
	$(CC) $(ALL_CFLAGS) -MMD -MP -c $< -o $@
FUZZ_MAIN = $(if $(filter fuzz,$(config)),-fsanitize=fuzzer,$(B)/tests/fuzz/replay.o)
$(B)/tests/fuzz/fuzz_%: tests/fuzz/fuzz_%.c $(LIB) $(if $(filter fuzz,$(config)),,$(B)/tests/fuzz/replay.o) Makefile
	mkdir -p $(@D)
	echo "  $(if $(filter %.o,$@),cc,link) $@"
	$(CC) $(ALL_CFLAGS) $(TEST_INC) $(LDFLAGS) -MMD -MP -MF $@.d -o $@ $< $(FUZZ_MAIN) $(LIB) $(LIBS)
fuzzers: $(FUZZ)
benches: $(BENCH)

## debug, asan, tsan: the same program in build/debug, build/asan, build/tsan
debug asan tsan:
	$(MAKE) config=$@ all

## run: sets up what is missing, builds, and serves the built-in model on http://127.0.0.1:8080 (ARGS="--port 9000 ..." for options)
run: setup-build
	$(MAKE) all
	exec build/release/attnd $(ARGS)

TSAN_UNITS := pool jobs analysis_maps pooled_errors draw_fonts

## check: sets up what is missing, builds everything, runs every test; ends in "N passed, N failed, N skipped"
check: check-programs
	python3 tests/run.py

## check-programs: the first half of check, everything but the tests
check-programs: setup-check
	$(MAKE) all units
	$(MAKE) config=asan all units fuzzers
	$(MAKE) config=tsan all $(TSAN_UNITS:%=build/tsan/tests/unit/test_%)

## check-quick: unit tests and HTTP suites of the release build alone
check-quick: setup-check
	$(MAKE) all units
	python3 tests/run.py --quick

## check-explorer: the page at / in a real browser, which it sets up (node, chromium, two packages for node); NAMES="grid links" for some of it
check-explorer: setup-build setup-explorer
	$(MAKE) all
	cd tests/explorer && npm ci --no-audit --no-fund --ignore-scripts
	node tests/explorer/run.js $(NAMES)

## image: the container, localhost/attnd, with podman or docker (TAG=, IMAGE_FLAGS="--isolation chroot")
image:
	deploy/image/build.sh $(or $(TAG),attnd) $(IMAGE_FLAGS)

## check-container: builds the image twice and runs it as it is meant to be run: read-only, no capability, 256 MB, one CPU
check-container:
	python3 tests/container/test_image.py

## check-arm64: cross-compiles for arm64 and runs the unit tests under qemu-user, in a container (NAMES="gemm kernels" for some of them)
check-arm64:
	$(or $(CONTAINER),podman) build $(IMAGE_FLAGS) -f tests/container/arm64.Dockerfile -t attnd-arm64 .
	$(or $(CONTAINER),podman) run --rm $(RUN_FLAGS) -v "$(CURDIR)":/src attnd-arm64 $(NAMES)

## lint: format, banned functions, sizes of functions and files
lint: setup-lint
	tests/layers/lint.sh

## fuzz: T=json SECONDS=60 fuzzes one target (clang, libFuzzer), from its corpus
fuzz:
	$(MAKE) config=fuzz build/fuzz/tests/fuzz/fuzz_$(T)
	mkdir -p build/fuzz/found/$(T)
	build/fuzz/tests/fuzz/fuzz_$(T) -max_total_time=$(or $(SECONDS),60) -artifact_prefix=build/fuzz/found/$(T)/ build/fuzz/found/$(T) tests/fuzz/corpus/$(T)

## bench: attnd and the Python peer side by side; needs wrk, and PEER=python of an environment that has tests/bench/requirements.txt
bench: setup-build
	$(MAKE) all benches
	build/release/tests/bench/bench_kernels
	build/release/tests/bench/bench_forward builtin:attnd-bert 1 5
	build/release/tests/bench/bench_generation builtin:attnd-gpt 1 5
	build/release/tests/bench/bench_attention
	build/release/tests/bench/bench_pool
	$(or $(PEER),python3) tests/bench/bench_number.py
	$(or $(PEER),python3) tests/bench/bench_server.py

## proof: that it stays up, at length: soak at twice its capacity (SECONDS=3600), replicas killed behind HAProxy, 11,000 connections, failing sends, a full disk
proof: setup-build
	$(MAKE) all
	python3 tests/proof/faults.py
	python3 tests/proof/full_disk.py
	python3 tests/proof/connections.py
	python3 tests/proof/replicas.py
	python3 tests/proof/soak.py --seconds $(or $(SECONDS),3600)

## proof-fuzzing: each parser fuzzed for 20 CPU-minutes, the request reader and safetensors for 120 (clang, libFuzzer; ARGS="--keep json")
proof-fuzzing:
	$(MAKE) config=fuzz fuzzers
	python3 tests/proof/fuzzing.py $(ARGS)

## contract: schemathesis against a live server and its openapi.json (needs python3-venv; the package index the first time)
contract: setup-build
	$(MAKE) all
	tests/contract/run.sh

## check-deploy: everything in deploy/ against the programs it is for (nginx, HAProxy, Prometheus, Helm, Ray, ...); sets up what it can, skips the rest by name
check-deploy: setup-build setup-deploy
	$(MAKE) all
	tests/deploy/run.sh build/release/attnd $(NAMES)

## manifests: deploy/kubernetes/ from the chart in deploy/helm; needs helm
manifests:
	deploy/kubernetes/generate.py
.PHONY: check-deploy manifests setup-deploy

setup-build setup-check setup-explorer setup-lint setup-deploy:
	deploy/setup.sh $(patsubst setup-%,%,$@)

## openapi: api/openapi.json from api/openapi.yaml
openapi:
	tests/http/make_openapi.py

## family-table: the README's table of families, with the errors measured here; wants ATTND_SHARED and ATTND_MINILM
family-table: setup-check
	$(MAKE) all
	$(MAKE) $$(python3 tests/golden/family_table.py --list $(B))
	python3 tests/golden/family_table.py $(B)

## clean: removes build/
clean:
	rm -rf build

## help: this list
help:
	sed -n 's/^## //p' Makefile

.PHONY: all units fuzzers benches debug asan tsan run check check-programs check-quick check-explorer image check-container check-arm64 lint fuzz bench proof proof-fuzzing contract setup-build setup-check setup-explorer setup-lint openapi family-table clean help
.SECONDARY:
-include $(patsubst %.o,%.d,$(CORE) $(API) $(SRV) $(MAIN)) $(UNIT:=.d) $(OOM:=.d) $(BENCH:=.d) $(FUZZ:=.d)
