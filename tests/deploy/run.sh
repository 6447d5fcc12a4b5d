#!/bin/sh
# Sets up what the checks of deploy/ need and apt has not, then runs them: tests/deploy/run.sh [PROGRAM] [NAME ...]
# A Python environment in build/deploy/venv (VENV= for another), helm and the compose loader in build/deploy/bin where there is a go of 1.21 or later;
# the package index and the Go module proxy are asked the first time. What cannot be had is skipped by name.
# SPDX-License-Identifier: Apache-2.0
set -eu
here=$(dirname "$0")
venv=${VENV:-build/deploy/venv}
bin=$PWD/build/deploy/bin
PATH=$bin:$PATH
export PATH

if [ ! -x "$venv/bin/python" ]; then
    /usr/bin/python3 -m venv "$venv"
    "$venv/bin/pip" install -q --disable-pip-version-check -r "$here/requirements.txt" || rm -rf "$venv"
fi
fetch() { # fetch NAME PACKAGE@VERSION
    command -v "$1" >/dev/null 2>&1 && return
    command -v go >/dev/null 2>&1 || return 0
    mkdir -p "$bin/new"
    if GOBIN=$bin/new GOTOOLCHAIN=auto go install "$2"; then
        mv "$bin/new"/* "$bin/$1"
    fi
}
[ -n "${HELM:-}" ] || fetch helm helm.sh/helm/v3/cmd/helm@v3.22.0
[ -n "${COMPOSE_CHECK:-}" ] || fetch compose-check github.com/compose-spec/compose-go/v2/cmd@v2.16.2

python=$venv/bin/python
[ -x "$python" ] || python=/usr/bin/python3
exec "$python" "$here/run.py" "$@"
