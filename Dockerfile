# nines, and SIPp for the rehearsal in docker-compose.yml.
#   docker build -t nines .
#   docker build --build-arg BASE=my-hardened-base -t nines .     any base will do, even scratch: the binary is static
#   docker build --target sipp -t nines-sipp .                    needs a Debian base
ARG BUILD_BASE=golang:1.26-bookworm
ARG BASE=debian:bookworm-slim

FROM ${BUILD_BASE} AS build
ARG VERSION=dev
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
RUN CGO_ENABLED=0 go build -trimpath -ldflags "-s -w -X main.version=${VERSION}" -o /out/usr/bin/nines ./cmd/nines \
 && mkdir -p /out/etc/nines /out/var/lib/nines /out/run/nines

FROM ${BASE} AS sipp
RUN apt-get update \
 && apt-get install -y --no-install-recommends sip-tester \
 && rm -rf /var/lib/apt/lists/*
USER 65532:65532
WORKDIR /tmp
ENTRYPOINT ["sipp"]

FROM ${BASE} AS nines
COPY --from=build /out/usr/bin/nines /usr/bin/nines
COPY --from=build /out/etc/nines /etc/nines
# What nines writes belongs to it; the rest of the image may be read-only.
COPY --from=build --chown=65532:65532 /out/var/lib/nines /var/lib/nines
COPY --from=build --chown=65532:65532 /out/run/nines /run/nines
USER 65532:65532
EXPOSE 5060/udp 5060/tcp 8080/tcp
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s CMD ["/usr/bin/nines", "status", "--json"]
ENTRYPOINT ["/usr/bin/nines"]
CMD ["run", "--config", "/etc/nines/nines.yaml"]
