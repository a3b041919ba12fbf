#!/usr/bin/env bash
# Builds the browser app into dist/, for development or with --release for production.
# First argument --serve: serves the app and rebuilds it on changes. First argument --compile: only
# compiles the Rust code, so that a later --serve of the same profile finds it in the build cache.
# Further arguments go to trunk.
set -euo pipefail
# shellcheck source=tools/env.sh
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$ROOT"
command=build
case "${1:-}" in
  --serve) command=serve; shift ;;
  --compile) command=compile; shift ;;
esac
release=no
[[ " $* " != *" --release "* ]] || release=yes

# trunk runs cargo without network access, so the dependencies are fetched first.
cargo fetch --quiet --locked

# erase_components: type-erased components make the download a tenth smaller.
rustflags="--cfg erase_components"
if [ "$release" = yes ]; then
  # Remove the path of the cargo registry from panic messages.
  for registry in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
    [[ "$registry" == *" "* ]] || rustflags+=" --remap-path-prefix=$registry/="
  done
  # The splitter needs relocations. Served release builds have them too: the same flags let both
  # share compiled dependencies.
  rustflags+=" -Clink-args=--emit-relocs"
  if [ "$command" = build ]; then
    export PMO_SPLIT_DIR="$ROOT/target/web/split" PATH="$ROOT/tools/split:$PATH"
    set -- "$@" --features split
  fi
fi
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="$rustflags"
# A separate target folder: browser and server builds must not invalidate each other's cache.
export CARGO_TARGET_DIR="$ROOT/target/web"

if [ "$command" = compile ]; then
  # The same package, binary, profile and flags as trunk's own call of cargo (see index.html).
  profile=dev
  [ "$release" = no ] || profile=web
  exec cargo build --profile "$profile" -p pmo-web --bin pmo-web --target wasm32-unknown-unknown
fi
# trunk resolves the ignored folders of its watcher before the hook that creates them runs.
mkdir -p "$ROOT/apps/web/generated"
# trunk rejects values of NO_COLOR other than true and false.
exec env -u NO_COLOR trunk "$command" "$@"
