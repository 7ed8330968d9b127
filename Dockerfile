# syntax=docker/dockerfile:1
# One static binary and nothing beside it: no shell, no package manager, not root.
# `make image` builds it for the machine it runs on; `docker buildx build --platform linux/amd64,linux/arm64 .` for both.
#
# The same sources and Cargo.lock give the same binary: no path of the build and no time is in it. What it is made of stands in
# /usr/share/sbom/outboard.cdx.json (CycloneDX).

FROM rust:1.95-slim-bookworm AS build
# The image's own toolchain: rust-toolchain.toml also asks for rustfmt and clippy, which nothing here uses.
ENV RUSTUP_TOOLCHAIN=1.95.0
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates cmake g++ make musl-tools \
    && rm -rf /var/lib/apt/lists/* \
    && rustup target add "$(uname -m)-unknown-linux-musl"
# Reads Cargo.lock, as the build does; by its own lock file.
RUN cargo install --locked --root /opt/cyclonedx cargo-cyclonedx@0.5.9
# Of what the build writes down of its moment: nothing.
ARG SOURCE_DATE_EPOCH=0
# The platform that is built for; buildx sets it by --platform. Left out: that of the machine.
ARG TARGETARCH
ENV SOURCE_DATE_EPOCH=${SOURCE_DATE_EPOCH}
WORKDIR /src
# .dockerignore lets through what the build reads.
COPY . .
# musl, not glibc: a static glibc resolves names only where the very same glibc is installed beside it.
# The C dependencies are built with the compiler of the same C library. The demonstration stays outside.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,sharing=locked \
    set -eu; \
    case "${TARGETARCH:-$(uname -m)}" in \
        amd64 | x86_64) arch=x86_64 ;; \
        arm64 | aarch64) arch=aarch64 ;; \
        *) echo "no build for ${TARGETARCH}: amd64 and arm64 are known" >&2; exit 1 ;; \
    esac; \
    [ "$arch" = "$(uname -m)" ] || { echo "for ${TARGETARCH} build with --platform linux/${TARGETARCH}" >&2; exit 1; }; \
    target="$arch-unknown-linux-musl"; \
    export "CC_$(echo "$target" | tr - _)=musl-gcc" CARGO_PROFILE_RELEASE_STRIP=symbols; \
    export RUSTFLAGS="--remap-path-prefix=/usr/local/cargo/registry/src=/registry --remap-path-prefix=/src=/outboard"; \
    cargo build --locked --release --no-default-features --bin outboard --target "$target"; \
    mkdir -p /out/etc/ssl/certs /out/etc/outboard /out/run/outboard /out/tmp /out/usr/share/sbom; \
    /opt/cyclonedx/bin/cargo-cyclonedx cyclonedx --format json --spec-version 1.5 --describe binaries \
        --no-default-features --target "$target"; \
    mv outboard_bin.cdx.json /out/usr/share/sbom/outboard.cdx.json; \
    cp "target/$target/release/outboard" /out/outboard; \
    cp /etc/ssl/certs/ca-certificates.crt /out/etc/ssl/certs/; \
    if ldd /out/outboard 2>/dev/null | grep -q '=>'; then echo "not static" >&2; exit 1; fi; \
    /out/outboard --version

FROM scratch
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="outboard" \
      org.opencontainers.image.description="A sidecar performance proxy for payment applications that nobody wants to change" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /out/outboard /outboard
COPY --from=build /out/etc /etc
COPY --from=build /out/usr /usr
# What a process that is not root may write to: the runtime folder and, where the root is not read-only, /tmp.
COPY --from=build --chown=65532:65532 /out/run/outboard /run/outboard
COPY --from=build --chown=65532:65532 /out/tmp /tmp
ENV XDG_RUNTIME_DIR=/run/outboard
USER 65532:65532
# The proxy, and its probes; the webhook listens at 8443.
EXPOSE 8080 9902
HEALTHCHECK --interval=10s --timeout=2s --start-period=2s --retries=3 CMD ["/outboard", "health"]
ENTRYPOINT ["/outboard"]
CMD ["run", "--config", "/etc/outboard/outboard.yaml"]
