# The program, the shared objects it names, the certificates of authorities, and nothing else: no shell, no package manager. deploy/image/README.md weighs it.
#   make image        (or: podman build --format docker -t attnd .        docker build -t attnd .)
#   podman run --read-only --cap-drop ALL -p 8080:8080 attnd
# SPDX-License-Identifier: Apache-2.0
FROM debian:bookworm-slim AS build
WORKDIR /src
COPY deploy/setup.sh deploy/setup.sh
RUN deploy/setup.sh image
COPY . .
RUN make -j"$(nproc)" all
ARG SOURCE_DATE_EPOCH=0
RUN deploy/image/root.sh build/release/attnd /image && mkdir /cache && touch -d "@$SOURCE_DATE_EPOCH" /cache

FROM scratch
LABEL org.opencontainers.image.title="attnd" \
      org.opencontainers.image.description="Shows what transformers attend to, over HTTP" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build /image /
# Models fetched from a hub are kept here; a volume mounted over it is the user's too.
COPY --from=build --chown=65532:65532 /cache /cache
USER 65532:65532
EXPOSE 8080
ENV ATTND_HOST=0.0.0.0 HF_HOME=/cache
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s CMD ["/usr/bin/attnd", "--probe", "127.0.0.1:8080"]
ENTRYPOINT ["/usr/bin/attnd"]
