#!/bin/sh
# Cross-compiles for arm64 and runs the unit tests under qemu-user; ends in "N programs passed, N failed". Made for the image of arm64.Dockerfile; `make check-arm64`.
#   tests/container/arm64_units.sh [NAME ...]      NAMEs pick the tests whose name contains one of them
# SPDX-License-Identifier: Apache-2.0
set -eu
cd "$(dirname "$0")/../.."
B=build/arm64
cross="B=$B CC=aarch64-linux-gnu-gcc AR=aarch64-linux-gnu-ar"
make -j"$(nproc)" $cross all
# gcc 12 breaks down in its vectoriser over a few of the tests (not over the program): an internal error in vect_transform_reduction.
make -j"$(nproc)" $cross CFLAGS=-fno-tree-vectorize units

wanted() {
    [ $# -gt 1 ] || return 0
    test=$1
    shift
    for name in "$@"; do
        case $test in *"$name"*) return 0 ;; esac
    done
    return 1
}

passed=0
failed=0
for source in tests/unit/test_*.c; do
    test=$B/${source%.c}
    wanted "$test" "$@" || continue
    if ATTND_EMULATED=1 CK_TIMEOUT_MULTIPLIER=20 qemu-aarch64-static "$test" >"$test.log" 2>&1; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        cat "$test.log"
    fi
    echo "$test: $(grep -a '^[0-9]*%: ' "$test.log" || echo "no tally")"
done
echo "arm64: $passed programs passed, $failed failed"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
