# The images of the four services and of the operator's tools, a target each:
#
#   docker build --target infer -t ghcr.io/sightline/infer:0.1.0 .
#
# targets: ingest, preprocess, infer, postprocess, tools. Needs BuildKit. For NVIDIA GPUs: --target infer --build-arg DEVICE=cuda;
# CUDA_COMPUTE_CAP says for which generation (80: A100, 89: L4 and L40, 90: H100).
#
# Each image carries a CycloneDX list of the crates in its binary (/usr/share/sightline/sbom.cdx.json). With buildx,
# --sbom=true --provenance=true attaches what is known of the base image, and of the build, as well.

ARG RUST=1.95.0
ARG CUDA=12.9.1
ARG DEVICE=cpu

FROM rust:${RUST}-bookworm AS builder-cpu
ENV FEATURES=tls

FROM nvidia/cuda:${CUDA}-devel-ubuntu24.04 AS builder-cuda
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends ca-certificates g++ make perl pkg-config \
    && rm -rf /var/lib/apt/lists/*
COPY --from=builder-cpu /usr/local/cargo /usr/local/cargo
COPY --from=builder-cpu /usr/local/rustup /usr/local/rustup
ARG CUDA_COMPUTE_CAP=80
ENV PATH=/usr/local/cargo/bin:$PATH CARGO_HOME=/usr/local/cargo RUSTUP_HOME=/usr/local/rustup \
    CUDA_COMPUTE_CAP=$CUDA_COMPUTE_CAP FEATURES=tls,sightline-infer/cuda

FROM builder-${DEVICE} AS builder
ENV CARGO_TERM_COLOR=never
WORKDIR /src

# The workspace without its code: the manifests, the lock file, and an empty library and program in each package. It is
# the same whatever the code is, so the layers built on it stay until a manifest or the lock file changes.
FROM builder AS skeleton
COPY . /tree
RUN cp /tree/Cargo.toml /tree/Cargo.lock . \
    && cd /tree && for manifest in */Cargo.toml */*/Cargo.toml; do \
         package=/src/$(dirname "$manifest"); mkdir -p "$package/src"; \
         sed '/^\[\[\(test\|bench\|example\)\]\]/,/^$/d' "$manifest" >"$package/Cargo.toml"; \
         : >"$package/src/lib.rs"; echo 'fn main() {}' >"$package/src/main.rs"; \
       done

FROM builder AS sbom
RUN --mount=type=cache,target=/usr/local/cargo/registry,id=sightline-crates \
    cargo install --locked --root /usr/local cargo-cyclonedx@0.5.9
COPY --from=skeleton /src /src
RUN --mount=type=cache,target=/usr/local/cargo/registry,id=sightline-crates \
    mkdir /out && for package in ingest preprocess infer postprocess cli; do \
      features=tls; [ $package != infer ] || features=$FEATURES; \
      cargo cyclonedx --quiet --format json --spec-version 1.5 --manifest-path services/$package/Cargo.toml --features $features \
      && mv services/$package/sightline-$package.cdx.json /out/$package.cdx.json; \
    done

# The registry's copies of crates lie in a cache that all builds share; what is compiled of them is in the layer.
FROM builder AS dependencies
ENV CARGO_PROFILE_RELEASE_DEBUG=false CARGO_PROFILE_RELEASE_STRIP=symbols
COPY --from=skeleton /src /src
RUN --mount=type=cache,target=/usr/local/cargo/registry,id=sightline-crates \
    cargo build --release --locked --features "$FEATURES" \
      -p sightline-ingest -p sightline-preprocess -p sightline-infer -p sightline-postprocess -p sightline-cli \
    && cargo clean --release --workspace

FROM dependencies AS build
COPY ARCHITECTURE.md .
COPY shared shared
COPY services services
RUN --mount=type=cache,target=/usr/local/cargo/registry,id=sightline-crates \
    cargo build --release --locked --features "$FEATURES" \
      -p sightline-ingest -p sightline-preprocess -p sightline-infer -p sightline-postprocess -p sightline-cli \
    && mkdir -p /out/models && cd target/release && cp ingest preprocess infer postprocess sightline /out/

FROM gcr.io/distroless/cc-debian12:nonroot AS runtime-cpu
FROM nvidia/cuda:${CUDA}-runtime-ubuntu24.04 AS runtime-cuda

FROM runtime-${DEVICE} AS runtime
ARG VERSION=0.1.0
ARG REVISION=unknown
ARG CREATED=unknown
LABEL org.opencontainers.image.source="https://github.com/sightline/sightline" \
      org.opencontainers.image.url="https://github.com/sightline/sightline" \
      org.opencontainers.image.vendor="Sightline" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION" \
      org.opencontainers.image.created="$CREATED"
USER 65532:65532
WORKDIR /

FROM runtime AS ingest
LABEL org.opencontainers.image.title="sightline ingest" \
      org.opencontainers.image.description="S3 notifications in, image references out"
COPY --from=sbom /out/ingest.cdx.json /usr/share/sightline/sbom.cdx.json
COPY --from=build /out/ingest /usr/local/bin/ingest
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["/usr/local/bin/ingest", "health"]
ENTRYPOINT ["/usr/local/bin/ingest"]

FROM runtime AS preprocess
LABEL org.opencontainers.image.title="sightline preprocess" \
      org.opencontainers.image.description="Image references in, tensors and thumbnails out"
COPY --from=sbom /out/preprocess.cdx.json /usr/share/sightline/sbom.cdx.json
COPY --from=build /out/preprocess /usr/local/bin/preprocess
# Where HF_HOME may point; a volume that is mounted here takes the owner over.
COPY --from=build --chown=65532:65532 /out/models /models
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["/usr/local/bin/preprocess", "health"]
ENTRYPOINT ["/usr/local/bin/preprocess"]

FROM runtime AS infer
LABEL org.opencontainers.image.title="sightline infer" \
      org.opencontainers.image.description="Tensors in, predictions out"
COPY --from=sbom /out/infer.cdx.json /usr/share/sightline/sbom.cdx.json
COPY --from=build /out/infer /usr/local/bin/infer
COPY --from=build --chown=65532:65532 /out/models /models
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=300s CMD ["/usr/local/bin/infer", "health"]
ENTRYPOINT ["/usr/local/bin/infer"]

FROM runtime AS postprocess
LABEL org.opencontainers.image.title="sightline postprocess" \
      org.opencontainers.image.description="Predictions in, thumbnails and result events out"
COPY --from=sbom /out/postprocess.cdx.json /usr/share/sightline/sbom.cdx.json
COPY --from=build /out/postprocess /usr/local/bin/postprocess
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s CMD ["/usr/local/bin/postprocess", "health"]
ENTRYPOINT ["/usr/local/bin/postprocess"]

FROM runtime AS tools
LABEL org.opencontainers.image.title="sightline" \
      org.opencontainers.image.description="The operator's tools, and the whole pipeline in one process"
COPY --from=sbom /out/cli.cdx.json /usr/share/sightline/sbom.cdx.json
COPY --from=build /out/sightline /usr/local/bin/sightline
ENTRYPOINT ["/usr/local/bin/sightline"]
