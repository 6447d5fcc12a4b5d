#!/bin/sh
# Holds a live server to its own openapi.json with schemathesis, all checks: first as JSON, then asking for each other form of answer.
#   tests/contract/run.sh [PROGRAM]     SECONDS_JSON=25 SECONDS_FORM=5 SEED=1 (for another run of another kind, give another seed)
# Needs python3-venv and the Python package index the first time: a pinned schemathesis goes to build/schemathesis (or SCHEMATHESIS=program).
# Ends in "N passed, N failed"; the exit status says the same.
# SPDX-License-Identifier: Apache-2.0
set -eu
here=$(dirname "$0")
program=${1:-build/release/attnd}
tool=${SCHEMATHESIS:-build/schemathesis/bin/schemathesis}
version=4.32.5
if [ ! -x "$tool" ]; then
    /usr/bin/python3 -m venv build/schemathesis
    build/schemathesis/bin/pip install -q --disable-pip-version-check "schemathesis==$version"
fi

log=$(mktemp)
"$program" --port 0 2>"$log" &
server=$!
trap 'kill "$server" 2>/dev/null || true; rm -f "$log" "$log.run"' EXIT
for _ in $(seq 100); do
    url=$(sed -n 's/.*listening on \(http:.*\)$/\1/p' "$log")
    [ -z "$url" ] || break
    sleep 0.1
done
[ -n "$url" ] || { cat "$log"; exit 1; }

passed=0
failed=0
# contract SECONDS ACCEPT OPTION ... ; a run that came to sending nothing has failed as well
contract() {
    seconds=$1 accept=$2
    shift 2
    echo "== ${accept:-application/json}, about $seconds s"
    if CONTRACT_ACCEPT="$accept" SCHEMATHESIS_HOOKS=hooks PYTHONPATH="$here" "$tool" --config-file "$here/schemathesis.toml" --no-color run api/openapi.json \
        --url "$url" --checks all --max-examples 150 --max-time "$seconds" --seed "${SEED:-1}" --request-timeout 30 --continue-on-failure --warnings off \
        ${accept:+-H "Accept: $accept"} "$@" >"$log.run" 2>&1 && grep -qE '[1-9][0-9]* generated' "$log.run"; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
    fi
    cat "$log.run"
}

# The examples are left out: tests/http/test_openapi.py sends each as it says, and knows its answer.
contract 45 "" --phases coverage
contract "${SECONDS_JSON:-25}" "" --phases fuzzing --include-path /v1/attention
for path in /v1/estimate /v1/tokenize '/v1/models/{name}'; do
    contract "${SECONDS_FORM:-5}" "" --phases fuzzing --include-path "$path"
done
# What a form cannot hold is a 400 that no schema of the body tells: here everything else is judged.
for accept in application/x-ndjson application/vnd.safetensors application/x-npy image/png image/svg+xml text/plain; do
    contract "${SECONDS_FORM:-5}" "$accept" --phases fuzzing --exclude-checks positive_data_acceptance --include-path /v1/attention
done

kill -TERM "$server"
trap 'rm -f "$log" "$log.run"' EXIT
if wait "$server"; then
    passed=$((passed + 1))
else
    echo "the server ended with status $?:"
    tail -20 "$log"
    failed=$((failed + 1))
fi
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
