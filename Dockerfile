# syntax=docker/dockerfile:1
# The image of `flagship`, for amd64 and arm64:
#   docker buildx build --platform linux/amd64,linux/arm64 --tag registry.example/flagship:0.1.0 --push .

# The builder runs on the machine's own platform and compiles for the target's: emulation would take an hour. Debian 12
# on both sides, so that the C library fits.
FROM --platform=$BUILDPLATFORM rust:1.95-bookworm AS build
ARG TARGETARCH
WORKDIR /src
RUN <<'SCRIPT'
set -eu
case "$TARGETARCH" in
  amd64) rust=x86_64-unknown-linux-gnu; gnu=x86_64-linux-gnu; package=gcc-x86-64-linux-gnu ;;
  arm64) rust=aarch64-unknown-linux-gnu; gnu=aarch64-linux-gnu; package=gcc-aarch64-linux-gnu ;;
  *) echo "there is no image for the architecture \"$TARGETARCH\"" >&2; exit 1 ;;
esac
if [ "$(dpkg --print-architecture)" != "$TARGETARCH" ]; then
  apt-get update
  apt-get install --yes --no-install-recommends "$package" "libc6-dev-$TARGETARCH-cross"
  rm -rf /var/lib/apt/lists/*
fi
rustup target add "$rust"
# Read by the next step: where Rust, and the C in its dependencies, find the compiler.
variable=$(echo "$rust" | tr 'a-z-' 'A-Z_')
cat > /target.env <<ENV
export CARGO_BUILD_TARGET=$rust
export CARGO_TARGET_${variable}_LINKER=$gnu-gcc
export CC_$(echo "$rust" | tr - _)=$gnu-gcc
ENV
SCRIPT
COPY . .
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/src/target,id=target-$TARGETARCH <<'SCRIPT'
set -eu
. /target.env
cargo build --locked --release --package flagship
cp "target/$CARGO_BUILD_TARGET/release/flagship" /flagship
SCRIPT

FROM gcr.io/distroless/cc-debian12:nonroot
COPY --from=build /flagship /usr/local/bin/flagship
# The user `nonroot`, by number, so that Kubernetes can tell that it is not root.
USER 65532:65532
ENTRYPOINT ["/usr/local/bin/flagship"]
