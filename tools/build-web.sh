#!/usr/bin/env bash
# Builds the browser app into dist/. `--release` for what is shipped; without it, for development. Extra arguments go to trunk
# (`serve` instead of `build` with --serve).
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/env.sh"
cd "$ROOT"
verb=build
if [ "${1:-}" = --serve ]; then verb=serve; shift; fi
# trunk builds without a network; what it needs is fetched first.
cargo fetch --quiet --locked
# A folder of its own: the browser's build and the servers' never throw each other's work away.
# erase_components: one shape for all components; a quarter less to download.
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS="--cfg erase_components"
# What is shipped says nothing of the machine that built it: a dependency's path begins with its own name.
if [[ " $* " == *" --release "* ]]; then
  for registry in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
    [[ "$registry" == *" "* ]] || CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS+=" --remap-path-prefix=$registry/="
  done
  # What splitting needs to know. Whatever is optimised is built with it, so that what is served and what is shipped share their dependencies.
  CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS+=" -Clink-args=--emit-relocs"
  if [ "$verb" = build ]; then
    # In parts: what comes later is a file of its own.
    export PMO_SPLIT_DIR="$ROOT/target/web/parts" PATH="$ROOT/tools/split:$PATH"
    set -- "$@" --features split
  fi
fi
# trunk looks for the folders that it is not to watch before the hook that makes them runs.
mkdir -p "$ROOT/apps/web/generated"
exec env -u NO_COLOR CARGO_TARGET_DIR="$ROOT/target/web" trunk "$verb" "$@"
