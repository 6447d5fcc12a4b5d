# What cross-compiling attnd for arm64 takes, and qemu to run it: Debian's compiler, and Debian's libraries of that architecture. `make check-arm64` mounts the sources.
# SPDX-License-Identifier: Apache-2.0
FROM debian:bookworm-slim
COPY deploy/setup.sh /setup.sh
RUN dpkg --add-architecture arm64 && /setup.sh arm64
WORKDIR /src
ENTRYPOINT ["tests/container/arm64_units.sh"]
