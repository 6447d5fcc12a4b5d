#!/bin/sh
# What is generated and committed is what its generator makes today.
# SPDX-License-Identifier: Apache-2.0
set -u
passed=0
failed=0
for check in "tests/http/make_openapi.py --check" "deploy/kubernetes/generate.py --check-sum"; do
    if $check; then passed=$((passed + 1)); else failed=$((failed + 1)); fi
done
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
