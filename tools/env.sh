# Settings and paths that every script of this folder shares. Sourced, never run; installs nothing.
# shellcheck shell=bash

ROOT="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
TOOLS="$ROOT/.tools"
mkdir -p "$TOOLS/bin"

# Versions of the build tools. wasm-bindgen's must equal the one in Cargo.lock: its output format has no other contract.
TRUNK_VERSION=0.21.14
WASM_BINDGEN_VERSION=0.2.130
# Cuts the app into what shows first and what comes later; understands what the macro of the same family in Cargo.lock left for it.
WASM_SPLIT_VERSION=0.2.4
SCHEMATHESIS_VERSION=4.32.5

# A .env beside the README overrides the defaults, the environment overrides .env.
if [ -f "$ROOT/.env" ]; then
  while IFS='=' read -r name value; do
    case "$name" in ''|\#*) continue ;; esac
    [ -n "${!name+set}" ] || export "$name=$value"
  done < "$ROOT/.env"
fi

export API_PORT="${API_PORT:-4000}"
export PUBSUB_PORT="${PUBSUB_PORT:-4001}"
export WEB_PORT="${WEB_PORT:-5173}"
export FILES_DIR="${FILES_DIR:-$ROOT/.files}"
export DATABASE_PORT="${DATABASE_PORT:-5434}"
export DATABASE_URL="${DATABASE_URL:-postgresql://app:app@localhost:$DATABASE_PORT/app}"
export CARGO_PROFILE_DEV_DEBUG="${CARGO_PROFILE_DEV_DEBUG:-line-tables-only}"
export CARGO_TERM_COLOR="${CARGO_TERM_COLOR:-auto}"
export PATH="$TOOLS/bin:$ROOT/tools/node_modules/.bin:$PATH"
export npm_config_fund=false npm_config_audit=false npm_config_update_notifier=false

log() { printf '\033[1m==>\033[0m %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# True where the compiler $1 can build for the browser.
can_build_wasm() {
  local folder
  folder=$("$1" --print target-libdir --target wasm32-unknown-unknown 2>/dev/null) || return 1
  compgen -G "$folder/libstd-*.rlib" >/dev/null && compgen -G "$folder/libtest-*.rlib" >/dev/null
}

# Which compiler builds this checkout: 'ordinary' is the one on PATH, 'debian' is that of Debian's rust-web packages,
# for a machine that can't reach a toolchain server. PMO_TOOLCHAIN forces either.
choose_toolchain() {
  if [ -n "${PMO_TOOLCHAIN:-}" ]; then TOOLCHAIN="$PMO_TOOLCHAIN"
  elif [ "${RUSTC:-}" = /usr/bin/rustc ]; then TOOLCHAIN=debian # chosen by the script that called this one
  elif command -v rustc >/dev/null && can_build_wasm "$(command -v rustc)"; then TOOLCHAIN=ordinary
  elif [ -x /usr/bin/rustc ] && can_build_wasm /usr/bin/rustc; then TOOLCHAIN=debian
  else TOOLCHAIN=none; fi
  case "$TOOLCHAIN" in
    debian)
      # Every build uses the one compiler, so native and browser builds never throw each other's work away.
      mkdir -p "$TOOLS/debian"
      for program in rustc cargo rustdoc rustfmt cargo-fmt cargo-clippy clippy-driver; do
        [ ! -x "/usr/bin/$program" ] || ln -sf "/usr/bin/$program" "$TOOLS/debian/$program"
      done
      export PATH="$TOOLS/debian:$PATH"
      export RUSTC=/usr/bin/rustc
      export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER="${CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER:-wasm-ld-22}"
      ;;
    ordinary|none) ;;
    *) die "PMO_TOOLCHAIN is '$TOOLCHAIN'; it must be 'ordinary' or 'debian'" ;;
  esac
}
choose_toolchain
