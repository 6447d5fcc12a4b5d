# Two stages: build with the packages deploy/setup.sh names, then only what running takes.
#   podman build -t attnd .        docker build -t attnd .
#   podman run --read-only --cap-drop ALL -p 8080:8080 attnd
# SPDX-License-Identifier: Apache-2.0
FROM debian:bookworm-slim AS build
WORKDIR /src
COPY deploy/setup.sh deploy/setup.sh
RUN deploy/setup.sh build
COPY . .
RUN make -j"$(nproc)" all && strip build/release/attnd

FROM debian:bookworm-slim
COPY deploy/setup.sh /tmp/setup.sh
RUN /tmp/setup.sh runtime && rm -rf /var/lib/apt/lists/* /tmp/setup.sh
COPY --from=build /src/build/release/attnd /usr/local/bin/attnd
USER 65532:65532
EXPOSE 8080
ENV ATTND_HOST=0.0.0.0
HEALTHCHECK CMD ["attnd", "--probe", "http://127.0.0.1:8080"]
ENTRYPOINT ["attnd"]
