#!/bin/sh
# Builds the image such that the same sources and the same Debian packages give the same digest: every time in it is that of the last commit.
#   deploy/image/build.sh TAG [FLAG ...]      flags go to `podman build` or `docker build`, whichever is here ($CONTAINER names another)
# FORMAT=oci has podman write OCI's format, which has no HEALTHCHECK, but nothing of the container that built it either.
# SPDX-License-Identifier: Apache-2.0
set -eu
cd "$(dirname "$0")/../.."
tag=$1
shift
tool=${CONTAINER:-$(command -v podman || command -v docker)} || {
    echo "neither podman nor docker is here" >&2
    exit 1
}
SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH
set -- -t "$tag" --build-arg "SOURCE_DATE_EPOCH=$SOURCE_DATE_EPOCH" \
    --label "org.opencontainers.image.version=$(sed -n 's/^#define SRV_VERSION "\(.*\)"/\1/p' server/server.h)" \
    --label "org.opencontainers.image.revision=$(git rev-parse HEAD 2>/dev/null || echo unknown)" \
    --label "org.opencontainers.image.created=$(date -u -d "@$SOURCE_DATE_EPOCH" +%Y-%m-%dT%H:%M:%SZ)" "$@"
case $tool in
*podman) # layers kept between builds would leave their ids in the history
    exec "$tool" build --format "${FORMAT:-docker}" --layers=false --timestamp "$SOURCE_DATE_EPOCH" "$@" .
    ;;
*) exec "$tool" build "$@" . ;;
esac
