# One image for both services: api (which also serves the app) and pubsub. They run as an unprivileged
# user.
FROM rust:1.95-bookworm AS build
RUN rustup target add wasm32-unknown-unknown \
 && apt-get update && apt-get install -y --no-install-recommends nodejs npm && rm -rf /var/lib/apt/lists/*
ENV CARGO_PROFILE_RELEASE_DEBUG=0
RUN cargo install wasm-bindgen-cli --version 0.2.130 \
 && cargo install wasm_split_cli_support --version 0.2.4 --locked --features build-binary \
 && cargo install trunk --version 0.21.14 --locked --no-default-features --features rustls
WORKDIR /src
COPY tools/package.json tools/package-lock.json tools/
RUN cd tools && npm ci --ignore-scripts
COPY . .
RUN cargo build --release --locked -p pmo-api -p pmo-pubsub
RUN PMO_TOOLCHAIN=ordinary tools/build-web.sh --release

FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates curl && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --no-create-home pmo \
 && install -d -o pmo -g pmo /var/lib/pmo/files
COPY --from=build /src/target/release/pmo-api /src/target/release/pmo-pubsub /usr/local/bin/
COPY --from=build /src/dist /srv/pmo
ENV API_HOST=0.0.0.0 PUBSUB_HOST=0.0.0.0 WEB_DIST=/srv/pmo FILES_DIR=/var/lib/pmo/files
USER pmo
EXPOSE 4000 4001
CMD ["pmo-api"]
