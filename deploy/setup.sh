#!/bin/sh
# Installs the Debian packages that building, checking or running attnd needs, and says so. `make run` and `make check` call it; so does the Dockerfile.
#   deploy/setup.sh arm64 | build | check | deploy | explorer | image | lint | runtime
# As root it calls apt-get; with sudo at hand it goes through that; otherwise it prints the one command to type and fails.
# SPDX-License-Identifier: Apache-2.0
set -eu

build="gcc libc6-dev make libmicrohttpd-dev libjansson-dev libblis-serial-dev libutf8proc-dev libpcre2-dev libcurl4-gnutls-dev libgnutls28-dev libseccomp-dev libpng-dev libfreetype-dev libharfbuzz-dev zlib1g-dev libzstd-dev"
runtime="libmicrohttpd12 libjansson4 libutf8proc2 libpcre2-8-0 libcurl3-gnutls libgnutls30 libseccomp2 libpng16-16 libfreetype6 libharfbuzz0b zlib1g libzstd1 ca-certificates"
case "${1:-}" in
build) wanted="$build" ;;
check) wanted="$build check libsubunit-dev binutils python3 python3-yaml zstd openssl" ;;
explorer) # node and npm of another origin are as good
    wanted="chromium curl"
    command -v node >/dev/null 2>&1 || wanted="$wanted nodejs"
    command -v npm >/dev/null 2>&1 || wanted="$wanted npm"
    ;;
arm64) # in tests/container/arm64.Dockerfile: of what building takes, all but compiler and make are that architecture's
    wanted="make gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user-static"
    for package in $build check libsubunit-dev; do
        case $package in gcc | make) ;; *) wanted="$wanted $package:arm64" ;; esac
    done
    ;;
image) wanted="$build binutils ca-certificates" ;; # in the Dockerfile
lint) wanted="clang-format universal-ctags" ;;
runtime) wanted="$runtime" ;;
deploy) # what tests/deploy holds deploy/ to; installed on a host, the first three also start as services
    wanted="prometheus nginx-light haproxy openssl strace systemd python3-venv"
    ;;
*)
    echo "usage: $0 arm64 | build | check | deploy | explorer | image | lint | runtime" >&2
    exit 2
    ;;
esac

missing=
for package in $wanted; do
    state=$(dpkg-query -W -f '${Status}' "$package" 2>/dev/null || true)
    [ "$state" = "install ok installed" ] || missing="$missing $package"
done
[ -n "$missing" ] || exit 0

install="apt-get install -y --no-install-recommends$missing"
if [ "$(id -u)" = 0 ]; then
    as=
elif command -v sudo >/dev/null 2>&1; then
    as=sudo
else
    echo "attnd needs these Debian packages:$missing" >&2
    echo "Install them as root, then run make again:" >&2
    echo "    $install" >&2
    exit 1
fi
echo "attnd: installing Debian packages:$missing"
export DEBIAN_FRONTEND=noninteractive
$as apt-get update -q
$as $install
